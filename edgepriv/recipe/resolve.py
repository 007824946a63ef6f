"""A recipe out of a TOML file, what a recipe changes of the defaults, and the customary value of what is left open."""

import json
import tomllib
from pathlib import Path
from typing import Any

from edgepriv.errors import UserError
from edgepriv.recipe.recipe import Recipe, parse


def load(path: Path) -> Recipe:
    """Read a recipe from a TOML file.

    Args:
        path: of the file; fields that it leaves out keep their defaults.

    Returns:
        The recipe.

    Raises:
        UserError: for a file that is not there or not TOML, and for fields or values that no recipe has.
    """
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"no such recipe: {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"recipe {path} is not readable TOML: {error}") from error
    return parse(content, f"recipe {path}")


MAX_DROP = 5.0
"""Points of accuracy that quantization may cost unless ``--max-drop`` says otherwise."""


def eps_for(input_shape: tuple[int, ...], norm: str) -> float:
    """The customary radius of perturbations.

    Args:
        input_shape: of one example; (C, H, W) of images.
        norm: "linf" or "l2".

    Returns:
        In input units: in L-infinity 0.1 for grey images, 8/255 for colour, 0.05 for tables; 0.5 in L2.
    """
    if norm == "l2":
        return 0.5
    if len(input_shape) != 3:
        return 0.05
    return 0.1 if input_shape[0] == 1 else 8 / 255


def differences(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe that are not at their default.

    Args:
        content: a dumped recipe, as JSON.

    Returns:
        Section -> field -> value, and fields of the recipe itself by name.
    """
    defaults = Recipe().model_dump(mode="json")
    changed: dict[str, Any] = {}
    for name, value in content.items():
        default = defaults.get(name)
        if isinstance(value, dict) and isinstance(default, dict):
            value = {key: entry for key, entry in value.items() if entry != default.get(key)}
        if value not in (default, {}):
            changed[name] = value
    return changed


def as_toml(recipe: Recipe) -> str:
    """A recipe as TOML, without the fields that are at their default: ``load`` reads it back.

    Args:
        recipe: any.

    Returns:
        The text of the file.
    """
    changed = differences(recipe.model_dump(mode="json"))
    own = [f"{name} = {_toml(value)}" for name, value in changed.items() if not isinstance(value, dict)]
    tables = [
        "\n".join([f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in section.items() if value is not None)])
        for name, section in changed.items()
        if isinstance(section, dict)
    ]
    return "\n\n".join([*(["\n".join(own)] if own else []), *tables]) + "\n"


def _toml(value: Any) -> str:
    """A value of JSON as TOML writes it: the same, but for tables. What JSON escapes is escaped alike in a basic string."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    return json.dumps(value)
