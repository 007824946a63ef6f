"""Label smoothing: a share of each label is spread evenly over all classes (Szegedy et al. 2016, section 7)."""

from dataclasses import replace

from torch.nn import functional

from edgepriv.recipe.defences.smoothing import Smoothing
from edgepriv.training.objectives.base import Asked, Batch, Objective


def objective(asked: Asked) -> Objective:
    """With the recipe's share.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return smoothed(asked.recipe.own(Smoothing).share)


def smoothed(share: float) -> Objective:
    """y' = (1 - share) y + share / K, after any attack, which is made against the label itself (free
    adversarial training has one gradient for both).

    Args:
        share: in [0, 1).

    Returns:
        The objective.
    """

    def prepared(batch: Batch) -> Batch:
        if not len(batch.y):  # a batch that is drawn example by example may be empty
            return batch
        y = batch.y if batch.y.is_floating_point() else functional.one_hot(batch.y, batch.classes()).float()
        return replace(batch, y=(1 - share) * y + share / y.shape[1])

    return Objective(prepared=prepared, title=f"labels smoothed by {share:g}", remedy="a smaller --label-smoothing")
