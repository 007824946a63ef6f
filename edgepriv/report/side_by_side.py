"""Several models side by side: their figures, what could not be shown of them, and what changed since the first."""

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Any

from rich.table import Table

from edgepriv.audit.knowledge import phrase_of
from edgepriv.report.changes import figure_cells, headline, notes
from edgepriv.report.characters import MARKS, drawn, lowest_of
from edgepriv.report.columns import WIDTH, add_row, plain_table
from edgepriv.report.formatting import (
    area,
    attack_name,
    budget,
    count,
    file_size,
    megabytes,
    milliseconds,
    percent,
    rate,
    with_interval,
)
from edgepriv.report.tables import tpr
from edgepriv.report.verdict import like_guessing, strongest


def compare_row(name: str, audit: Mapping[str, Any] | None, bench: Mapping[str, Any] | None) -> dict[str, Any]:
    """One model of ``compare_table`` as a JSON-ready object.

    Args:
        name: of the model, as the bench calls its variant.
        audit: content of the model's audit, or None.
        bench: content of a bench; the first row of the variant called ``name`` is taken. Or None.

    Returns:
        Figures by name, None for what was not measured: sizes in bytes, latency in milliseconds, memory in megabytes of 10^6
        bytes, accuracies as fractions with 95% intervals. ``not_measured`` says why an accuracy is missing.
    """
    row = next((row for row in bench["variants"] if row["name"] == name), None) if bench else None
    robustness = (audit or {}).get("robustness")
    best = strongest((audit or {}).get("attacks", []))
    leakage = ("name", "threat_model", "attacker", "direction", "auc", "auc_ci", "tpr_at_fpr")
    return {
        "name": name,
        "size_bytes": row["size_bytes"] if row else None,
        "latency_p50_ms": row["latency_ms"]["p50"] if row else None,
        "rss_peak_mb": row["rss_mb"]["peak"] if row else None,
        "clean_accuracy": audit["utility"]["non_member_accuracy"] if audit else None,
        "clean_accuracy_ci": audit["utility"].get("non_member_accuracy_ci") if audit else None,
        "robust_accuracy": robustness["worst_case_accuracy"] if robustness else None,
        "robust_accuracy_ci": robustness["ci"] if robustness else None,
        "robust_at_most": robustness.get("at_most") if robustness else None,
        "not_measured": _lacking(audit, robustness),
        "robust_budget": {key: robustness[key] for key in ("norm", "eps", "unit") if key in robustness}
        if robustness
        else None,
        "strongest_attack": {key: best[key] for key in leakage if key in best} | {"like_guessing": like_guessing(best)}
        if best
        else None,
    }


def _lacking(audit: Mapping[str, Any] | None, robustness: Mapping[str, Any] | None) -> list[str]:
    """Why cells of the row are empty."""
    if audit is None:
        return ["accuracy, robust accuracy and leakage: no audit of this file exists (edgepriv audit writes one)"]
    if robustness is None or robustness["worst_case_accuracy"] is not None:
        return []
    return [f"robust accuracy: {'; '.join(robustness['warnings'])}"]


def compare_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the table could not show of each model, and why.

    Args:
        rows: what ``compare_row`` returns, with ``batch`` of models of a fixed batch and ``timed_batch`` if it is known.

    Returns:
        One sentence for each; empty where the table says everything.
    """
    single = [
        f"{row['name']} takes {count(row['batch'], 'input')} at a time: its accuracy and leakage were measured that way"
        for row in rows
        if row.get("batch")
    ]
    timed = {row["timed_batch"] for row in rows if row.get("timed_batch", 1) != 1}
    other = [f"latency is of a batch of {size}" for size in sorted(timed)]
    lacking = [f"not measured of {row['name']}: {reason}" for row in rows for reason in row.get("not_measured", ())]
    return [*single, *other, *lacking]


def compare_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Models as columns, so that two or three fit side by side into 80.

    Args:
        rows: what ``compare_row`` returns, one for each model.

    Returns:
        A row for each figure.
    """
    table = plain_table("", [""], [row["name"] for row in rows], compact=True)
    for label, shown in compare_cells(rows):
        add_row(table, label, *shown)
    return table


