"""Which defences go together, and why some do not: the conflicts that ``DEFENCES`` lists."""

from collections.abc import Mapping
from typing import Any

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


def refuse_ignored(recipe: Recipe, changes: Mapping[str, Any]) -> None:
    """Raise UserError when an option says how a defence works that is not asked for, even if it says what holds anyway.

    Args:
        recipe: settings of a run.
        changes: sections of the recipe by name, from the options. A section that is given whole is no option.

    Raises:
        UserError: for such an option.
    """
    for conflict in (each for defence in DEFENCES.values() for each in defence.conflicts):
        for section, name in conflict.ignored(recipe):
            given = changes.get(section) or {}
            whole = given.keys() >= type(getattr(recipe, section)).model_fields.keys()
            if not whole and given.get(name) is not None:
                raise UserError(conflict.reason)


def _is_met(defence: Defence, conflict: Conflict, recipe: Recipe) -> bool:
    ignored = conflict.ignored(recipe)
    if ignored:
        plain = type(recipe)()
        return any(getattr(getattr(recipe, own), name) != getattr(getattr(plain, own), name) for own, name in ignored)
    if conflict.met is not None:
        return conflict.met(recipe)
    return defence.active(recipe) and any(DEFENCES[name].active(recipe) for name in conflict.beside)
