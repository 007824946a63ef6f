"""Posterior flattening: members and non-members should get the same confidence."""

import torch
from torch import Tensor

from edgepriv.errors import UserError
from edgepriv.training.objectives.base import Asked, Batch, Ground, Objective


def objective(asked: Asked) -> Objective:
    """Weighted as the stage says.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return flattened(asked.settings.flatten)


def flattened(weight: float) -> Objective:
    """Add the flattening loss of the unperturbed batch and as many non-members of the holdout.

    Args:
        weight: of that loss.

    Returns:
        The objective.
    """

    def term(batch: Batch, logits: Tensor) -> Tensor:
        compared = batch.logits_of(torch.cat([batch.clean, batch.others(len(batch.y))]))
        return weight * flattening_loss(compared[: len(batch.y)], compared[len(batch.y) :])

    return Objective(term=term, refuse=_refuse_without_holdout, remedy="a smaller --flatten")


def _refuse_without_holdout(ground: Ground) -> None:
    if not ground.holdout:
        raise UserError("posterior flattening needs a privacy holdout: set data.holdout above 0")


def mean_sorted_posterior(logits: Tensor) -> Tensor:
    """Mean over the batch of the softmax sorted in descending order.

    Args:
        logits: [N, K].

    Returns:
        [K], summing to 1.
    """
    return logits.float().softmax(dim=1).sort(dim=1, descending=True).values.mean(dim=0)


def flattening_loss(member_logits: Tensor, non_member_logits: Tensor) -> Tensor:
    """KL(P_member || P_non-member) of the mean sorted posteriors (Drif & Berrabah 2025, eq. 7).

    Sorting makes the term independent of which classes the two batches hold.

    Args:
        member_logits: [N, K].
        non_member_logits: [M, K].

    Returns:
        Scalar, in nats.
    """
    members, non_members = mean_sorted_posterior(member_logits), mean_sorted_posterior(non_member_logits)
    tiny = 1e-12
    return (members * ((members + tiny).log() - (non_members + tiny).log())).sum()
