"""The audit of a model file by itself: what stands beside it says who was a member, or the user's files do."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import data, project
from edgepriv.artifact import manifest, session
from edgepriv.artifact.head import cut_open, head_of
from edgepriv.artifact.model_files import sha256_of_model
from edgepriv.audit import assess
from edgepriv.audit.alike import likeness, refuse_unlike, warnings_of
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.examples import from_files, of_dataset
from edgepriv.audit.feeding import Told
from edgepriv.audit.promise import beside_the_proof
from edgepriv.audit.references import Fleet, train_fleet
from edgepriv.audit.run import membership_part, robustness_part
from edgepriv.audit.shift import shift_part, warning_of
from edgepriv.audit.target import open_target
from edgepriv.audit.units import in_unit_range
from edgepriv.audit.upfront import up_front
from edgepriv.errors import UserError
from edgepriv.models.sources import is_own, refuse_unconfirmed
from edgepriv.recipe import FULL_WIDTH, Data, Model, Recipe, parse

_ALIKE = 0.9
"""Share of the target's records from which on a reference model counts as trained on as many."""
Audited = tuple[dict[str, Any], dict[str, np.ndarray]]
"""The content of ``model.audit.json``, and every attack's scores."""


def audit_by_manifest(
    model: Path,
    changes: dict[str, Any],
    data_dir: Path | None,
    cache_dir: Path,
    float_twin: bool,
    *,
    accept_accuracy_loss: bool = False,
    cut_head: bool = False,
    confirmed: Model | None = None,
) -> Audited:
    """``cut_head``: of the file without its head, asked by attackers who have no head either. ``confirmed``: the user's own
    module, which a manifest alone may not ask to import; reference models are networks of it."""
    known = manifest.read_beside(model)
    if known is None:
        session.open_session(model)
        raise UserError(
            f"{model} has no {manifest.path_beside(model).name} beside it: pass --members A.npz --non-members B.npz"
        )
    manifest.verify(model, known)
    dataset, split = project.recorded_data(known.data, data_dir, str(model))
    trained_by = _trained_by(known, model)
    if cut_head:
        trained_by = trained_by.with_changes(head={"method": "none"})
    recipe = trained_by.with_changes(**changes)
    attacks = assess.select(recipe.audit.attacks)
    if cut_head:
        _refuse_to_cut(model)
    opened = open_target(model, of_dataset(dataset), told_of(recipe, accept_accuracy_loss), cut_head=cut_head)
    target = opened.target
    for line in opened.said:
        project.say(line)
    accuracy = up_front(
        model,
        target,
        dataset,
        split.members,
        split.non_members,
        seed=split.seed,
        accept=accept_accuracy_loss,
        known=known,
        float_twin=float_twin,
    )
    usable = [ATTACKS[name] for name in attacks if ATTACKS[name].reads == "label" or not target.labels_only]
    needed = {need for attack in usable for need in attack.needs}
    count = recipe.audit.references if "references" in needed else 0
    # Not ``recipe``: the perturbations that the audit is asked to measure say nothing about how the target was trained.
    recipes = {"adaptive": trained_by, "oblivious": trained_by.undefended()}

    def fleet(trained_by: Recipe, label: str) -> Fleet:
        return train_fleet(
            trained_by,
            dataset,
            split,
            count=count,
            cache_dir=cache_dir / "references",
            label=label,
            engine=recipe.audit.engine,
        )

    fleets: dict[str, Fleet] = {}
    if needed & {"references", "shadow"}:
        refuse_unconfirmed(trained_by.model.name, confirmed, str(manifest.path_beside(model)))
        # The plainest first: what follows goes on from it where it can.
        trained = {name: fleet(recipes[name], name) for name in sorted(recipe.audit.threat_models, reverse=True)}
        fleets = {name: trained[name] for name in recipe.audit.threat_models}
    alike = {name: likeness(target, dataset, split, fleet) for name, fleet in fleets.items()}
    # Whoever does not know the defence trains other models than the target by right.
    assumed, expected = bool(fleets) and "train" not in known.stages, alike.get("adaptive")
    if not recipe.audit.accept_weak_references:
        refuse_unlike(expected, assumed)
    content, scores = membership_part(
        target,
        dataset,
        split.members,
        split.non_members,
        fleets,
        attacks=attacks,
        recipe=recipe,
        pool=split.reference,
    )
    content["likeness"] = alike
    content["shift"] = shift_part(dataset, split.members, split.non_members, recipe.seed)
    content["robustness"] = robustness_part(target, dataset, split.non_members, recipe)
    content["said"] = [*project.data_said(dataset, split), *opened.said]
    twin_file = manifest.unchanged_twin(model, known) if float_twin else None
    if twin_file is None:
        content["no_float_twin"] = _why_no_twin(known, float_twin)
    if twin_file is not None:
        twin_known = manifest.read_beside(twin_file)
        twin_recipe = _trained_by(twin_known, twin_file) if twin_known else trained_by.as_run(["train"])
        twin_recipe = twin_recipe.with_changes(quantize={"bits": FULL_WIDTH})
        twin_fleets = {"adaptive": fleet(twin_recipe, "float twin")} if fleets else {}
        undefended = open_target(
            twin_file, of_dataset(dataset), Told(batch_dependent=recipe.audit.batch_dependent)
        ).target
        content["float"], _ = membership_part(
            undefended,
            dataset,
            split.members,
            split.non_members,
            twin_fleets,
            attacks=attacks,
            recipe=recipe,
            pool=split.reference,
        )
        content["float"]["robustness"] = robustness_part(undefended, dataset, split.non_members, recipe, "float twin")
    if "dp" in known.defences:
        content["dp"] = beside_the_proof(known.defences["dp"], content["attacks"], scores, recipe.seed)
    described = _described(model, recipe, known.data, content, count, cut_head) | {"accuracy": accuracy}
    described["warnings"] += [*accuracy["warnings"], *warnings_of(expected, assumed), *opened.warnings]
    if fleets and is_own(trained_by.model.name):
        described["settings"]["factory"] = trained_by.model.name
    if fleets and count:
        records = next(iter(fleets.values())).records
        described["reference_records"] = records
        described["warnings"] += _of_another_size(records, len(split.members))
    return described, scores


