"""Free adversarial training (Shafahi et al. 2019): the gradient that updates the weights makes the next perturbation too."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from edgepriv.training.objectives.adversarial import at_epoch, budget_in, warmup_in
from edgepriv.training.objectives.base import Asked, Batch, Objective
from edgepriv.training.pgd import Budget, norm_of


def objective(asked: Asked) -> Objective:
    """Within the recipe's budget; as many updates for each batch as the recipe has steps.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    budget = budget_in(asked)
    return replayed(budget, budget.steps, warmup_in(asked))


@dataclass
class _Held:
    """Between two updates: the perturbation, and what it was added to."""

    epoch: int = -1
    delta: Tensor | None = None
    x: Tensor | None = None
    clean: Tensor | None = None
    budget: Budget | None = None


def replayed(budget: Budget, replays: int, warmup: int = 0) -> Objective:
    """Update the weights several times for each batch, and the perturbation with each by a step of eps (algorithm 1).

    A batch starts from the perturbation of the one before, an epoch from none, so that a run goes on from any epoch.

    Args:
        budget: of the perturbation.
        replays: updates for each batch.
        warmup: epochs over which the budget grows to its size.

    Returns:
        The objective.
    """
    held = _Held()

    def attacked(batch: Batch) -> Batch:
        if batch.epoch != held.epoch:
            held.epoch, held.delta = batch.epoch, None
        held.budget = at_epoch(budget, warmup, batch.epoch)
        clean = batch.x.detach()
        moved = norm_of(budget.norm).near(clean, held.budget.eps)(clean + _carried(held.delta, clean, batch.models))
        held.clean, held.x = clean, moved.detach().requires_grad_(True)
        return replace(batch, x=held.x)

    @contextmanager
    def stepping(network: nn.Module) -> Iterator[None]:
        yield
        assert held.x is not None
        assert held.clean is not None
        assert held.budget is not None
        if held.x.grad is None:
            return
        norm, free = norm_of(held.budget.norm), held.budget.free(held.clean)
        slope = held.x.grad if free is None else held.x.grad.where(free, 0)
        moved = held.x.detach().add(norm.direction(slope), alpha=held.budget.eps)
        held.delta = norm.near(held.clean, held.budget.eps)(moved) - held.clean
        held.x = None

    return Objective(
        prepared=attacked,
        around=stepping,
        budget=budget,
        replays=replays,
        title=f"free, {budget.norm} eps {budget.eps:.3g}, {replays} updates a batch",
        remedy="a smaller --eps",
    )


def _carried(delta: Tensor | None, clean: Tensor, models: int) -> Tensor:
    """The last batch's perturbation for this one, which may be shorter: its first rows, of each of the stacked models."""
    if delta is None or len(delta) < len(clean):
        return torch.zeros_like(clean)
    own: Tensor = delta.view(models, -1, *clean.shape[1:])[:, : len(clean) // models]
    return own.flatten(0, 1)
