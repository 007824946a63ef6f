"""Risk per person: what attacks find of the canaries alone, beside the average record, in a sentence and in tables."""

from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.audit.canaries import headline_of, twin_in_words
from edgepriv.audit.knowledge import phrase_of
from edgepriv.recipe.canaries import KINDS
from edgepriv.report.formatting import area, count, rate, with_interval
from edgepriv.report.verdict import Finding

TOPIC = "Risk per person"
RARE_FIRST = ("0.001", "0.01")
WIDTH = 80
Part = Mapping[str, Any]


def best_of(part: Part) -> Mapping[str, Any] | None:
    """The row of the attack that finds most canaries.

    Args:
        part: ``canaries`` of an audit.

    Returns:
        Its row; None where no attack was run.
    """
    return next((row for row in part["attacks"] if row["name"] == part["strongest"]), None)


def strongest_at(part: Part, fpr: str, whose: str = "canaries") -> Mapping[str, Any] | None:
    """The row of the attack that finds most at one rate: which one that is differs by rate, and between canaries and others.

    Args:
        part: ``canaries`` of an audit.
        fpr: false-positive rate, "0.001" or "0.01".
        whose: "canaries", or "average" for ordinary records.

    Returns:
        Its row; None where no attack resolves the rate.
    """
    measured = {}
    for place, row in enumerate(part["attacks"]):
        side = headline_of(row) if whose == "canaries" else row["average"]
        if side is not None and side["tpr_at_fpr"][fpr]["value"] is not None:
            measured[place] = float(side["tpr_at_fpr"][fpr]["value"])
    return part["attacks"][max(measured, key=lambda place: measured[place])] if measured else None


def risk_of_a_person(audit: Mapping[str, Any] | None) -> Iterator[Finding]:
    """What the audit says of the people whom the model exposes most.

    Args:
        audit: content of model.audit.json, or None.

    Yields:
        One finding; nothing for a model that was trained without canaries and has no twin with them.
    """
    part, twin = (audit or {}).get("canaries"), twin_in_words((audit or {}).get("audit_twin"))
    if part is None:
        if twin:
            yield Finding(TOPIC, f"Not measured here: {twin}.")
        return
    told = f" {twin[0].upper()}{twin[1:]}." if twin else ""
    what = KINDS.get(part["kind"], f"records of {part['asked']}")
    about = f"{part['members'] + part['non_members']:,} canaries ({what}; half of them trained on)"
    best = best_of(part)
    if best is None:
        why = part.get("not_run") or "; ".join(f"{row['name']}: {row['reason']}" for row in part["left_out"])
        yield Finding(TOPIC, f"Not measured, although the training data hold {about}: {why}.{told}")
        return
    own = headline_of(best)
    fpr = _rarest(own)
    of_file = _of_the_file(best["file"])
    if fpr is None:
        yield Finding(
            TOPIC,
            f"Of {about} too few are there to count rare false alarms; {best['name']} ranks one that was trained on above one "
            f"that was not in {_area(own)} of all pairs (guessing: 0.5){of_file}.{told}",
            f"records unlike all others are told with AUC {_area(own)}",
        )
        return
    guessed = f"{100 * float(fpr):g}%"
    share = _rate(own, fpr)
    common = _at_one_percent(part, fpr)
    guessing = f" {'Both intervals include' if common else 'The interval includes'} guessing."
    verdict = "" if _more_than_guessing(part) else guessing
    yield Finding(
        TOPIC,
        f"A canary stands for the person whom the model exposes most. Of {about}, {best['name']} ({phrase_of(best)}) "
        f"finds {share} with {guessed} false alarms (guessing: {guessed}){_of_average_records(part, best, fpr)}"
        f"{f'; with 1% false alarms {common} of the canaries' if common else ''}{_how(part, best)}{of_file}.{verdict}{told}",
        f"of records unlike all others {share} are found with {guessed} false alarms"
        + (f" (with 1%: {common})" if common else ""),
    )


def _at_one_percent(part: Part, fpr: str) -> str:
    """The common rate beside the rare one, whose interval can be wide; by the attack that finds most there."""
    row = None if fpr == "0.01" else strongest_at(part, "0.01")
    return "" if row is None else f"{row['name']} finds {_rate(headline_of(row), '0.01')}"


def _of_average_records(part: Part, best: Mapping[str, Any], fpr: str) -> str:
    row = strongest_at(part, fpr, "average")
    if row is None:
        return ""
    return f"; of average records {'it' if row is best else row['name']} finds {_rate(row['average'], fpr)}"


