"""Accuracy of the float weights and of the file on members and on held-out data, side by side: its table and its words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.report.formatting import percent

Side = tuple[float, Sequence[float] | None]


def accuracy_lines(accuracy: Mapping[str, Any]) -> list[Table | str]:
    """Accuracy of the weights and of the file, and what hardening and quantization cost.

    Args:
        accuracy: ``accuracy`` of an export or an audit.

    Returns:
        The table, then a line on the cost where one was measured, then warnings.
    """
    return [accuracy_table(accuracy["rows"]), *_sentences(accuracy)]


def accuracy_table(rows: list[Mapping[str, Any]]) -> Table:
    """Accuracy on members and on held-out data.

    Args:
        rows: ``accuracy["rows"]``, one for each model and runtime, at least one.

    Returns:
        A row for each, and one for always answering the largest class; it fits into 80 columns.
    """
    first = rows[0]
    table = Table(title=Text("Accuracy"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", overflow="fold")
    for side, title in (("members", "members"), ("held_out", "held-out data")):
        table.add_column(f"{title} ({first[side]['n']:,})", justify="right", no_wrap=True)
    for label, *sides in accuracy_rows(rows):
        table.add_row(Text(label), *map(_cell, sides))
    return table


def accuracy_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Side, Side]]:
    """Accuracy on members and on held-out data, without its layout.

    Args:
        rows: ``accuracy["rows"]``, at least one.

    Yields:
        What is judged; accuracy, a fraction, and its 95% interval on members; the same on held-out data. The last is the share
        of the largest class on each side, which has no interval.
    """
    for row in rows:
        members, held_out = ((row[side]["accuracy"], row[side]["ci"]) for side in ("members", "held_out"))
        yield f"{row['model']}, {row['runtime']}", members, held_out
    members, held_out = ((rows[0][side]["largest_class"], None) for side in ("members", "held_out"))
    yield "share of the largest class", members, held_out


def cost_in_accuracy(accuracy: Mapping[str, Any]) -> str:
    """What hardening and quantization cost, as it was measured at export.

    Args:
        accuracy: ``accuracy`` of an export or an audit; ``costs`` are in percentage points.

    Returns:
        A clause; empty where nothing was compared.
    """
    if not accuracy["costs"]:
        return ""
    parts = [
        f"{cost['of']} {'cost' if cost['points'] >= 0 else 'gained'} {abs(cost['points']):.1f} points"
        for cost in accuracy["costs"]
    ]
    return f"on held-out data, {' and '.join(parts)}"


def _cell(side: Side) -> str:
    share, interval = side
    if interval is None:
        return percent(share)
    low, high = (f"{100 * bound:.0f}" for bound in interval)
    return f"{percent(share)} {low}-{high}"


def _sentences(accuracy: Mapping[str, Any]) -> Iterator[str]:
    if cost := cost_in_accuracy(accuracy):
        yield cost
    yield from (f"warning: {warning}" for warning in accuracy["warnings"])
