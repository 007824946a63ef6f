"""The audit of any model on two files of the user's, which say who was a member."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import data, project
from edgepriv.artifact import manifest
from edgepriv.artifact.contract import TOKENS
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit import assess
from edgepriv.audit.alike import refuse_unlike
from edgepriv.audit.attackers import Attackers, existing_attackers, own_attackers, refuse_unlearned_fleets
from edgepriv.audit.brought import refuse_unused, refuse_unused_start, unused_settings
from edgepriv.audit.columns import free_columns
from edgepriv.audit.described import Audited
from edgepriv.audit.examples import from_files
from edgepriv.audit.feeding import told_of
from edgepriv.audit.releases import known_of, refuse_idle, released_on_files
from edgepriv.audit.request import Request
from edgepriv.audit.robust import refuse_radius
from edgepriv.audit.shown_records import shown_records
from edgepriv.audit.steps import (
    accuracy_of,
    classifier_of,
    combined_of,
    epsilon_of,
    likeness_of,
    membership_of,
    refuse_unknown_column,
    report_of,
    robustness_of,
    screens_of,
    shift_of,
)
from edgepriv.audit.subject import Subject
from edgepriv.audit.target import open_target
from edgepriv.audit.units import Unit, in_unit_range
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.extra_doubts import refuse_trained_on
from edgepriv.recipe import Recipe, parse
from edgepriv.training.device import device_of


def audit_on_files(model: DeployedModel, members: Path, non_members: Path, request: Request) -> Audited:
    """Audit any ONNX classifier on the user's own members and non-members.

    Args:
        model: the opened file; it needs no manifest.
        members: .npz, table or folder of examples that it was trained on.
        non_members: the same of examples that it was not trained on.
        request: what is asked of the audit; it has no float twin.

    Returns:
        The content of model.audit.json, and the scores by "threat model/attack".

    Raises:
        UserError: for files that do not fit the model or each other, and where no attack can be run.
    """
    brought = request.brought
    subject, stated, unit = _opened(model, members, non_members, request)
    refuse_unknown_column(subject)
    examples = subject.dataset
    accuracy = accuracy_of(subject, accept=request.accept_accuracy_loss)
    attackers = _attackers(subject, request)
    alike = likeness_of(subject, attackers)
    if not stated.audit.accept_weak_references:
        refuse_unlearned_fleets(brought, attackers, subject)
        refuse_unlike(alike.get("adaptive"), who=brought.who)
    content, scores = membership_of(subject, attackers)
    _refuse_nothing_run(content)
    content |= combined_of(subject, attackers, content, scores)
    content |= epsilon_of(subject, content, scores, None)
    content["likeness"] = alike
    content["classifier"], _ = classifier_of(subject)
    content["shift"] = shift_of(subject, content, scores)
    content["robustness"] = unit.restored(robustness_of(subject, request.cache_dir))
    content |= screens_of(subject)
    if request.show_records:
        content["shown_records"] = shown_records(subject.dataset, content.get("most_exposed"))
    content["said"] = [*subject.notes, *attackers.notes]
    report = report_of(
        subject,
        attackers,
        brought,
        settings=stated,
        content=content,
        record={"name": examples.name, "sha256": examples.sha256, "split": None},
        accuracy=accuracy,
    )
    report["reading"] = subject.opened.reading
    for file, index in ((members, subject.split.members), (non_members, subject.split.non_members)):
        report["warnings"] += _duplicates(file, examples.inputs(index))
    return report, scores


def _opened(model: DeployedModel, members: Path, non_members: Path, request: Request) -> tuple[Subject, Recipe, Unit]:
    """What is examined, with a radius in [0, 1]; the settings as they were stated; and the unit of the user's radius."""
    known = model.verified_manifest()
    recipe = parse(known.recipe, str(manifest.path_beside(model.path))) if known else Recipe()
    recipe = recipe.with_changes(**request.changes)
    refuse_unused_start(request.brought, recipe.start.path, on_files=True)
    device_of(recipe.device)  # one that is not there is refused before anything is computed
    told = told_of(recipe, request.accept_accuracy_loss, request.input_shape)
    attacks = assess.select(recipe.audit.attacks)
    refuse_unused(request.brought, attacks, recipe.audit, on_files=True)
    refuse_idle(request.also, attacks, request.brought, recipe, on_files=True)
    asked = model.cut_open() if request.cut_head else model
    inherited = _inherited(request.changes)
    examples_of = from_files(model, members, non_members, recipe.data, told.input_range, inherited)
    opened = open_target(asked, examples_of, told)
    releases = released_on_files(model, request.also, examples_of, told, cut_head=request.cut_head)
    examples = opened.examples.dataset
    request.refuse_other_data(examples.sha256)
    if asked.contract.input_dtype in TOKENS:
        recipe = recipe.with_changes(audit={"robust": "none"})
        project.say("robustness is not measured: the file takes tokens, and there is no small change of a token")
    recipe, unit = in_unit_range(recipe, opened.examples)
    refuse_radius(opened.target, examples, recipe)
    free, left_alone = free_columns(
        examples,
        recipe.audit.perturb,
        raw=opened.examples.raw if opened.examples.kind == "other" else None,
        span=recipe.data.range,
    )
    notes = (*project.files_notes(examples), *opened.notes, *unit.notes, *left_alone)
    notes += tuple(f"{release.model.name}: {note}" for release in releases for note in release.opened.notes)
    notes += tuple(unused_settings(request.brought, request.changes, on_files=True))
    split, resolved = _split(examples, recipe.seed), project.resolved(recipe, examples)
    run = recipe.as_run(known.stages) if known and known.stages else recipe
    record = None if known is None else known.data
    notes += tuple(
        refuse_trained_on(
            run, examples, split, lambda: project.recorded_data(record, request.data_dir, str(model.path), quiet=True)
        )
    )
    for line in notes:
        project.say(line)
    subject = Subject(model, asked, opened, told, examples, split, resolved, attacks, free, notes, releases=releases)
    return subject, recipe, unit


