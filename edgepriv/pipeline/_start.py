"""Public weights that a model was trained from, as ``harden`` and ``audit`` are told of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepriv.errors import UserError
from edgepriv.models import Checkpoint
from edgepriv.models.starting import held_in, identified, is_unrelated, start_from
from edgepriv.models.tensor_names import some
from edgepriv.project import Trained, say, warn
from edgepriv.recipe import Recipe, Start
from edgepriv.recipe.layers import is_within
from edgepriv.training.held import layers_of


def start_path(changes: Mapping[str, Any], recipe: Recipe | None = None) -> Path | None:
    """The file that ``--start-weights`` or a recipe file names.

    Args:
        changes: sections of the recipe by name, from the options.
        recipe: of a file; the options win over it.

    Returns:
        Its path; None where neither names one.
    """
    path = (changes.get("start") or {}).get("path") or (None if recipe is None else recipe.start.path)
    return None if path is None else Path(path)


def with_start(given: Trained, path: Path | None, model: Path) -> Trained:
    """A model whose recipe knows the public weights that it was trained from.

    Of a model that edgepriv trained the recipe says which they were. Of one from elsewhere the user does, and its own weights
    tell which layers were kept.

    Args:
        given: the model with its data.
        path: of the public weights; None where nobody names them.
        model: path of the checkpoint, for messages.

    Returns:
        The same with the path in its recipe, or with the public weights and the layers that were kept.

    Raises:
        UserError: for another file than the recipe names, and for a model that edgepriv trained from random weights.
    """
    checkpoint = given.checkpoint
    if path is None:
        if checkpoint.elsewhere and not checkpoint.recipe.start.active and given.checkpoint.stages == ("train",):
            say(
                f"how {model.name} was trained is not known: an audit trains its reference models from random weights by "
                "a recipe that is assumed; --start-weights names public weights that it was fine-tuned from, and "
                "--trainer of edgepriv audit brings your own training"
            )
        return given
    known = checkpoint.recipe.start
    if not (known.active or checkpoint.elsewhere):
        raise UserError(f"--start-weights {path}: edgepriv trained {model} from random weights, so leave it out")
    recipe = identified(checkpoint.recipe.with_changes(start={"path": str(path)}))
    if known.active:
        return replace(given, checkpoint=checkpoint.with_recipe(recipe))
    return replace(given, checkpoint=_told(replace(checkpoint, recipe=recipe), recipe.start))


def _told(checkpoint: Checkpoint, start: Start) -> Checkpoint:
    """A model from elsewhere with the layers that whoever trained it left as the public weights have them."""
    recipe = checkpoint.recipe
    trained, public = checkpoint.classifier(), checkpoint.classifier()
    taken = start_from(public.network, start, recipe.model.name)
    state, layers = trained.network.state_dict(), layers_of(trained.network)
    say(taken.summary(start.file or "the file"))
    kept = held_in(state, taken, layers)
    if is_unrelated(state, taken):
        warn(
            f"the model's weights are unrelated to those of {start.file}: it was hardly fine-tuned from them, and reference "
            "models that start there may find less than a real attacker does"
        )
    still = [layer for layer, own in layers.items() if all(any(is_within(name, each) for each in kept) for name in own)]
    if kept and len(still) < len(layers):
        say(
            f"{len(still)} of {len(layers)} layers are those of {start.file} to the bit: reference models keep {some(kept)}, "
            "too"
        )
        return replace(checkpoint, recipe=recipe.with_changes(train={"freeze": kept}))
    return checkpoint