def _of_another_size(records: int, members: int) -> list[str]:
    """A warning where reference models had to be trained on fewer records than the target was."""
    if records >= _ALIKE * members:
        return []
    return [
        f"each reference model was trained on {records:,} records, the target on {members:,}: there are too few others for "
        "more, and attacks with reference models may find less than they would with models of the target's size; more "
        "non-members help"
    ]


def _why_no_twin(known: manifest.Manifest, asked: bool) -> str:
    if not asked:
        return "--no-float-twin"
    if known.float_twin is None:
        return "the file was exported without one, as it is the float model itself"
    return f"{known.float_twin['file']} is no longer beside it as it was exported"


def told_of(recipe: Recipe, accept: bool) -> Told:
    """What the recipe says of how the file is fed and read."""
    asked = recipe.audit
    return Told(asked.input_range, asked.mean, asked.std, asked.output_name, asked.batch_dependent, accept)


def _trained_by(known: manifest.Manifest, model: Path) -> Recipe:
    """The recipe of the stages that have run, which is what an adaptive attacker follows."""
    recipe = parse(known.recipe, str(manifest.path_beside(model)))
    return recipe.as_run(known.stages) if known.stages else recipe


def audit_on_files(
    model: Path,
    members: Path,
    non_members: Path,
    changes: dict[str, Any],
    *,
    cut_head: bool = False,
    accept_accuracy_loss: bool = False,
) -> Audited:
    """As ``audit_by_manifest``, without reference models: the two files say who is a member. ``accept_accuracy_loss``: go on
    though the model is hardly ever right on its members."""
    known = manifest.read_beside(model)
    if known is not None:
        manifest.verify(model, known)
    recipe = (parse(known.recipe, str(manifest.path_beside(model))) if known else Recipe()).with_changes(**changes)
    told = told_of(recipe, accept_accuracy_loss)
    if cut_head:
        _refuse_to_cut(model)
    read_as = _read_as(recipe, changes, members, non_members)
    opened = open_target(
        model, from_files(model, members, non_members, read_as, told.input_range), told, cut_head=cut_head
    )
    target, examples = opened.target, opened.examples.dataset
    recipe, unit = in_unit_range(recipe, opened.examples)
    said = [*project.files_said(examples), *opened.said, *unit.said]
    for line in said:
        project.say(line)
    asked = np.arange(len(examples))
    inside, outside = np.split(asked, [examples.known_members or 0])
    attacks, resolved = assess.select(recipe.audit.attacks), project.resolved(recipe, examples)
    accuracy = up_front(
        model, target, examples, inside, outside, seed=recipe.seed, accept=accept_accuracy_loss, known=known
    )
    content, scores = membership_part(target, examples, inside, outside, {}, attacks=attacks, recipe=resolved)
    if not content["attacks"]:
        reasons = "; ".join(dict.fromkeys(f"{row['name']}: {row['reason']}" for row in content["left_out"][:3]))
        raise UserError(
            f"none of these attacks can be run on member files alone ({reasons}): only a model with its manifest tells how "
            "to train reference models"
        )
    content["shift"] = shift_part(examples, inside, outside, resolved.seed)
    content["robustness"] = unit.restored(robustness_part(target, examples, outside, resolved))
    record = {"name": examples.name, "sha256": examples.sha256, "split": None}
    content["said"] = said
    described = _described(model, recipe, record, content, 0, cut_head) | {"accuracy": accuracy}
    # Both say that the model may be no good; what was asked of more inputs says it better.
    described["warnings"] += accuracy["warnings"] or opened.doubts
    described["reading"] = opened.reading
    described["warnings"] += opened.warnings
    for file, index in ((members, inside), (non_members, outside)):
        described["warnings"] += _repeated(file, examples.inputs(index))
    return described, scores


