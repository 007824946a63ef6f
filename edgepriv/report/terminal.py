"""What training and export have done, in lines for the terminal."""

from collections.abc import Mapping
from typing import Any

from edgepriv.recipe.defences import DEFENCES
from edgepriv.report.formatting import count


def trained(result: dict[str, Any]) -> str:
    """What training has done: the checkpoint, its accuracy, its normalisation, and what the defences measured.

    Args:
        result: what ``pipeline.train`` returns.

    Returns:
        Lines of text.
    """
    last = result["history"][-1]
    line = (
        f"{result['checkpoint']}: training accuracy {last['accuracy']:.1%} after {count(last['epoch'], 'epoch')}\n"
        f"inputs in [0, 1] are normalised inside the model by {_normalisation(result['normalisation'])}"
    )
    return "\n".join([line, *measured(result["defences"]), *twin_lines(result, "checkpoint")])


def twin_lines(result: Mapping[str, Any], file: str) -> list[str]:
    """Which file is audited and which ships, after ``--audit-twin``.

    Args:
        result: what ``pipeline.train`` or ``pipeline.harden`` returns.
        file: key under which it names what it has written.

    Returns:
        A line; none without a twin.
    """
    if not result.get("audited"):
        return []
    return [f"audit {result['audited'][file]}, which was trained with canaries; ship {result[file]}, trained without"]


def measured(defences: Mapping[str, Any]) -> list[str]:
    """What the defences of a model measured as they ran.

    Args:
        defences: facts by defence, as checkpoint and manifest keep them.

    Returns:
        Lines of text, in the order of ``DEFENCES``.
    """
    known = [defence for defence in DEFENCES.values() if defence.facts in defences]
    return [line for defence in known for line in defence.terminal_lines(defences[defence.facts])]


def _normalisation(by: dict[str, list[float]]) -> str:
    """One number where it serves every channel; features of a table are many."""
    shown = {name: sorted(set(values)) for name, values in by.items()}
    if shown == {"mean": [0.0], "std": [1.0]}:
        return "nothing (mean 0, std 1)"
    return ", ".join(
        f"{name} {values[0]:.4g}"
        if len(values) == 1
        else f"{name} {', '.join(f'{value:.4g}' for value in by[name][:4])}"
        for name, values in shown.items()
    )


def exported(result: dict[str, Any]) -> str:
    """What an export has written: sizes, inputs and outputs, parity with torch, and what was left as float.

    Args:
        result: what ``pipeline.export`` returns.

    Returns:
        Lines of text.
    """
    parity, settings = result["parity"], result["export"]
    size = f"{result['model']}: {result['size_bytes']:,} bytes"
    if "float" in result:
        size += (
            f", {result['size_bytes'] / result['float']['size_bytes']:.3f} of its float twin {result['float']['file']}"
        )
    lines = [size]
    if result.get("batch"):
        lines.append("takes one input at a time: parity and accuracy are of single inputs, in torch and in the file")
    if result["ort"]:
        lines.append(f"{result['ort']['file']}: {result['ort']['size_bytes']:,} bytes, as onnxruntime has optimized it")
    if settings["input"] == "uint8":
        lines.append("input: bytes, 0 to 255")
    if settings["output"] != "probabilities":
        lines.append(f"output: {settings['output']}")
    largest = "" if parity["max_difference"] is None else f"max |dp| {parity['max_difference']:.1e}, "
    lines.append(
        f"parity with the quantized torch model on {parity['n']} real inputs: {largest}no label changed (at 95% confidence, of "
        f"at most {parity['changed_at_most']:.2%} of all such inputs)"
    )
    if parity["int8"]:
        inside = parity["int8"]
        largest = "" if inside["max_difference"] is None else f"max |dp| {inside['max_difference']:.1e}, "
        lines[-1] += " (with float activations)"
        low, high = inside["changed_ci"]
        changed = f"{inside['labels_changed']} of {inside['n']} labels changed"
        lines.append(f"activations of 8 bits: {largest}{changed} (95% interval {low:.2%} to {high:.2%})")
        if result["compute"]["taken"] == "int8-dynamic" and "MatMulNBits" not in result["ops"]:
            lines.append("no layer is large enough to gain by computing in int8: this file computes in float32")
    if "float" in result:
        twin = result["float"]
        lines.append(f"same label as the float twin on {twin['same_label']:.1%} of {twin['compared']} real inputs")
    lines += [*_notes(result), *twin_lines(result, "model")]
    return "\n".join(lines + measured(result.get("defences", {})))


def _notes(result: dict[str, Any]) -> list[str]:
    """What differs from what one may expect of the weights in the file."""
    from edgepriv.artifact.left_float import BY_RECIPE

    left = result["left_float"]
    chosen = [name.removesuffix(".weight") for name, reason in left.items() if reason == BY_RECIPE]
    lines = list(result["notes"])
    if chosen:
        lines.append(f"float by the recipe: {', '.join(chosen)}")
    return lines + [f"left float: {name} ({reason})" for name, reason in left.items() if reason != BY_RECIPE]
