"""Accuracy for the terminal: what the float weights and the file answer on members and on held-out data, side by side."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.report.words import percent


def accuracy_lines(accuracy: Mapping[str, Any]) -> list[Table | str]:
    """The table, then what hardening and quantization cost, then warnings; takes ``accuracy`` of an export or an audit."""
    return [accuracy_table(accuracy["rows"]), *_sentences(accuracy)]


def accuracy_table(rows: list[Mapping[str, Any]]) -> Table:
    """A row for each model; fits into 80 columns."""
    first = rows[0]
    table = Table(title=Text("Accuracy"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", overflow="fold")
    for side, title in (("members", "members"), ("held_out", "held-out data")):
        table.add_column(f"{title} ({first[side]['n']:,})", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(f"{row['model']}, {row['runtime']}"), *map(_cell, (row["members"], row["held_out"])))
    largest = {**first, "model": "always the largest class"}
    table.add_row(Text(largest["model"]), *(percent(first[side]["largest_class"]) for side in ("members", "held_out")))
    return table


def _cell(side: Mapping[str, Any]) -> str:
    low, high = (f"{100 * bound:.0f}" for bound in side["ci"])
    return f"{percent(side['accuracy'])} {low}-{high}"


def _sentences(accuracy: Mapping[str, Any]) -> Iterator[str]:
    if accuracy["costs"]:
        parts = [
            f"{cost['of']} {'cost' if cost['points'] >= 0 else 'gained'} {abs(cost['points']):.1f} points"
            for cost in accuracy["costs"]
        ]
        yield f"on held-out data, {' and '.join(parts)}"
    yield from (f"warning: {warning}" for warning in accuracy["warnings"])
