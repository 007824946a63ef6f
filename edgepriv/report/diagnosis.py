"""What ``show --against`` prints: how far a quantized file is from its float network, layer by layer."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.report.formatting import percent, significant

_SAME = 190.0
"""Decibels from which nothing is lost."""


def diagnosis_parts(result: Mapping[str, Any]) -> list[Table | str]:
    """A diagnosis for the terminal.

    Args:
        result: what ``pipeline.diagnose`` returns.

    Returns:
        Lines on the whole file, the table of layers, and lines on what to do.
    """
    accuracy = result["accuracy"]
    whole = f"Against {result['against']} on {result['n']:,} of {result['inputs']}: "
    if accuracy is not None:
        whole += f"accuracy {percent(accuracy['float'])} float, {percent(accuracy['deployed'])} here, "
    whole += f"same label on {percent(result['same_label'])}, divergence {significant(result['divergence'])} nats"
    return [whole, _table(result), "\n".join([*_advice(result["widen"]), *result["notes"]])]


def _table(result: Mapping[str, Any]) -> Table:
    title = "Signal-to-noise ratio of each layer's output, and what its weights cost alone"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("layer", overflow="fold")
    table.add_column("op", overflow="fold")
    labels = result["accuracy"] is None
    for name in ("bits", "weights", "in the file", "alone", "divergence", "same label" if labels else "accuracy"):
        table.add_column(name, justify="right")
    for row in result["layers"]:
        lost = "" if row["divergence"] is None else significant(row["divergence"])
        if labels:
            costs = "" if row["same_label"] is None else percent(row["same_label"])
        else:
            costs = "" if row["points"] is None else _points(row)
        bits = "" if row["bits"] is None else str(row["bits"])
        ratios = [_decibels(row[key]) for key in ("snr_db", "own_snr_db")]
        table.add_row(Text(row["name"]), row["op"], bits, f"{row['parameters']:,}", *ratios, lost, costs)
    return table


def _points(row: Mapping[str, Any]) -> str:
    low, high = row["ci"]
    return f"{-row['points']:+.1f} pt" + (" (noise)" if low <= 0 <= high else "")


def _decibels(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return "same" if ratio > _SAME else f"{ratio:.1f} dB"


def _told_on(widen: Mapping[str, Any]) -> str:
    return f"{widen['told_on']:,} others" if widen["others"] else "the same"


def _advice(widen: Mapping[str, Any] | None) -> list[str]:
    if widen is None:
        return ["no layer of it can be given more bits"]
    each = ", ".join(f"{row['name']} ({row['bits']} to {row['to']} bits)" for row in widen["layers"])
    before, after = widen["before"], widen["after"]
    line = (
        f"to widen first, by {widen['chosen_on']:,} of the inputs: {each}; on {_told_on(widen)} with float activations the "
        f"divergence goes from {significant(before['divergence'])} to {significant(after['divergence'])} nats"
    )
    if before["points"] is not None:
        line += f", the accuracy lost from {before['points']:.1f} to {after['points']:.1f} points"
    return [line, f"export again with {widen['option']}"]
