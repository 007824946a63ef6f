"""What the verbs are given: paths, a recipe, the name of the user's own model."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgepriv import data, project
from edgepriv.errors import UserError
from edgepriv.recipe import Model, Recipe
from edgepriv.recipe.defences.dmp import Dmp
from edgepriv.recipe.defences.extra import Extra

NOTHING_WRITTEN = (
    "Nothing was written: give the weights more bits (--bits, --first-last), fine-tune them (edgepriv harden), or pass "
    "--accept-accuracy-loss to ship it anyway"
)


def go_on(recipe: Recipe) -> str:
    """How to go on where what was trained is not good enough to ship.

    Args:
        recipe: by which it was trained.

    Returns:
        The end of a message.
    """
    stages = recipe.stages().values()
    attacked = recipe.adversary.method != "none" and any(stage.adversarial for stage in stages)
    remedies = [
        *["a smaller --eps"] * attacked,
        *["more --bits"] * recipe.quantize.active,
        *(_private(recipe) if recipe.dp.active else ["more epochs"]),
        "another learning rate",
    ]
    spent = "; what every further training on the same members spends adds up" if recipe.dp.active else ""
    return (
        "Nothing was shipped, and what was trained is kept: the same command with --accept-accuracy-loss goes on from there; "
        f"else change what broke it ({', '.join(remedies[:-1])} or {remedies[-1]}{spent})"
    )


def _private(recipe: Recipe) -> list[str]:
    """What makes up for the noise of differential privacy."""
    noise = ["a larger --dp-epsilon" if recipe.dp.epsilon is not None else "less --dp-noise"] * (recipe.dp.noise != 0)
    features = ["--features scattering for pictures"] * (recipe.model.features == "none")
    return [*noise, "a larger --batch-size", *features, "more members"]


def say_all(notes: Iterable[str]) -> None:
    """Say each note on a line of its own.

    Args:
        notes: lines of text.
    """
    for note in notes:
        project.say(note)


def is_batch_dependent(changes: Mapping[str, Any]) -> bool:
    """Whether the options say that the network's answers depend on the batch.

    Args:
        changes: sections of the recipe by name, from the options.

    Returns:
        True where --batch-dependent was given.
    """
    return bool((changes.get("model") or {}).get("batch_dependent"))


def named(factory: str | None) -> Model | None:
    """The user's own network as a recipe names it.

    Args:
        factory: ``package.module:factory``, None where none was given.

    Returns:
        The section ``model`` of a recipe, None without a factory.
    """
    return None if factory is None else Model(name=factory)


def files_named(recipe: Recipe | None, data_dir: Path | None) -> list[Path]:
    """The files that a recipe's data are read from.

    Args:
        recipe: of which ``data`` counts, or None.
        data_dir: folder of the data sets; None for the default one.

    Returns:
        Their paths; empty without a recipe.
    """
    if recipe is None:
        return []
    extra = recipe.own(Extra)
    more = [path for path in (extra.path, extra.labelled_by, recipe.own(Dmp).path) if path is not None]
    return [*data.files_of(recipe.data.name, data_dir), *data.canary_files(recipe.data.canaries), *more]


def json_name(output: Path | None) -> Path | None:
    """Refuse a name for a JSON file that ends otherwise: it could be the model itself, or one of the files beside the JSON.

    Args:
        output: the name that was asked for, or None.

    Returns:
        ``output`` as it is.

    Raises:
        UserError: for another ending than .json.
    """
    if output is not None and output.suffix != ".json":
        raise UserError(f"-o {output}: the name must end in .json")
    return output