def _read_as(recipe: Recipe, changes: dict[str, Any], *files: Path) -> Data:
    """How member files are read: as the model's own data were, but a label column that is not asked for is of a table only."""
    asked = (changes.get("data") or {}).get("label") is not None
    tables = "csv" in {data.kind_of(file) for file in files}
    return recipe.data if asked or tables else recipe.data.model_copy(update={"label": None})


def _repeated(file: Path, inputs: np.ndarray) -> list[str]:
    """A warning where examples stand more than once in a file: the statistics take each for a draw of its own."""
    again = len(inputs) - len({row.tobytes() for row in inputs})
    return (
        [f"{again:,} of the {len(inputs):,} examples in {file.name} repeat others: the intervals are too narrow"]
        if again
        else []
    )


def _described(
    model: Path,
    recipe: Recipe,
    record: dict[str, Any] | None,
    content: dict[str, Any],
    references: int,
    cut_head: bool,
) -> dict[str, Any]:
    headline = content["attacks"][0]["threat_model"] if content["attacks"] else "none"
    return {
        "model": model.name,
        "sha256": hashlib.sha256(cut_open(session.whole_content(model))).hexdigest()
        if cut_head
        else sha256_of_model(model),
        "head": _head_facts(model, cut_head),
        "warnings": _warnings(model, cut_head) + _read_as_logits(model) + warning_of(content["shift"]),
        "threat_model": headline,
        "references": references,
        "seed": recipe.seed,
        "settings": {
            "audit": recipe.audit.model_dump(mode="json"),
            "adversary": recipe.adversary.model_dump(mode="json", include={"eps", "norm"}),
        },
        "data": record,
        "versions": manifest.versions(),
        **content,
    }


def _kind(model: Path) -> str | None:
    """What changes the answers of the model: its head, or the MemGuard that the device kit answers through."""
    known = manifest.read_beside(model)
    return head_of(session.read_model(model)) or ("memguard" if known is not None and known.guard is not None else None)


def _chooses_label(model: Path) -> bool:
    """Whether a file of ours ends in the choice of the label, which can be cut off as a head can."""
    told = {entry.key: entry.value for entry in session.read_model(model).metadata_props}
    return "edgepriv_version" in told and told.get("output") == "label"


def _refuse_to_cut(model: Path) -> None:
    if _kind(model) is None and not _chooses_label(model):
        raise UserError(f"{model} has no head to cut off: audit it without --cut-head")


def _head_facts(model: Path, cut: bool) -> dict[str, Any] | None:
    kind = _kind(model)
    return None if kind is None else {"kind": kind, "cut": cut}


def _read_as_logits(model: Path) -> list[str]:
    """A warning where outputs that each were a probability by themselves are taken for logits of one label."""
    graph = session.read_model(model).graph
    outputs = {value.name for value in graph.output}
    if not any(node.op_type in ("Sigmoid", "HardSigmoid") and outputs & set(node.output) for node in graph.node):
        return []
    return [
        f"{model.name} ends with a sigmoid, one probability for each output by itself; the audit is of one label for each "
        "example, and reads them as logits"
    ]


def _warnings(model: Path, cut: bool) -> list[str]:
    """What a reader must know to judge the figures."""
    kind, label = _kind(model), _chooses_label(model)
    parts = ([f"its head ({kind})"] if kind else []) + (["the choice of the label"] if label else [])
    if not parts:
        return []
    if cut:
        return [
            f"{model.name} was audited with {' and '.join(parts)} cut off: these are the figures of an attacker who holds "
            "the file"
        ]
    if kind is None:
        return [
            f"{model.name} returns labels only, and whoever holds the file can cut off the operator that chooses them: what it "
            f"then leaks must be read from edgepriv audit {model.name} --cut-head"
        ]
    return [
        f"{model.name} answers through a head ({kind}), which whoever holds the file can cut off: what it then leaks must be "
        f"read from edgepriv audit {model.name} --cut-head, and these figures hold only where nobody gets the file itself"
    ]
