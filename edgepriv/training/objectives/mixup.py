"""Mixup: each example becomes a mixture with another one of its batch, and so does its label (Zhang et al. 2018)."""

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from edgepriv.errors import UserError
from edgepriv.recipe.defences.mixup import Mixup
from edgepriv.training.objectives.base import Asked, Batch, Ground, Objective


def objective(asked: Asked) -> Objective:
    """With the recipe's alpha.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """

    def refuse(ground: Ground) -> None:
        if asked.settings.batch_size == 1 or ground.members == 1:
            raise UserError(
                f"mixup mixes two examples of a batch, and the batches of the stage {asked.stage} have one: take a larger "
                "--batch-size, or leave --mixup out"
            )

    return replace(mixed(asked.recipe.own(Mixup).alpha), refuse=refuse)


def mixed(alpha: float) -> Objective:
    """x = s x_i + (1 - s) x_j and y = s y_i + (1 - s) y_j.

    s ~ Beta(alpha, alpha) is one number for a batch, as in the authors' program, and j a permutation of it. Labels become soft.

    Args:
        alpha: > 0.

    Returns:
        The objective.
    """

    def prepared(batch: Batch) -> Batch:
        assert isinstance(batch.generator, torch.Generator)  # see ``stackable``
        others = torch.randperm(len(batch.y), generator=batch.generator).to(batch.x.device)
        seed = int(torch.randint(2**62, (1,), generator=batch.generator))
        share = float(np.random.default_rng(seed).beta(alpha, alpha))
        y = batch.y if batch.y.is_floating_point() else functional.one_hot(batch.y, batch.classes()).float()
        return replace(batch, x=torch.lerp(batch.x[others], batch.x, share), y=torch.lerp(y[others], y, share))

    return Objective(prepared=prepared, title=f"mixup {alpha:g}", remedy="a smaller --mixup")
