"""What an export of a foreign file prints: what was packed and proven, what changed, which layers are sensitive."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from edgepriv.report.formatting import percent, significant
from edgepriv.report.sensitivity import not_shown, sensitivity_table


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
    return parts if table is None else [*parts, sensitivity_table(table), *not_shown(table)]
