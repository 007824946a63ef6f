"""What an export of a foreign file prints: what was packed and proven, what changed, which layers are sensitive."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.report.formatting import percent, significant

SHOWN = 10
"""Layers in the table; the JSON has all."""


def packed_lines(result: Mapping[str, Any]) -> list[Table | str]:
    """An export of a float .onnx from elsewhere.

    Args:
        result: what ``pipeline.export_foreign`` returns.

    Returns:
        Lines of text, then the sensitivity table where weights were packed.
    """
    parity, change, twin = result["parity"], result["change"], result["float"]
    size = result["size_bytes"] / twin["size_bytes"]
    lines = [
        f"{result['model']}: {result['size_bytes']:,} bytes, {size:.3f} of the float file, which stands beside it as "
        f"{twin['file']}",
        f"parity with the float graph on what the integers stand for, {parity['n']} of {change['inputs']}: max |dp| "
        f"{parity['max_difference']:.1e}, no label changed",
        f"against the float weights: same label on {change['same_label']:.1%}, divergence "
        f"{significant(change['divergence'])} nats",
    ]
    if change["accuracy_before"] is not None:
        lines.append(
            f"accuracy on {change['n']:,} inputs: {percent(change['accuracy_before'])} before, "
            f"{percent(change['accuracy_after'])} after"
        )
    lines += [f"left float: {name} ({reason})" for name, reason in result["left_float"].items()]
    lines += [f"warning: {warning}" for warning in change["warnings"]]
    table = result["sensitivity"]
    parts: list[Table | str] = ["\n".join(lines)]
    return parts if table is None else [*parts, sensitivity_table(table), *_below(table)]


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


def _below(table: Mapping[str, Any]) -> list[str]:
    lines = []
    if len(table["rows"]) > SHOWN:
        lines.append(f"{len(table['rows']) - SHOWN} more layers that lose less are in the JSON (--json)")
    if table["skipped"]:
        lines.append(f"there was no time for {len(table['skipped'])} layers: {', '.join(table['skipped'])}")
    return lines
