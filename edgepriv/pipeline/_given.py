"""What the verbs are given: paths, a recipe, the name of the user's own model."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgepriv import data, project
from edgepriv.errors import UserError
from edgepriv.recipe import Model, Recipe

NOTHING_WRITTEN = (
    "Nothing was written: give the weights more bits (--bits, --first-last), fine-tune them (edgepriv harden), or pass "
    "--accept-accuracy-loss to ship it anyway"
)
GO_ON = (
    "Nothing was shipped, and what was trained is kept: the same command with --accept-accuracy-loss goes on from there; else "
    "change what broke it (a smaller --eps, more --bits or epochs, another learning rate)"
)


def say_all(notes: Iterable[str]) -> None:
    """A line on standard error for each."""
    for note in notes:
        project.say(note)


def is_batch_dependent(changes: Mapping[str, Any]) -> bool:
    """Whether the options say that the network's answers depend on the batch."""
    return bool((changes.get("model") or {}).get("batch_dependent"))


def named(factory: str | None) -> Model | None:
    return None if factory is None else Model(name=factory)


def files_named(recipe: Recipe | None, data_dir: Path | None) -> list[Path]:
    return data.files_of(recipe.data.name, data_dir) if recipe else []


def json_name(output: Path | None) -> Path | None:
    """The name that was asked for; any other ending could be the model itself, or one of the files beside the JSON."""
    if output is not None and output.suffix != ".json":
        raise UserError(f"-o {output}: the name must end in .json")
    return output
