"""Which fields of a recipe the trained weights depend on, and a hash of these."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from edgepriv.recipe.bits import FULL_WIDTH
from edgepriv.recipe.defences import DEFENCES
from edgepriv.recipe.defences.base import defaults_of, undone
from edgepriv.recipe.stages import STAGES, InStages

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe

NEVER = ("export", "audit", "bench")
"""Sections that say nothing of training. ``Data.READING`` does not count either: it decides what is read, and that is in the
digest of the data, which stands beside this hash wherever it is used."""

_STAGE = (
    "epochs batch_size optimizer lr momentum weight_decay schedule augment adversarial quantized flatten relax select patience "
    "dropout"
)
_FIRST: dict[str, str] = {
    "data": "name members non_members reference holdout validation",
    "model": "name args dropout mean std",
    **dict.fromkeys(STAGES, _STAGE),
    "adversary": "method norm eps step steps",
    "noise": "method tau eps beta alpha",
    "dp": "epsilon delta clip",
    "head": "method epsilon epochs batch_size lr",
    "quantize": "bits first_last last_k quantizer granularity",
}
"""Fields that count even at their default. Any field that came later, or will, counts only off it, so that cached reference
models keep their names when edgepriv learns something new."""


def training_hash(recipe: "Recipe") -> str:
    """Which trained weights a recipe makes, as a hash.

    Args:
        recipe: settings of a run.

    Returns:
        Hex sha256 of every field that its trained, quantized weights and its head depend on.
    """
    return hashlib.sha256(json.dumps(_counted(recipe), sort_keys=True).encode()).hexdigest()


def first_training_hash(recipe: "Recipe") -> str:
    """What the weights of a recipe were before any later stage, as a hash.

    Args:
        recipe: of a run, whose first stage is ``train``.

    Returns:
        Hex sha256, the same for all that is made of one such training.
    """
    trained = recipe.as_run(["train"])
    later = [defence for defence in DEFENCES.values() if not defence.acts_in(trained, "train")]
    bare = undone(trained, later).with_changes(quantize={"bits": FULL_WIDTH}, head={"method": "none"})
    return training_hash(bare)


def _counted(recipe: "Recipe") -> dict[str, Any]:
    """The fields that have an effect, by section; those without one at their default, or left out with their section."""
    stages = recipe.stages()
    left_out = {*NEVER, *(name for name in STAGES if name not in stages)}
    content = recipe.model_dump(mode="json", exclude=left_out)
    defaults = defaults_of(type(recipe))
    idle = _idle(recipe)
    for name in content:
        section = getattr(recipe, name)
        if isinstance(section, InStages) and set(stages) <= set(section.stages):
            content[name]["stages"] = defaults[name]["stages"]  # in every stage that there is
        elif isinstance(section, InStages):
            content[name]["stages"] = [stage for stage in stages if stage in section.stages]
    for section in [name for name, value in content.items() if isinstance(value, dict)]:
        fields = content[section]
        if section not in STAGES and fields.keys() <= {name for own, name in idle if own == section}:
            del content[section]
            continue
        for name in list(fields):
            if (section, name) in idle:
                fields[name] = defaults[section][name]
            if fields[name] == defaults[section][name] and name not in _FIRST.get(section, "").split():
                del fields[name]
    return content


def _idle(recipe: "Recipe") -> set[tuple[str, str]]:
    """(section, field) of what changes no weight: of defences that do not act, of others that those leave unused, and what
    another field makes void."""
    owned: dict[tuple[str, str], bool] = {}
    idle = {("data", name) for name in type(recipe.data).READING}
    known = recipe.start.sha256 is not None  # which is what counts
    idle |= {("start", name) for name in type(recipe.start).model_fields if name != "sha256" or not known}
    for defence in DEFENCES.values():
        acts = defence.active(recipe)
        for path in defence.paths(recipe):
            owned[path] = owned.get(path, False) or acts
        if acts:
            idle |= {_path(name) for name, unused in defence.unused.items() if unused(recipe)}
    idle |= {path for path, acts in owned.items() if not acts}
    idle |= {
        ("pipeline", name)
        for name in type(recipe.pipeline).model_fields
        if name == "script" or not recipe.pipeline.active
    }
    return idle | {(name, "momentum") for name, stage in recipe.stages().items() if stage.optimizer != "sgd"}


def _path(written: str) -> tuple[str, str]:
    section, _, name = written.partition(".")
    return section, name