def _more_than_guessing(part: Part) -> bool:
    """By the interval of a rate that the headline gives: a wide one at 0.1% can include what that at 1% rules out."""
    rows = {fpr: strongest_at(part, fpr) for fpr in RARE_FIRST}
    return any(
        row is not None and headline_of(row)["tpr_at_fpr"][fpr]["ci"][0] > float(fpr) for fpr, row in rows.items()
    )


def _how(part: Part, row: Mapping[str, Any]) -> str:
    if row["canaries"] is None:
        return " (scores of the file alone, as the reference models were trained without its defence)"
    return f" ({count(part['reference_models'], 'reference model')}, each attacked with the others, scores pooled)"


def _of_the_file(own: Mapping[str, Any]) -> str:
    return f"; on the file itself its AUC on the canaries is {_area(own)}"


def _rarest(own: Mapping[str, Any]) -> str | None:
    return next((fpr for fpr in RARE_FIRST if own["tpr_at_fpr"][fpr]["value"] is not None), None)


def _rate(own: Mapping[str, Any], fpr: str) -> str:
    measured = own["tpr_at_fpr"][fpr]
    return with_interval(measured["value"], measured["ci"], rate)


def _area(own: Mapping[str, Any]) -> str:
    return with_interval(own["auc"], own["auc_ci"], area)


def canary_rows(part: Part) -> list[tuple[str, ...]]:
    """The figures of each attack, the strongest first, as text.

    Args:
        part: ``canaries`` of an audit.

    Returns:
        Rows of the attack's name, true-positive rates at 0.1% and 1% and AUC on canaries, the two rates on average records, and
        the AUC on the file's own canaries; "-" where a rate cannot be resolved or was not measured.
    """
    rows = []
    for row in sorted(part["attacks"], key=lambda row: row["name"] != part["strongest"]):
        sides = (row["canaries"], row["average"])
        rates = [[_short(side, fpr) for fpr in RARE_FIRST] for side in sides]
        pooled = "-" if row["canaries"] is None else area(row["canaries"]["auc"])
        rows.append((row["name"], *rates[0], pooled, *rates[1], area(row["file"]["auc"])))
    return rows


def _short(side: Mapping[str, Any] | None, fpr: str) -> str:
    measured = None if side is None else side["tpr_at_fpr"][fpr]
    return "-" if measured is None or measured["value"] is None else rate(measured["value"])


def canary_notes(part: Part) -> list[str]:
    """What is to be known of the table.

    Args:
        part: ``canaries`` of an audit.

    Returns:
        Sentences.
    """
    if not part["attacks"]:
        return []
    notes = [
        f"{part['asked']}: {part['members']:,} canaries were trained on and {part['non_members']:,} were not; each of "
        f"{count(part['reference_models'], 'reference model')} is attacked with the others, and the scores are pooled. 'File': "
        "the audited file's own canaries"
    ]
    pooled = [row["canaries"] for row in part["attacks"] if row["canaries"] is not None]
    if not pooled:
        notes.append(
            "the reference models were trained without the file's defence, so what they show of each other is not pooled"
        )
    reasons = dict.fromkeys(side["tpr_at_fpr"][fpr].get("note", "") for side in pooled for fpr in RARE_FIRST)
    notes += [f"-: {reason}" for reason in reasons if reason]
    without = [row for row in part["attacks"] if row.get("no_average")]
    notes += [f"no figure of the average record by {row['name']}: {row['no_average']}" for row in without]
    return notes + [f"left out: {row['name']}: {row['reason']}" for row in part["left_out"]]


def canary_tables(audit: Mapping[str, Any]) -> list[Table | str]:
    """The headline, then the figures, for a terminal of 80 columns.

    Args:
        audit: content of model.audit.json.

    Returns:
        A sentence, a table and notes; the sentence alone where no attack was run, nothing without canaries.
    """
    part = audit.get("canaries")
    headline: list[Table | str] = [
        fill(f"{finding.topic}: {finding.sentence}", WIDTH) for finding in risk_of_a_person(audit)
    ]
    if part is None or not part["attacks"]:
        return headline
    table = Table(
        title=Text("Canaries, beside the average record"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("attack", overflow="fold", min_width=12)
    for heading in ("TPR@0.1%", "TPR@1%", "AUC", "average@0.1%", "average@1%", "AUC, file"):
        table.add_column(heading, justify="right")
    for row in canary_rows(part):
        table.add_row(*map(Text, row))
    notes = [fill(note, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for note in canary_notes(part)]
    return [*headline, table, "\n".join(notes)]