def compare_cells(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Models side by side, as text.

    Args:
        rows: what ``compare_row`` returns, one for each model.

    Returns:
        For each figure its name, and a cell for each model.
    """
    return [(label, [show(row) for row in rows]) for label, show in _COMPARED.items()]


def change_parts(rows: Sequence[Mapping[str, Any]]) -> list[Table | str]:
    """Both ROC curves, then what became better or worse against the first model.

    Args:
        rows: what ``pipeline.compare`` returns.

    Returns:
        Texts and tables of 80 columns; nothing is drawn of models without an audit.
    """
    parts: list[Table | str] = []
    curves = {row["name"]: row["roc"] for row in rows if row["roc"] is not None}
    if curves:
        shown = dict(list(curves.items())[: len(MARKS)])
        title = "ROC of the attack with the largest AUC on each, of those on all records"
        named = {f"{name}: {curve['attack']}": curve for name, curve in shown.items()}
        parts += [title, *drawn(named, lowest_of(list(shown.values()))), ""]
    for row in rows:
        if row["change"] is None:
            continue
        parts.append(fill(headline(row["name"], row["change"]), WIDTH, subsequent_indent="  ", break_on_hyphens=False))
        table = plain_table("", ["figure"], ["before", "after", "difference", "verdict"], compact=True)
        for figure in row["change"]["figures"]:
            add_row(table, *figure_cells(figure))
        parts += [
            table,
            *(fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in notes(row["change"])),
        ]
    return parts


def stale_audits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which models have been changed since their audit, which was left out for that.

    Args:
        rows: what ``compare_row`` returns, with ``stale_audit`` where there is such an audit.

    Returns:
        A sentence for each of these models.
    """
    return [
        f"{row['name']}: the audit beside it is of another file, as the model or its weights have changed since: audit it again"
        for row in rows
        if row.get("stale_audit")
    ]


def altered_audits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which models have an audit that was changed after somebody signed it.

    Args:
        rows: what ``compare_row`` returns, with ``altered_audit`` where that is known.

    Returns:
        A sentence for each of these models.
    """
    return [
        f"{row['name']}: warning: the audit beside it is not what was signed: a figure or a word in it has changed since"
        for row in rows
        if row.get("altered_audit")
    ]


def _robust(row: Mapping[str, Any]) -> str:
    if row["robust_accuracy"] is None and row.get("robust_at_most") is not None:
        return f"at most {percent(row['robust_at_most'])} ({budget(row['robust_budget'])})"
    shown = with_interval(row["robust_accuracy"], row["robust_accuracy_ci"], percent)
    tested = row["robust_budget"]
    return f"{shown} ({budget(tested)})" if tested and row["robust_accuracy"] is not None else shown


def _of_strongest(show: Callable[[Mapping[str, Any]], str], nothing: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: show(row["strongest_attack"]) if row["strongest_attack"] else nothing


_COMPARED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "size": lambda row: file_size(row["size_bytes"]),
    "latency p50": lambda row: milliseconds(row["latency_p50_ms"]),
    "peak memory": lambda row: megabytes(row["rss_peak_mb"]),
    "clean accuracy": lambda row: with_interval(row["clean_accuracy"], row["clean_accuracy_ci"], percent),
    "robust accuracy": _robust,
    "strongest attack": _of_strongest(lambda best: f"{attack_name(best)} ({phrase_of(best)})", ""),
    "its AUC": _of_strongest(lambda best: with_interval(best["auc"], best["auc_ci"], area), area(None)),
    "like guessing": _of_strongest(lambda best: "yes" if best.get("like_guessing") else "no", ""),
    "its TPR at 1% FPR": _of_strongest(lambda best: tpr(best, "0.01"), rate(None)),
}
