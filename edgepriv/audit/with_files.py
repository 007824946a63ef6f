"""The audit of any model on two files of the user's, which say who was a member."""

from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import data, project
from edgepriv.artifact import manifest
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit import assess
from edgepriv.audit.alike import likeness, refuse_unlike, warnings_of
from edgepriv.audit.brought import (
    NOTHING_BROUGHT,
    Brought,
    existing_fleets,
    of_another_size,
    own_fleets,
    refuse_unlearned_fleets,
    refuse_unused,
)
from edgepriv.audit.columns import free_columns
from edgepriv.audit.described import Audited, described
from edgepriv.audit.examples import from_files
from edgepriv.audit.feeding import told_of
from edgepriv.audit.references import Fleet
from edgepriv.audit.robust import refuse_radius, robustness_part
from edgepriv.audit.run import membership_part
from edgepriv.audit.shift import shift_part
from edgepriv.audit.target import open_target
from edgepriv.audit.units import in_unit_range
from edgepriv.audit.upfront import up_front
from edgepriv.data import Split
from edgepriv.errors import UserError
from edgepriv.recipe import Data, Recipe, parse
from edgepriv.training.device import device_of


def audit_on_files(
    model: DeployedModel,
    members: Path,
    non_members: Path,
    changes: dict[str, Any],
    *,
    cut_head: bool = False,
    accept_accuracy_loss: bool = False,
    brought: Brought = NOTHING_BROUGHT,
    cache_dir: Path | None = None,
) -> Audited:
    """Audit any ONNX classifier on the user's own members and non-members.

    Args:
        model: the opened file; it needs no manifest.
        members: .npz, table or folder of examples that it was trained on.
        non_members: the same of examples that it was not trained on.
        changes: sections of the recipe by name, as ``Recipe.with_changes`` takes them.
        cut_head: audit the file with its head removed.
        accept_accuracy_loss: continue even if the model is hardly better than chance on its members.
        brought: the user's own reference models, or the function that trains them, if any.
        cache_dir: folder in which reference models of that function, and outcomes of evasion attacks, are kept.

    Returns:
        The content of model.audit.json, and the scores by "threat model/attack".

    Raises:
        UserError: for files that do not fit the model or each other, and where no attack can be run.
    """
    known = model.verified_manifest()
    recipe = parse(known.recipe, str(manifest.path_beside(model.path))) if known else Recipe()
    recipe = recipe.with_changes(**changes)
    device_of(recipe.device)  # one that is not there is refused before anything is computed
    told = told_of(recipe, accept_accuracy_loss)
    attacks = assess.select(recipe.audit.attacks)
    refuse_unused(brought, attacks, recipe.audit, on_files=True)
    asked = model.cut_open() if cut_head else model
    read_as = _read_as(recipe, changes, members, non_members)
    opened = open_target(asked, from_files(model, members, non_members, read_as, told.input_range), told)
    target, examples = opened.target, opened.examples.dataset
    recipe, unit = in_unit_range(recipe, opened.examples)
    refuse_radius(target, examples, recipe)
    free, left_alone = free_columns(
        examples,
        recipe.audit.perturb,
        raw=opened.examples.raw if opened.examples.kind == "other" else None,
        span=recipe.data.range,
    )
    notes = [*project.files_notes(examples), *opened.notes, *unit.notes, *left_alone]
    for line in notes:
        project.say(line)
    inside, outside = np.split(np.arange(len(examples)), [examples.known_members or 0])
    resolved = project.resolved(recipe, examples)
    accuracy = up_front(model, target, examples, inside, outside, seed=recipe.seed, accept=accept_accuracy_loss)
    nobody = np.empty(0, dtype=np.int64)
    split = Split(recipe.seed, inside, outside, nobody, nobody, nobody)
    fleets: dict[str, Fleet] = {}
    on_references: list[str] = []
    if brought.trainer is not None and cache_dir is not None and recipe.audit.references:
        fleets, on_references, more = own_fleets(
            brought, opened.examples, opened, split, told, recipe=recipe, cache_dir=cache_dir / "references"
        )
    elif brought.exists:
        fleets, on_references, more = existing_fleets(
            brought, opened.examples, target, split, told, seed=recipe.seed, threat_models=recipe.audit.threat_models
        )
    else:
        more = []
    notes += more
    for line in more:
        project.say(line)
    alike = {name: likeness(target, examples, split, fleet) for name, fleet in fleets.items()}
    if not recipe.audit.accept_weak_references:
        refuse_unlearned_fleets(brought, fleets, target, examples, split)
        refuse_unlike(alike.get("adaptive"), assumed=False, who=brought.who)
    content, scores = membership_part(target, examples, inside, outside, fleets, attacks=attacks, recipe=resolved)
    if not content["attacks"]:
        reasons = "; ".join(dict.fromkeys(f"{row['name']}: {row['reason']}" for row in content["left_out"][:3]))
        raise UserError(
            f"none of these attacks can be run on member files alone ({reasons}): only a model with its manifest tells how "
            "to train reference models; bring your training function with --trainer"
        )
    content["likeness"] = alike
    content["shift"] = shift_part(examples, inside, outside, resolved.seed)
    content["robustness"] = unit.restored(
        robustness_part(
            target, examples, outside, resolved, free=free, cache_dir=cache_dir / "robustness" if cache_dir else None
        )
    )
    record = {"name": examples.name, "sha256": examples.sha256, "split": None}
    content["said"] = notes
    count = len(next(iter(fleets.values())).right) if fleets else 0
    audited = described(model, asked, recipe, record, content, count) | {"accuracy": accuracy}
    # Both say that the model may be no good; what was asked of more inputs says it better.
    audited["warnings"] += accuracy["warnings"] or opened.doubts
    audited["reading"] = opened.reading
    audited["warnings"] += [*warnings_of(alike.get("adaptive"), assumed=False), *on_references, *opened.warnings]
    if fleets:
        records = next(iter(fleets.values())).records
        audited["reference_records"] = records
        audited["warnings"] += of_another_size(records, len(inside), brought)
        audited["settings"]["brought"] = brought.options()
    for file, index in ((members, inside), (non_members, outside)):
        audited["warnings"] += _duplicates(file, examples.inputs(index))
    return audited, scores


def _read_as(recipe: Recipe, changes: dict[str, Any], *files: Path) -> Data:
    """How member files are read: as the model's own data were, but a label column that is not asked for is of a table only."""
    asked = (changes.get("data") or {}).get("label") is not None
    tables = "csv" in {data.kind_of(file) for file in files}
    return recipe.data if asked or tables else recipe.data.model_copy(update={"label": None})


def _duplicates(file: Path, inputs: np.ndarray) -> list[str]:
    """A warning where examples stand more than once in a file: the statistics take each for a draw of its own."""
    again = len(inputs) - len({row.tobytes() for row in inputs})
    return (
        [f"{again:,} of the {len(inputs):,} examples in {file.name} repeat others: the intervals are too narrow"]
        if again
        else []
    )
