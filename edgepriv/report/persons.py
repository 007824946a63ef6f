"""The audit by person for a terminal of 80 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.audit.knowledge import phrase_of
from edgepriv.report.formatting import area, attack_name, rate

SHOWN = 5


def persons_table(persons: Mapping[str, Any], shown: int = SHOWN) -> list[Table | str]:
    """The strongest attacks by all records of a person, beside the same attacks by record.

    Args:
        persons: ``persons`` of an audit.
        shown: attacks in the table, at most.

    Returns:
        The table, then one text: how a person's score is made of the records', and why there are dashes.
    """
    table = Table(
        title=Text(persons_title(persons)),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("attack", overflow="fold", min_width=20)
    table.add_column("attacker", overflow="fold")
    for heading in ("AUC", "by record", "TPR@1%"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in persons["rows"][:shown]:
        table.add_row(Text(attack_name(row)), Text(phrase_of(row)), *person_cells(row))
    return [table, "\n".join([f"a person's score: {persons['score']}", *unresolved(persons["rows"][:shown])])]


def persons_title(persons: Mapping[str, Any]) -> str:
    """How many persons were audited, with how many records each.

    Args:
        persons: ``persons`` of an audit: ``members``, ``non_members``, and ``records`` (fewest, median, most of a person).

    Returns:
        The heading of the table.
    """
    fewest, median, most = persons["records"]
    return (
        f"By person ({persons['members']:,} members, {persons['non_members']:,} non-members; {fewest} to {most} records each, "
        f"median {median:g})"
    )


def person_cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """The figures of an attack by person, as text.

    Args:
        row: of ``persons["rows"]``.

    Returns:
        AUC by person with its 95% interval, AUC by record, true-positive rate by person at 1% false positives with its interval
        ("-" where too few persons resolve it).
    """
    rate_at_one = row["tpr_at_fpr"]["0.01"]
    return (
        f"{area(row['auc'])} {row['auc_ci'][0]:.2f}-{row['auc_ci'][1]:.2f}",
        area(row["record_auc"]),
        "-" if rate_at_one["value"] is None else f"{rate(rate_at_one['value'])} {_percents(rate_at_one['ci'])}",
    )


def _percents(ends: Sequence[float]) -> str:
    return "-".join(f"{100 * end:.2g}" for end in ends)


def unresolved(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why there are dashes in the table by person.

    Args:
        rows: of ``persons["rows"]``, those that are shown.

    Returns:
        One line for each reason; empty without dashes.
    """
    notes = dict.fromkeys(row["tpr_at_fpr"]["0.01"].get("note", "") for row in rows)
    return [f"-: {note}" for note in notes if note]
