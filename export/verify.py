"""Check that a shipped model arrived whole and computes here what it computed at export: ``python verify.py``.

Needs Python 3.10+, numpy and onnxruntime, nothing else. ``device.json`` beside this file names the shipped files, the
sha256 of their bytes and the allowed difference; ``golden.json`` holds random inputs and the outputs that they gave.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

if __package__:
    from .command import KitError, run_command
    from .inputs import fit_inputs
    from .record import check_guard
    from .session import batch_note, fixed_batch, open_or_explain, predict, reason_of
else:
    from command import KitError, run_command  # type: ignore
    from inputs import fit_inputs  # type: ignore
    from record import check_guard  # type: ignore
    from session import batch_note, fixed_batch, open_or_explain, predict, reason_of  # type: ignore


def verify(folder: Path, model: Path | None = None, threads: int = 1) -> dict[str, Any]:
    """Check that a shipped model arrived whole, and computes here what it computed at export.

    Labels must be equal; other outputs may differ by the record's tolerance.

    Args:
        folder: the kit.
        model: the file to check; None for the one of device.json, looked for in the folder above the kit, then in the kit.
        threads: threads inside one operator, 0 for all cores.

    Returns:
        What agreed, JSON-ready. ``difference``: the largest between outputs, or how many labels are not equal; ``guard``: name
        of the MemGuard, None without one; ``batch``: None unless it is fixed.

    Raises:
        KitError: where anything is missing or differs.
    """
    record = _read_record(folder / "device.json")
    if model is None:
        beside = [folder.parent / record["model"], folder / record["model"]]
        model = next((path for path in beside if path.is_file()), beside[0])
    if not model.is_file():
        raise KitError(f"no such file: {model}")
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    if sha256 not in record["sha256"]:
        raise KitError(f"{model} is not the file that was shipped (its sha256 differs): copy it again")
    guard = check_guard(model, folder)
    inputs, expected = _read_golden(folder / "golden.json")
    session = open_or_explain(model, threads)
    try:
        outputs = predict(session, fit_inputs(session, inputs), batch=len(inputs))
    except Exception as error:
        raise KitError(f"{model} does not run here: {reason_of(error)}") from error
    labels = outputs.dtype.kind in "iu"
    difference, tolerance = compare(outputs, expected), 0.0 if labels else record["tolerance"]
    if not difference <= tolerance:  # also true for NaN
        differs = (
            f"{difference:.0f} of {len(expected)} labels are not those at export"
            if labels
            else f"outputs differ by up to {difference:.1e} from those at export, {tolerance:.0e} is allowed"
        )
        raise KitError(f"{model} computes something else here: {differs}; try another version of onnxruntime")
    return {
        "model": model.name,
        "sha256": sha256,
        "examples": len(inputs),
        "difference": difference,
        "tolerance": tolerance,
        "guard": guard,
        "batch": fixed_batch(session),
    }


def compare(outputs: np.ndarray, expected: np.ndarray) -> float:
    """How far outputs lie from those that are expected.

    Args:
        outputs: float32 [n, K], or integers [n] for labels.
        expected: the same at export.

    Returns:
        Number of labels that are not equal, else the largest difference; infinite where the shapes differ.
    """
    if outputs.shape != expected.shape:
        return float("inf")
    if outputs.dtype.kind in "iu":
        return float((outputs != expected).sum())
    return float(np.abs(outputs - expected).max())


def _read_record(path: Path) -> dict[str, Any]:
    """``model``: the default file; ``sha256``: of every shipped file; ``tolerance``."""
    try:
        record = json.loads(path.read_text())
        return {
            "model": str(record["model"]),
            "sha256": set(record["files"].values()),
            "tolerance": float(record["tolerance"]),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KitError(f"{path} cannot be read ({error}): copy the kit again") from error


def _read_golden(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Inputs uint8 [n, ...] and what the model returned for them at export."""
    try:
        golden = json.loads(path.read_text())
        inputs = np.frombuffer(base64.b64decode(golden["x"]), np.uint8).reshape(golden["shape"])
        return inputs, np.asarray(golden["outputs"], dtype=golden["type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KitError(f"{path} cannot be read ({error}): copy the kit again") from error


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Check that the shipped model arrived whole and computes the same here."
    )
    parser.add_argument("model", type=Path, nargs="?", help="the file to check (default: the one of device.json)")
    parser.add_argument("--threads", type=int, default=1, help="0 takes all cores (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    result = verify(Path(__file__).resolve().parent, options.model, options.threads)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['model']}: the bytes are those that were shipped")
    if result["batch"]:
        print(f"{result['model']} {batch_note(result['batch'])}")
    if result["tolerance"]:
        allowed = f"allowed {result['tolerance']:.0e}"
        print(f"{result['examples']} golden outputs agree within {result['difference']:.1e} ({allowed})")
    else:
        print(f"{result['examples']} golden labels are the same")
    if result["guard"]:
        print(f"{result['guard']}: the bytes are those that were shipped; predict.py answers through it")


if __name__ == "__main__":
    run_command(main)
