"""Attack a deployed file; which attacks there are."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import data
from edgepriv.artifact import manifest
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit import gate
from edgepriv.audit.attacks import ATTACKS, NEEDS, TRAINED
from edgepriv.audit.baseline import Baseline, judged_against
from edgepriv.audit.knowledge import attacker_of
from edgepriv.audit.request import Request
from edgepriv.audit.with_files import audit_on_files
from edgepriv.audit.with_manifest import audit_by_manifest
from edgepriv.errors import GateFailed, UserError
from edgepriv.files import refuse_existing, refuse_overwriting, write_bytes, write_json
from edgepriv.pipeline._given import json_name, named
from edgepriv.pipeline._page import write_report
from edgepriv.pipeline._references import brought_by
from edgepriv.pipeline._start import start_path
from edgepriv.project import beside
from edgepriv.report.declared import NOTHING_DECLARED, Declared
from edgepriv.report.statement import is_altered, signed, statement_of


# One argument for each option of `edgepriv audit`, by its name.
def audit(
    model: Path,
    changes: dict[str, Any],
    *,
    members: Path | None = None,
    non_members: Path | None = None,
    output: Path | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    float_twin: bool = True,
    cut_head: bool = False,
    accept_accuracy_loss: bool = False,
    factory: str | None = None,
    reference_models: Path | None = None,
    reference_scores: Path | None = None,
    loss_trace: Path | None = None,
    also: Sequence[Path] = (),
    input_shape: tuple[int, ...] | None = None,
    trainer: str | None = None,
    defence_free: str | None = None,
    limits: Sequence[str] = (),
    baseline: Path | None = None,
    show_records: bool = False,
    declared: Declared = NOTHING_DECLARED,
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Attack the file ``model`` as deployed; write model.audit.json, .html and .npz (every score).

    Without ``members`` the manifest beside the model says what it was trained on, and reference models are trained by its
    recipe.

    Args:
        model: the .onnx file.
        changes: sections of the recipe by name, as ``Recipe.with_changes`` takes them.
        members: file of examples that the model was trained on; with ``non_members`` any ONNX classifier is audited.
        non_members: file of examples that it was not trained on.
        output: the JSON to write; None for model.audit.json, or model.cut-head.audit.json.
        data_dir: folder of the data sets; None for the default one.
        cache_dir: folder of reference models; None for the default one.
        float_twin: audit the float twin as well.
        cut_head: audit the file with its head removed, as anyone who holds it can.
        accept_accuracy_loss: audit a file that has collapsed too (see ``edgepriv.accuracy``).
        factory: the user's own ``package.module:factory``, without which reference models of such a network are refused.
        limits: such as "auc>0.55"; judged after the audit.
        baseline: model.audit.json of an earlier version; one that is worse beyond noise fails the gate.
        show_records: put the most exposed records into the audit, which is then as private as they are.
        declared: what people say of the audit, for its risk statement.
        reference_models: folder of the user's own reference models; none are trained then (see ``audit.existing``).
        reference_scores: file of what the user's own reference models answer; none are trained then.
        loss_trace: of the model's training; only of a model with a manifest.
        also: other releases of the model, which an attacker may hold beside it.
        input_shape: of one example, as the user states it for a file that leaves sizes open; None where nothing is said.
        trainer: the user's own function that trains reference models (see ``audit.trainer``).
        defence_free: the function that trains them without the target's defence.
        force: replace files that exist.
        recipe_file: where the recipe was read from.

    Returns:
        The content of model.audit.json.

    Raises:
        UserError: for bad input, before any attack.
        GateFailed: after writing, when one of ``limits`` is exceeded, or the model is worse than the ``baseline``.
    """
    declared = declared.checked()
    output = json_name(output) or audit_file(model, cut_head)
    written = [output, output.with_suffix(".html"), output.with_suffix(".npz")]
    kept = cache_dir or data.default_data_dir()
    read = [start_path(changes), model, members, non_members, recipe_file, reference_models, reference_scores]
    read += [loss_trace, *(path for each in also for path in (each, *_beside(each)))]
    read += [] if baseline is None else [baseline, baseline.with_suffix(".npz")]
    refuse_overwriting([*read, *_beside(model), kept / "references"], written)
    _refuse_reading_nothing(changes, members)
    opened = DeployedModel.open(model)
    earlier = _baseline(baseline, opened)
    if members is None:
        refuse_overwriting(_data_files(opened, data_dir), written)
    refuse_existing(written, force)
    gates = [gate.parse_limit(limit) for limit in limits]
    gate.refuse_without_prior(gates, (changes.get("audit") or {}).get("prior"))
    if (members is None) != (non_members is None):
        raise UserError("--members and --non-members go together: an audit compares the two")
    if loss_trace is not None and members is not None:
        raise UserError("--loss-trace is of a model that edgepriv trained: leave out --members, or --loss-trace")
    own = named(factory)
    request = Request(
        kept,
        changes,
        data_dir,
        float_twin=float_twin,
        cut_head=cut_head,
        accept_accuracy_loss=accept_accuracy_loss,
        confirmed=own,
        brought=brought_by(opened, own, reference_models, reference_scores, trainer, defence_free),
        baseline=earlier,
        show_records=show_records,
        loss_trace=loss_trace,
        also=tuple(_also(path) for path in also),
        input_shape=input_shape,
    )
    if members is not None and non_members is not None:
        content, scores = audit_on_files(opened, members, non_members, request)
    else:
        content, scores = audit_by_manifest(opened, request)
    content["limits"] = gate.judged(gates, content)
    if earlier is not None:
        since = judged_against(earlier, content, scores)
        content["baseline"] = since["change"]
        content["limits"].append(since["limit"])
    content = _stated(content, declared, opened)
    _write(opened, content, scores, written)
    sentences = gate.exceeded(content["limits"])
    if sentences:
        raise GateFailed("; ".join(sentences), content)
    return content


