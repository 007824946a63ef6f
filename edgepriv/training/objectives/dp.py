"""Differentially private training: clipped gradients of single examples, with noise on their sum (Abadi et al. 2016)."""

import torch
from torch import Tensor

from edgepriv.training.dp import Plan, plan_of, refuse_unsupported, set_private_gradients
from edgepriv.training.held import held_by
from edgepriv.training.objectives.base import Asked, Batch, Ground, Objective

_TRIED = 1.0, 1e-5
"""Noise multiplier and delta of a rehearsal, which promises nothing."""


def objective(asked: Asked) -> Objective:
    """The recipe's epsilon, spent over the epochs of the stage.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    dp, stage = asked.recipe.dp, asked.settings

    def planned(members: int) -> Plan:
        if asked.brief:
            noise, delta = _TRIED
            return Plan(noise, dp.clip, 1.0, delta, members, 1)
        return plan_of(dp, stage, members)

    def gradient(batch: Batch) -> tuple[Tensor, Tensor]:
        assert isinstance(batch.generator, torch.Generator)  # see ``stackable``
        network, x = batch.classifier.network, batch.classifier.normalised(batch.x)
        return set_private_gradients(network, batch.weights, x, batch.y, planned(batch.members), batch.generator)

    def refuse(ground: Ground) -> None:
        refuse_unsupported(ground.network, held_by(ground.network, stage).modules)
        planned(ground.members)

    return Objective(
        gradient=gradient,
        batches=lambda members, generator: planned(members).batches(generator),
        facts=lambda members, epochs: planned(members).spent(epochs),
        refuse=refuse,
        title=f"DP, epsilon {dp.epsilon:g}",
        remedy="a larger --dp-epsilon",
    )
