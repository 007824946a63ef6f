"""Several files side by side, and what changed from the first to each of the others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.baseline import scores_beside
from edgepriv.audit.change.versions import Version
from edgepriv.audit.described import FORMAT
from edgepriv.audit.knowledge import phrase_of
from edgepriv.audit.regression import compared
from edgepriv.companion_files import audit_beside, has_stale_audit, unique_names
from edgepriv.errors import UserError
from edgepriv.files import refuse_existing, refuse_overwriting, write_json, write_text
from edgepriv.measure.batches import batches_for
from edgepriv.pipeline._bench import fixed_batches, measured_together
from edgepriv.pipeline._given import json_name
from edgepriv.project import beside
from edgepriv.recipe import Recipe
from edgepriv.report import side_by_side
from edgepriv.report.changes import costs, with_costs, without_audits
from edgepriv.report.compared_page import page
from edgepriv.report.formatting import attack_name
from edgepriv.report.statement import is_altered

Audits = Mapping[str, dict[str, Any] | None]


def compare(
    models: Sequence[Path], recipe: Recipe, output: Path | None = None, force: bool = False
) -> list[dict[str, Any]]:
    """Several models side by side.

    Args:
        models: at least two .onnx files, the earlier version first.
        recipe: threads, batch sizes, runs and rounds.
        output: the JSON to write, with the page beside it; None writes nothing.
        force: replace files that exist.

    Returns:
        One row for each model: size, latency and memory, measured now; accuracy, robust accuracy and leakage from its audit, if
        there is one of the same file. ``stale_audit``: there is one of another version; ``altered_audit``: it was changed
        after it was signed. ``roc``: of the attack with the largest AUC on all records, which ``attack``
        names. ``change``: against the first model,
        see ``regression.compared``; None for the first.

    Raises:
        UserError: for fewer than two different models.
    """
    if len({path.resolve() for path in models}) < 2:
        raise UserError("compare needs at least two different models")
    output = json_name(output)
    written = [] if output is None else [output, output.with_suffix(".html")]
    refuse_overwriting([*models, *(beside(model, "audit.json") for model in models)], written)
    refuse_existing(written, force)
    variants = dict(zip(unique_names(models), map(DeployedModel.open, models), strict=True))
    fixed = fixed_batches(variants)
    batches, _ = batches_for(fixed, (1,))
    measured = measured_together(variants, recipe.bench, batches, (1,))
    audits = {name: audit_beside(model) for name, model in variants.items()}
    rows = [
        side_by_side.compare_row(name, audits[name], measured)
        | {"stale_audit": has_stale_audit(model), "altered_audit": is_altered(audits[name] or {})}
        | {"batch": fixed[name], "timed_batch": batches[0], "roc": _roc(audits[name])}
        for name, model in variants.items()
    ]
    timed = {row["name"]: row for row in measured["variants"]}
    first = rows[0]["name"]
    for row in rows:
        change = None if row["name"] == first else _change(first, row["name"], variants, audits, recipe.seed)
        row["change"] = change and with_costs(change, costs(timed[first], timed[row["name"]]))
    if output is not None:
        text = page(rows)
        write_json(output, rows)
        write_text(output.with_suffix(".html"), text)
    return rows


def _roc(audit: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The curve of the attack with the largest AUC among those that were run on all records."""
    if audit is None:
        return None
    everyone = audit["utility"]["n_non_members"]
    whole = [row for row in audit["attacks"] if "roc" in row and row["n_non_members"] == everyone]
    if not whole:
        return None
    best = max(whole, key=lambda row: row["auc"])
    by = {key: best[key] for key in ("name", "threat_model", "n_non_members", "auc")}
    return (
        by
        | {"attack": f"{attack_name(best)} ({phrase_of(best)})"}
        | {"fpr": best["roc"]["fpr"], "tpr": best["roc"]["tpr"]}
    )


def _change(first: str, name: str, variants: Mapping[str, DeployedModel], audits: Audits, seed: int) -> dict[str, Any]:
    before, after = audits[first], audits[name]
    if before is None or after is None:
        missing = [each for each in (first, name) if audits[each] is None]
        return without_audits(first, f"no audit of {' and '.join(missing)}")
    other = [each for each, audit in ((first, before), (name, after)) if audit.get("format") != FORMAT]
    if other:
        return without_audits(
            first, f"another version of edgepriv wrote the audit of {' and of '.join(other)}: audit again"
        )
    both = [
        Version(each, audit, scores_beside(beside(variants[each].path, "audit.json")))
        for each, audit in ((first, before), (name, after))
    ]
    return compared(both[0], both[1], seed)
