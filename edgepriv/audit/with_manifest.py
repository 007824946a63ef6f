"""The audit of a model whose manifest says who was a member and how to train reference models."""

from dataclasses import replace
from typing import Any

from edgepriv import data, project
from edgepriv.artifact import manifest
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.manifest import Manifest
from edgepriv.audit import assess
from edgepriv.audit.alike import FROM_RANDOM, refuse_unlike
from edgepriv.audit.answers import Bools
from edgepriv.audit.attackers import (
    Attackers,
    refuse_unlearned_fleets,
    refuse_untrained_fleets,
)
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.brought import (
    Brought,
    refuse_lost_defences,
    refuse_lost_pipeline,
    refuse_unused,
    refuse_unused_start,
    unused_settings,
)
from edgepriv.audit.columns import free_columns
from edgepriv.audit.described import Audited
from edgepriv.audit.examples import of_dataset
from edgepriv.audit.feeding import Told, told_of
from edgepriv.audit.loss_trace import loss_trace_part, refuse_other_training
from edgepriv.audit.releases import refuse_idle, released_with
from edgepriv.audit.request import Request
from edgepriv.audit.robust import refuse_radius
from edgepriv.audit.shown_records import shown_records
from edgepriv.audit.steps import (
    accuracy_of,
    canaries_of,
    classifier_of,
    combined_of,
    epsilon_of,
    fallen_subgroups,
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
from edgepriv.audit.trained_attackers import apart, attackers_of, trained_fleet
from edgepriv.errors import UserError
from edgepriv.extra_data import with_extra
from edgepriv.extra_doubts import known_by_labels
from edgepriv.files import read_json
from edgepriv.models.sources import is_own
from edgepriv.models.starting import identified, refuse_absent
from edgepriv.recipe import FULL_WIDTH, Recipe, parse
from edgepriv.recipe.defences import anew, defences_of
from edgepriv.training.device import device_of
from edgepriv.training.traces import LossTrace, read_trace


def audit_by_manifest(model: DeployedModel, request: Request) -> Audited:
    """Audit a file with the data that its manifest names, with reference models trained by its recipe.

    Args:
        model: the opened file, with its manifest beside it.
        request: what is asked of the audit.

    Returns:
        The content of model.audit.json, and the scores by "threat model/attack".

    Raises:
        UserError: where the manifest or its data are missing or have changed, and where reference models are unlike the target.
    """
    known, brought = _manifest_of(model), request.brought
    subject, trained_by = _opened(model, known, request)
    refuse_unknown_column(subject)
    trace = _trace_of(request, subject)
    twin = model.float_twin if request.float_twin else None
    accuracy = accuracy_of(subject, accept=request.accept_accuracy_loss, float_twin=twin)
    attackers = attackers_of(subject, trained_by, request)
    refuse_untrained_fleets(brought, attackers, subject)
    alike = likeness_of(subject, attackers)
    origin = _origin_of(attackers, known, trained_by, request)
    if not subject.recipe.audit.accept_weak_references:
        if brought.anything:
            refuse_unlearned_fleets(brought, attackers, subject)
        refuse_unlike(alike.get("adaptive"), origin, brought.who)
    content, scores = membership_of(subject, attackers)
    content |= combined_of(subject, attackers, content, scores)
    content |= canaries_of(subject, attackers)
    if trace is not None:
        content["loss_trace"] = loss_trace_part(trace, content["attacks"], scores)
    told, lost = _twin_of(model, known)
    if told is not None:
        content["audit_twin"] = told
    content["likeness"] = alike
    content["classifier"], right = classifier_of(subject)
    content["shift"] = shift_of(subject, content, scores)
    content["robustness"] = robustness_of(subject, request.cache_dir)
    content |= screens_of(subject)
    if request.show_records:
        content["shown_records"] = shown_records(subject.dataset, content.get("most_exposed"))
    content["said"] = [*project.data_notes(subject.dataset, subject.split), *subject.notes, *attackers.notes]
    fallen = []
    if twin is None:
        content["no_float_twin"] = _why_no_twin(known, request.float_twin)
    else:
        content["float"], before = _of_the_float_twin(twin, subject, attackers, trained_by, request)
        fallen = fallen_subgroups(subject, content["classifier"], before, right)
    content["defended_by"] = defences_of(trained_by)
    content |= epsilon_of(subject, content, scores, known.defences.get("dp"))
    report = report_of(
        subject,
        attackers,
        brought,
        settings=subject.recipe,
        content=content,
        record=known.data,
        accuracy=accuracy,
        origin=origin,
    )
    report["warnings"] += [*fallen, *lost]
    if "adaptive" in attackers.fleets and not brought.exists:
        report["warnings"] += known_by_labels(trained_by, subject.dataset, subject.whole)
    if attackers.fleets and not brought.exists and trained_by.start.path is not None:
        report["settings"]["start_weights"] = trained_by.start.file
    if attackers.fleets and not brought.exists and is_own(trained_by.model.name):
        report["settings"]["factory"] = trained_by.model.name
    return report, scores


def _trace_of(request: Request, subject: Subject) -> LossTrace | None:
    """The losses of the target's training, where the user names them."""
    if request.loss_trace is None:
        return None
    trace = read_trace(request.loss_trace)
    refuse_other_training(trace, request.loss_trace, subject.dataset, subject.whole)
    return trace


def _twin_of(model: DeployedModel, known: Manifest) -> tuple[dict[str, Any] | None, list[str]]:
    """What the manifest says of the file's twin; nothing, and a warning, where the release beside it is another's."""
    told = (known.data or {}).get("audit_twin")
    if told is None or told["role"] != "audited":
        return told, []
    release = manifest.path_beside(model.path.with_name(told["ships"]))
    other = read_json(release, "manifest of the release") if release.is_file() else {}
    if ((other.get("data") or {}).get("audit_twin") or {}).get("sha256") == model.sha256:
        return told, []
    return None, [
        f"this file was made to be audited in place of {told['ships']}, and no such file beside it names this one as its twin: "
        "nothing shows that what is found here holds for the file that ships"
    ]


def _manifest_of(model: DeployedModel) -> Manifest:
    known = model.verified_manifest()
    if known is None:
        model.open_session()  # a file that is none is called so first
        raise UserError(
            f"{model.path} has no {manifest.path_beside(model.path).name} beside it: pass --members A.npz --non-members B.npz"
        )
    return known


def _opened(model: DeployedModel, known: Manifest, request: Request) -> tuple[Subject, Recipe]:
    """What is examined; and the recipe that an adaptive attacker trains by, without the settings of this audit: the
    perturbations that it is asked to measure say nothing about how the target was trained."""
    dataset, split = project.recorded_data(known.data, request.data_dir, str(model.path))
    request.refuse_other_data((known.data or {}).get("sha256", dataset.sha256))
    column = (request.changes.get("data") or {}).get("subgroups")
    if column is not None and known.data is not None:
        dataset = replace(dataset, subgroups=project.recorded_subgroups(known.data, request.data_dir, column))
    trained_by = _with_start(_trained_by(known, model), known, request)
    if request.cut_head:
        trained_by = trained_by.with_changes(head={"method": "none"})
    recipe = trained_by.with_changes(**request.changes)
    device_of(recipe.device)  # one that is not there is refused before anything is computed
    trained_by = trained_by.with_changes(device=recipe.device)
    attacks = assess.select(recipe.audit.attacks)
    refuse_unused(request.brought, attacks, recipe.audit, on_files=False)
    refuse_idle(request.also, attacks, request.brought, recipe, on_files=False)
    refuse_lost_defences(request.brought, trained_by, recipe.audit.threat_models)
    changed: list[str] = []
    if {need for name in attacks for need in ATTACKS[name].needs} & {"references", "shadow"}:
        changed = refuse_lost_pipeline(request.brought, trained_by, recipe.audit.threat_models)
        changed += _start_of_references(request.brought, trained_by, known)
        if "adaptive" in recipe.audit.threat_models and not request.brought.exists:
            with_extra(
                trained_by, dataset, split
            )  # a file that is gone, or another, is told before anything is trained
    asked = model.cut_open() if request.cut_head else model
    told = told_of(recipe, request.accept_accuracy_loss, request.input_shape)
    opened = open_target(asked, of_dataset(dataset), told)
    refuse_radius(opened.target, dataset, recipe)
    shared, cut = request.brought.exists, request.cut_head
    releases = released_with(model, known, request.also, dataset, split, told, cut_head=cut, shared=shared)
    free, left_alone = free_columns(dataset, recipe.audit.perturb, span=recipe.data.range)
    unused = unused_settings(request.brought, request.changes, on_files=False)
    notes = (*opened.notes, *left_alone, *changed, *unused)
    notes += tuple(f"{release.model.name}: {note}" for release in releases for note in release.opened.notes)
    for line in notes:
        project.say(line)
    average, planted = data.ordinary(split, dataset), None if dataset.canaries is None else split
    return Subject(
        model, asked, opened, told, dataset, average, recipe, attacks, free, notes, planted, releases
    ), trained_by


def _with_start(trained_by: Recipe, known: Manifest, request: Request) -> Recipe:
    """The recipe with the public weights that the user names, which are those of the manifest, if it knows any."""
    path = (request.changes.get("start") or {}).get("path")
    refuse_unused_start(request.brought, path, on_files=False)
    if path is not None and not (trained_by.start.active or known.elsewhere):
        raise UserError(f"--start-weights {path}: edgepriv trained this model from random weights, so leave it out")
    return trained_by if path is None else identified(trained_by.with_changes(start={"path": path}))


def _start_of_references(brought: Brought, trained_by: Recipe, known: Manifest) -> list[str]:
    """What models that are trained by the recipe start from, where that is public weights; they must be at hand."""
    if not trained_by.start.active or brought.exists:
        return []
    if brought.trainer is not None and not anew(trained_by):
        return []  # the user's function loads them
    refuse_absent(trained_by.start)
    told = [f"reference models start from the public weights of {trained_by.start.file}, as the model did"]
    if known.elsewhere and not (known.recipe.get("start") or {}).get("sha256") and not trained_by.train.freeze:
        told.append(
            "reference models train every layer: which of them the model kept as the public weights have them is known where "
            f"edgepriv harden is given --start-weights {trained_by.start.file}"
        )
    return told


def _of_the_float_twin(
    twin: DeployedModel, subject: Subject, attackers: Attackers, trained_by: Recipe, request: Request
) -> tuple[dict[str, Any], Bools]:
    """``float`` of the audit: the same attacks on the undefended float model; and which non-members it has right."""
    recipe = _trained_by(twin.manifest, twin) if twin.manifest else trained_by.as_run(["train"])
    start = {"path": trained_by.start.path}
    if not recipe.start.active:  # named now, for a model of which the manifest does not tell
        start = trained_by.start.model_dump() | start
    recipe = recipe.with_changes(quantize={"bits": FULL_WIDTH}, device=subject.recipe.device, start=start)
    own = Attackers()
    if attackers.fleets and not request.brought.exists:
        own = apart(subject, {"adaptive": trained_fleet(subject, recipe, "float twin", attackers.references, request)})
    told = Told(batch_dependent=subject.recipe.audit.batch_dependent)
    opened = open_target(twin, of_dataset(subject.dataset), told)
    subject = replace(subject, model=twin, asked=twin, opened=opened, told=told)
    content, _ = membership_of(subject, own)
    content |= canaries_of(subject, own)
    content["classifier"], right = classifier_of(subject)
    content["robustness"] = robustness_of(subject, request.cache_dir, "robustness of the float twin")
    return content, right


def _origin_of(attackers: Attackers, known: Manifest, trained_by: Recipe, request: Request) -> str:
    """How the attackers' models were trained first, where nobody knows how the target was; else empty."""
    if not attackers.fleets or request.brought.anything or (known.elsewhere is False and "train" in known.stages):
        return ""
    return f"from the public weights of {trained_by.start.file}" if trained_by.start.active else FROM_RANDOM


def _why_no_twin(known: Manifest, asked: bool) -> str:
    if not asked:
        return "--no-float-twin"
    if known.float_twin is None:
        return "the file was exported without one, as it is the float model itself"
    return f"{known.float_twin['file']} is no longer beside it as it was exported"


def _trained_by(known: Manifest, model: DeployedModel) -> Recipe:
    """The recipe of the stages that have run, which is what an adaptive attacker follows."""
    recipe = parse(known.recipe, str(manifest.path_beside(model.path)))
    return recipe.as_run(known.stages) if known.stages else recipe
