"""Which defences go together, and why some do not: the conflicts that ``DEFENCES`` lists."""

from edgepriv.errors import UserError
from edgepriv.recipe.defences import DEFENCES, Conflict, Defence
from edgepriv.recipe.recipe import Recipe


def reasons(recipe: Recipe) -> list[str]:
    """Why a recipe cannot be run.

    Args:
        recipe: settings of a run.

    Returns:
        One sentence for each conflict of its defences; empty when all of it goes together.
    """
    return [
        conflict.reason
        for defence in DEFENCES.values()
        for conflict in defence.conflicts
        if _is_met(defence, conflict, recipe)
    ]


def refuse_impossible(recipe: Recipe) -> None:
    """Raise UserError when a recipe joins what does not go together.

    Args:
        recipe: settings of a run.

    Raises:
        UserError: with the first of ``reasons``.
    """
    for reason in reasons(recipe):
        raise UserError(reason)


def _is_met(defence: Defence, conflict: Conflict, recipe: Recipe) -> bool:
    if conflict.met is not None:
        return conflict.met(recipe)
    return defence.active(recipe) and any(DEFENCES[name].active(recipe) for name in conflict.beside)
