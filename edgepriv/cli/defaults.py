"""What the help says of an option that is left out: what would really be used, by the very functions that fill it in."""

from functools import cache
from pathlib import Path
from typing import Any

from edgepriv.api.verb import Argument
from edgepriv.hardening_recipe import hardening_recipe
from edgepriv.recipe import Recipe


def default_text(command: str, argument: Argument) -> str:
    """What the help says of an option that is left out.

    Args:
        command: name of the command.
        argument: of its verb.

    Returns:
        The value in words; empty for a switch, which is off, and where there is no value.
    """
    declared = argument.option.default
    text = declared if isinstance(declared, str) else declared.get(command, "")
    if text:
        return text
    if argument.kind is bool:
        return ""
    if argument.fields:
        section, field = argument.fields[0]
        recipe = _effective(command)
        return _written(getattr(getattr(recipe, section) if section else recipe, field))
    return _written(None if argument.positional else argument.default)


@cache
def _effective(command: str) -> Recipe:
    """The recipe that the command runs when nothing is given but the model."""
    plain = Recipe()
    return hardening_recipe(plain, None, {}, Path("model.pt")) if command == "harden" else plain


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, tuple):
        return " and ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