def _split(examples: Dataset, seed: int) -> Split:
    """Everyone of the two files is asked about, so that the attacker has nobody of their own."""
    inside, outside = np.split(np.arange(len(examples)), [examples.known_members or 0])
    nobody = np.empty(0, dtype=np.int64)
    return Split(seed, inside, outside, nobody, nobody, nobody)


def _attackers(subject: Subject, request: Request) -> Attackers:
    """Those whose models the user brings, or the user's function trains."""
    if request.brought.trainer is not None:
        attackers = own_attackers(request.brought, subject, request.cache_dir / "references")
    elif request.brought.exists:
        attackers = existing_attackers(request.brought, subject)
    else:
        return Attackers()
    for line in attackers.notes:
        project.say(line)
    if not subject.releases:
        return attackers
    name, fleet = next(iter(attackers.fleets.items()))
    fleets = [fleet] * len(subject.releases)
    return replace(attackers, releases={name: known_of(subject.releases, subject.split, fleets, subject.recipe.seed)})


def _refuse_nothing_run(content: dict[str, Any]) -> None:
    if not content["attacks"]:
        reasons = "; ".join(dict.fromkeys(f"{row['name']}: {row['reason']}" for row in content["left_out"][:3]))
        raise UserError(
            f"none of these attacks can be run on member files alone ({reasons}): only a model with its manifest tells how "
            "to train reference models; bring your training function with --trainer"
        )


def _inherited(changes: Mapping[str, Any]) -> tuple[str, ...]:
    """What names a column or key of the model's own data, and was not asked for of these files."""
    asked = changes.get("data") or {}
    return tuple(field for field in data.NAMING if asked.get(field) is None)


def _duplicates(file: Path, inputs: np.ndarray) -> list[str]:
    """A warning where examples stand more than once in a file: the statistics take each for a draw of its own."""
    again = len(inputs) - len({row.tobytes() for row in inputs})
    return (
        [f"{again:,} of the {len(inputs):,} examples in {file.name} repeat others: the intervals are too narrow"]
        if again
        else []
    )
