"""The figures of a risk statement: each that the audit has, with its interval; none that it has not."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgepriv.audit.canaries import headline_of
from edgepriv.audit.knowledge import phrase_of
from edgepriv.report.canaries import best_of, strongest_at
from edgepriv.report.coverage import ATTRIBUTE, EVASION, INVERSION, MEMBERSHIP
from edgepriv.report.formatting import area, attack_name, budget, percent, rate, signed_points, significant
from edgepriv.report.summary import largest_rate
from edgepriv.report.verdict import beyond_guessing, chosen_ci, strongest

PRIVACY = "differential privacy"
SIZE = "size of the model"
Figure = dict[str, Any]
_WRITTEN = {
    "area": area,
    "rate": rate,
    "percent": percent,
    "points": signed_points,
    "number": lambda value: "" if value is None else significant(value),
}


def figures_of(audit: Mapping[str, Any], parameters: int | None) -> list[Figure]:
    """The figures that an audit has.

    Args:
        audit: content of model.audit.json.
        parameters: of the model; None where they are not known.

    Returns:
        Rows of ``figure`` (what it is), ``about`` (the kind of attack, as ``coverage`` names it), ``value``, ``ci`` (95%, or
        None), ``guessing`` (what guessing gives, or None), ``unit`` ("area", "rate", "percent", "points" or "number") and
        ``by``. A rate that could not be resolved has the value None and a ``note``.
    """
    figures = [
        *_membership(audit),
        *_persons(audit),
        *_canaries(audit.get("canaries")),
        *_privacy(audit.get("dp")),
        *_one_run(audit),
        *(_screened(ATTRIBUTE, audit.get("attribute_inference"))),
        *(_screened(INVERSION, audit.get("class_inversion"))),
        *_robustness(audit.get("robustness")),
        *_size(audit, parameters),
    ]
    if (audit.get("shift") or {}).get("found"):
        return [_doubted(row) if row["about"] in (MEMBERSHIP, ATTRIBUTE, INVERSION) else row for row in figures]
    return figures


# One argument for each key of a figure.
def _figure(
    figure: str,
    about: str,
    value: float | None,
    ci: Any = None,
    guessing: float | None = None,
    unit: str = "rate",
    by: str = "",
    note: str = "",
) -> Figure:
    row = {"figure": figure, "about": about, "value": value, "ci": ci, "guessing": guessing, "unit": unit, "by": by}
    return row | ({"note": note} if note else {})


def _doubted(row: Figure) -> Figure:
    """What compares members with others shows also how these differ without any model."""
    note = "members and non-members differ in themselves, so this is not leakage alone"
    return {**row, "note": "; ".join(filter(None, (row.get("note", ""), note)))}


def _by(row: Mapping[str, Any]) -> str:
    return f"{attack_name(row)}, {phrase_of(row)}"


def _membership(audit: Mapping[str, Any]) -> Iterator[Figure]:
    best = strongest(audit["attacks"])
    if best is None:
        return
    beyond = beyond_guessing(audit["attacks"])
    like = "" if beyond else "no attack is beyond guessing, corrected for their number"
    yield _figure("AUC of the strongest attack", MEMBERSHIP, best["auc"], chosen_ci(best), 0.5, "area", _by(best), like)
    for fpr, shown in (("0.01", "1%"), ("0.001", "0.1%")):
        top = largest_rate(beyond or audit["attacks"], fpr)
        title = f"members found with {shown} false alarms by the best attack"
        if top is None:
            rates = [row["tpr_at_fpr"].get(fpr) or {} for row in audit["attacks"]]
            note = next((row["note"] for row in rates if row.get("note")), "not resolvable")
            yield _figure(title, MEMBERSHIP, None, None, float(fpr), note=note)
            continue
        measured = top["tpr_at_fpr"][fpr]
        yield _figure(title, MEMBERSHIP, measured["value"], chosen_ci(measured), float(fpr), by=_by(top), note=like)
        named = (top.get("precision_at_fpr") or {}).get(fpr)
        if named is not None and audit.get("prior") is not None:
            title = f"members among those named then, if {100 * audit['prior']:g}% of all records are"
            interval = None if named["ci"] is None else chosen_ci(named)
            yield _figure(
                title, MEMBERSHIP, named["value"], interval, audit["prior"], "percent", _by(top), named.get("note", "")
            )


def _persons(audit: Mapping[str, Any]) -> Iterator[Figure]:
    rows = (audit.get("persons") or {}).get("rows") or []
    measured = [row for row in rows if row.get("auc") is not None]
    if measured:
        best = max(measured, key=lambda row: row["auc"])
        note = f"the best of {len(measured)}; its own interval" if len(measured) > 1 else ""
        title = "AUC by person of the strongest attack"
        yield _figure(title, MEMBERSHIP, best["auc"], best["auc_ci"], 0.5, "area", _by(best), note)


def _canaries(part: Mapping[str, Any] | None) -> Iterator[Figure]:
    best = None if part is None else best_of(part)
    if part is None or best is None:
        return
    for fpr, shown in (("0.001", "0.1%"), ("0.01", "1%")):
        row = strongest_at(part, fpr) or best
        measured = headline_of(row)["tpr_at_fpr"][fpr]
        title = f"canaries found at {shown} false alarms"
        note = measured.get("note", "") if measured["value"] is None else ""
        yield _figure(title, MEMBERSHIP, measured["value"], measured["ci"], float(fpr), by=_by(row), note=note)


def _privacy(dp: Mapping[str, Any] | None) -> Iterator[Figure]:
    if dp:
        # The bound of an audit by person is of a person, and so is what it is set beside.
        of_person = "epsilon_of_a_person" in dp
        epsilon, delta = (dp[f"{name}_of_a_person" if of_person else name] for name in ("epsilon", "delta"))
        title = f"epsilon proven{' of a person' if of_person else ''}, at delta {delta:.2g}"
        nothing = "" if epsilon is not None else "trained without noise: nothing is proven"
        if epsilon is not None and delta >= 1:
            epsilon, nothing = None, "too many records of one person: nothing is proven"
        yield _figure(title, PRIVACY, epsilon, unit="number", note=dp.get("warning") or nothing)
        yield _figure(
            "epsilon shown by attacks, at least", PRIVACY, dp["lower_bound"], unit="number", by=dp.get("attack") or ""
        )


def _one_run(audit: Mapping[str, Any]) -> Iterator[Figure]:
    of_canaries = (audit.get("canaries") or {}).get("epsilon")
    for part, whose in ((audit.get("epsilon"), "audited records"), (of_canaries, "canaries")):
        bound = (part or {}).get("one_run")
        if bound and bound.get("attack"):
            title = f"epsilon shown by one training, {whose}, at least"
            yield _figure(title, PRIVACY, bound["lower_bound"], unit="number", by=bound["attack"])


def _screened(about: str, part: Mapping[str, Any] | None) -> Iterator[Figure]:
    for row in (part or {}).get("figures", ()):
        yield _figure(**{"about": about, **row})


def _robustness(robustness: Mapping[str, Any] | None) -> Iterator[Figure]:
    if robustness is not None and robustness["worst_case_accuracy"] is not None:
        title = f"accuracy left under attack, {budget(robustness)}"
        yield _figure(
            title, EVASION, robustness["worst_case_accuracy"], robustness["ci"], unit="percent", by="worst case"
        )
    elif robustness is not None and robustness.get("at_most") is not None:
        title = f"accuracy left under attack, at most, {budget(robustness)}"
        yield _figure(
            title,
            EVASION,
            robustness["at_most"],
            unit="percent",
            by="worst case",
            note="; ".join(robustness["warnings"]),
        )


def _size(audit: Mapping[str, Any], parameters: int | None) -> Iterator[Figure]:
    """EDPB Opinion 28/2024 asks for it in paragraph 58(e)."""
    members = ((audit.get("data") or {}).get("split") or {}).get("sizes", {}).get("members")
    if parameters and members:
        yield _figure(
            "training records per parameter",
            SIZE,
            members / parameters,
            unit="number",
            by=f"{members:,} / {parameters:,}",
        )


def cells(figure: Figure) -> tuple[str, str, str, str]:
    """A figure as text.

    Args:
        figure: one of ``figures_of``.

    Returns:
        Value, interval, what guessing gives, and by what; with its note.
    """
    text_of: Any = _WRITTEN[figure["unit"]]
    value = "not measured" if figure["value"] is None else text_of(figure["value"])
    bounds = "" if figure["ci"] is None else f"{text_of(figure['ci'][0])} to {text_of(figure['ci'][1])}"
    guessing = "" if figure["guessing"] is None else text_of(figure["guessing"])
    return value, bounds, guessing, "; ".join(filter(None, (figure["by"], figure.get("note", ""))))
