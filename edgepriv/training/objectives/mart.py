"""MART (Wang et al. 2020): adversarial training that counts misclassified examples for more."""

from dataclasses import replace

from torch import Tensor
from torch.nn import functional

from edgepriv.training.objectives.adversarial import against, budget_in, warmup_in
from edgepriv.training.objectives.base import Asked, Batch, Objective
from edgepriv.training.objectives.trades import divergence
from edgepriv.training.pgd import Budget, masked_out


def objective(asked: Asked) -> Objective:
    """Within the recipe's budget, with its beta.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return weighted(budget_in(asked), asked.recipe.adversary.divergence_weight, warmup_in(asked))


def weighted(budget: Budget, beta: float, warmup: int = 0) -> Objective:
    """Train on PGD's perturbations with ``mart_loss``.

    Args:
        budget: of the perturbations.
        beta: weight of the divergence.
        warmup: epochs over which the budget grows to its size.

    Returns:
        The objective.
    """

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        return batch.mean(mart_loss(batch.logits_of(batch.clean), logits, batch.y, beta).sum())

    return replace(
        against(budget, warmup),
        loss=loss,
        title=f"MART, {budget.norm} eps {budget.eps:.3g}, {budget.steps} steps",
        remedy="a smaller --eps or --adv-beta",
    )


def mart_loss(clean: Tensor, perturbed: Tensor, y: Tensor, beta: float) -> Tensor:
    """BCE(f(x'), y) + beta KL(f(x) || f(x')) (1 - f(x)_y) of each example, in nats (eq. 9 to 11).

    BCE(p, y) = -log p_y - log(1 - max of the others); the small numbers inside the logarithm are those of the authors' program.

    Args:
        clean: logits of x, [N, K].
        perturbed: logits of x', [N, K].
        y: int64 [N].
        beta: weight of the divergence.

    Returns:
        [N].
    """
    others = masked_out(perturbed, y).argmax(1)
    wrong = perturbed.softmax(1).gather(1, others[:, None]).squeeze(1)
    boosted = functional.cross_entropy(perturbed, y, reduction="none") - (1.0001 - wrong + 1e-12).log()
    answers = clean.softmax(1)
    unsure = 1.0000001 - answers.gather(1, y[:, None]).squeeze(1)
    return boosted + beta * divergence(perturbed, answers) * unsure
