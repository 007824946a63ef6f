"""TRADES (Zhang et al. 2019): a clean loss, and answers to perturbed inputs that stay near those to clean ones."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from edgepriv.training.objectives.adversarial import at_epoch, budget_in, warmup_in
from edgepriv.training.objectives.base import Asked, Batch, Objective
from edgepriv.training.pgd import Budget, perturbed


def objective(asked: Asked) -> Objective:
    """Within the recipe's budget, with its beta.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return traded(budget_in(asked), asked.recipe.adversary.divergence_weight, warmup_in(asked))


def traded(budget: Budget, beta: float, warmup: int = 0) -> Objective:
    """CE(f(x), y) + beta KL(f(x) || f(x')), where x' maximises the divergence (eq. 5 and algorithm 1).

    The attack starts at random in the whole ball; the authors start at a distance of 0.001.

    Args:
        budget: of x'.
        beta: weight of the divergence.
        warmup: epochs over which the budget grows to its size.

    Returns:
        The objective.
    """

    def attacked(batch: Batch) -> Batch:
        with batch.frozen() as logits_of:
            with torch.no_grad():
                answers = logits_of(batch.x).softmax(1)
            now = at_epoch(budget, warmup, batch.epoch)
            moved = perturbed(logits_of, batch.x, answers, now, batch.generator, objective=divergence)
        return replace(batch, x=moved)

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        clean = batch.logits_of(batch.clean)
        natural = functional.cross_entropy(clean, batch.y, reduction="sum")
        return batch.mean(natural + beta * divergence(logits, clean.softmax(1)).sum())

    return Objective(
        prepared=attacked,
        loss=loss,
        budget=budget,
        title=f"TRADES, {budget.norm} eps {budget.eps:.3g}, {budget.steps} steps",
        remedy="a smaller --eps or --adv-beta",
    )


def divergence(logits: Tensor, answers: Tensor) -> Tensor:
    """KL(p || q) of two answers.

    Args:
        logits: of q, [N, K].
        answers: the probabilities p, [N, K].

    Returns:
        [N], in nats.
    """
    return functional.kl_div(logits.log_softmax(1), answers, reduction="none").sum(1)