def _also(path: Path) -> DeployedModel:
    if not path.is_file():
        raise UserError(f"--also {path}: no such file")
    return DeployedModel.open(path)


def _baseline(path: Path | None, opened: DeployedModel) -> Baseline | None:
    """The audit of an earlier version, refused where it can say nothing about this one."""
    if path is None:
        return None
    baseline = Baseline.read(path)
    if is_altered(baseline.version.audit):
        raise UserError(
            f"--baseline {path}: this audit is not what was signed: a figure or a word in it has changed since"
        )
    baseline.refuse_other_network(opened)
    return baseline


def _stated(content: dict[str, Any], declared: Declared, opened: DeployedModel) -> dict[str, Any]:
    """With the risk statement, signed where somebody signs; nothing may change after that."""
    recipe = opened.manifest.recipe if opened.manifest else None
    statement = statement_of(
        content,
        declared,
        date=datetime.now(UTC).date().isoformat(),  # the day: two audits of one day are the same, byte for byte
        recipe_sha256=None if recipe is None else sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
        parameters=sum(layer.parameters for layer in opened.layers) or None,
    )
    return signed(content | {"statement": statement}, declared)


def _beside(model: Path) -> list[Path]:
    """What an audit reads beside the model, where it is there."""
    return [manifest.path_beside(model), beside(model, "fp32.onnx")]


def _data_files(opened: DeployedModel, data_dir: Path | None) -> list[Path]:
    """The files of the data that the manifest names."""
    known = opened.manifest
    if known is None or known.data is None:
        return []
    canaries = known.data.get("canaries", {}).get("asked")
    return [*data.files_of(known.data["name"], data_dir), *data.canary_files(canaries)]


def _refuse_reading_nothing(changes: dict[str, Any], members: Path | None) -> None:
    """By which subgroups figures are told may be asked of the manifest's data, too."""
    reading = [name for name, value in (changes.get("data") or {}).items() if value is not None and name != "subgroups"]
    if members is None and reading:
        option = "input-range" if reading[0] == "range" else reading[0].replace("_", "-")
        raise UserError(f"--{option} says how --members and --non-members are read: pass these too")


def _write(opened: DeployedModel, content: dict[str, Any], scores: dict[str, Any], written: Sequence[Path]) -> None:
    """The JSON, the page and the scores, to the paths of ``written`` in this order; the page last, which shows the others."""
    archive = io.BytesIO()
    np.savez_compressed(archive, **scores)
    write_bytes(written[2], archive.getvalue())
    write_json(written[0], content)
    write_report(opened, content, written[1])


def audit_file(model: Path, cut_head: bool) -> Path:
    """Where the audit of a model is written unless something else is asked for.

    Args:
        model: the .onnx file.
        cut_head: whether its head is removed for the audit.

    Returns:
        A path beside the model: model.audit.json, or model.cut-head.audit.json.
    """
    return beside(model, "cut-head.audit.json" if cut_head else "audit.json")


def attacks() -> list[dict[str, Any]]:
    """Every membership attack by name, in the order of an audit: its paper, what it needs, how often it asks.

    Returns:
        One dictionary for each, JSON-ready. ``attacker``: the weakest who can run it, a key of
        ``edgepriv.audit.knowledge.PHRASES``; ``needs``: words of ``edgepriv.audit.attacks.NEEDS``; ``trains``: whether for one
        of them the attacker trains models; ``queries``: questions to the target for each candidate, at most; ``reads``:
        "probabilities" or "label".
    """
    return [
        {
            "name": attack.name,
            "title": attack.title,
            "paper": attack.paper,
            "attacker": attacker_of(attack.name, "none"),
            "needs": [need for need in NEEDS if need in attack.needs],
            "trains": bool(attack.needs & TRAINED),
            "queries": attack.queries,
            "reads": attack.reads,
        }
        for attack in ATTACKS.values()
    ]
