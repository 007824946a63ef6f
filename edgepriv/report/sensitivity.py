"""What each layer loses at fewer bits, as tables."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.report.formatting import significant

SHOWN = 10
"""Layers in the table of an export; the JSON has all."""


def sensitivity_table(table: Mapping[str, Any]) -> Table:
    """What each layer loses at each width.

    Args:
        table: ``sensitivity`` of the export.

    Returns:
        The layers that lose most, a row each: divergence in nats, and points of accuracy where they were measured.
    """
    title = f"Each layer alone at fewer bits: divergence in nats, {table['n']} inputs"
    shown = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.add_column("layer", overflow="fold")
    shown.add_column("op", overflow="fold")
    shown.add_column("weights", justify="right")
    for bits in table["widths"]:
        shown.add_column(f"{bits} bits", justify="right")
    for row in table["rows"][:SHOWN]:
        cells = []
        for bits in map(str, table["widths"]):
            lost = "" if row["points"] is None else f" ({row['points'][bits]:+.1f} pt)"
            cells.append(f"{significant(row['divergence'][bits])}{lost}")
        shown.add_row(Text(row["name"]), row["op"], f"{row['parameters']:,}", *cells)
    return shown


def not_shown(table: Mapping[str, Any]) -> list[str]:
    """What is not in the table.

    Args:
        table: ``sensitivity`` of the export.

    Returns:
        Lines on layers that lose less, and on those that there was no time for.
    """
    lines = []
    if len(table["rows"]) > SHOWN:
        lines.append(f"{len(table['rows']) - SHOWN} more layers that lose less are in the JSON (--json)")
    return lines + _skipped(table)


def accuracy_lost(table: Mapping[str, Any]) -> list[Table | str]:
    """What each layer of a checkpoint loses at each width, cheapest first.

    Args:
        table: ``sensitivity`` of ``edgepriv show``.

    Returns:
        A row for each layer: points of accuracy lost with their interval, or that they are within noise; then how to use it.
    """
    title = (
        f"Points of accuracy that each layer alone loses at fewer bits, without fine-tuning ({table['quantizer']}, "
        f"{table['granularity']}), on {table['n']:,} {table['of']}"
    )
    shown = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown.add_column("layer", overflow="fold")
    shown.add_column("weights", justify="right")
    for bits in table["widths"]:
        shown.add_column(f"{bits} bits", justify="right")
    for row in table["rows"]:
        cells = (_lost(row["points"][bits], row["ci"][bits]) for bits in map(str, table["widths"]))
        shown.add_row(Text(row["name"]), f"{row['parameters']:,}", *cells)
    by = (
        "noise: within noise, the 95% interval holds 0; ± is half of its width. The first layer's answers move least at the "
        "fewest bits (divergence, in the JSON)."
    )
    return [shown, by, *_skipped(table)]


def _lost(points: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"noise ±{(high - low) / 2:.1f}" if low <= 0 <= high else f"{points:+.1f} [{low:.1f}, {high:.1f}]"


def _skipped(table: Mapping[str, Any]) -> list[str]:
    skipped = table["skipped"]
    return [f"there was no time for {len(skipped)} layers: {', '.join(skipped)}"] if skipped else []
