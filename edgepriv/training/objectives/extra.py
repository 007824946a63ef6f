"""What extra data do while a stage trains: their batches are mixed where batches are drawn (``edgepriv.training.extra``)."""

from edgepriv.recipe.defences.extra import Extra
from edgepriv.training.objectives.base import Asked, Objective


def objective(asked: Asked) -> Objective:
    """The title alone.

    Args:
        asked: for which stage of which recipe.

    Returns:
        The objective.
    """
    return Objective(title=f"{asked.recipe.own(Extra).share:.0%} extra data")
