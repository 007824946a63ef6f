"""Check that a shipped model arrived whole and computes here what it computed at export: ``python verify.py``.

Needs Python 3.10+, numpy and onnxruntime, nothing else. ``device.json`` beside this file names the model, the sha256 of
its bytes and the allowed difference; ``golden.npz`` holds random inputs and the outputs that they gave.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

if __package__:
    from .predict import KitError, fit_inputs, open_or_explain, predict, reason_of, run_command
else:
    from predict import KitError, fit_inputs, open_or_explain, predict, reason_of, run_command  # type: ignore


def verify(folder: Path, model: Path | None = None, threads: int = 1) -> dict[str, Any]:
    """Compare ``model`` with the records in ``folder`` (the kit); return what agreed, or raise KitError.

    Without ``model`` the file named in device.json is looked for in the folder above the kit, then in the kit.
    """
    record = _read_record(folder / "device.json")
    if model is None:
        beside = [folder.parent / record["model"], folder / record["model"]]
        model = next((path for path in beside if path.is_file()), beside[0])
    if not model.is_file():
        raise KitError(f"no such file: {model}")
    if hashlib.sha256(model.read_bytes()).hexdigest() != record["sha256"]:
        raise KitError(f"{model} is not the file that was shipped (its sha256 differs): copy it again")
    try:
        with np.load(folder / "golden.npz", allow_pickle=False) as golden:
            inputs, expected = golden["x"], golden["outputs"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise KitError(f"{folder / 'golden.npz'} cannot be read ({error}): copy the kit again") from error
    session = open_or_explain(model, threads)
    try:
        outputs = predict(session, fit_inputs(session, inputs), batch=len(inputs))
    except Exception as error:
        raise KitError(f"{model} does not run here: {reason_of(error)}") from error
    difference = float(np.abs(outputs - expected).max())
    if not difference <= record["tolerance"]:  # also true for NaN
        raise KitError(
            f"{model} computes something else here: outputs differ by up to {difference:.1e} from those at export, "
            f"{record['tolerance']:.0e} is allowed; try another version of onnxruntime"
        )
    return {
        "model": model.name,
        "sha256": record["sha256"],
        "examples": len(inputs),
        "difference": difference,
        "tolerance": record["tolerance"],
    }


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
        return {"model": str(record["model"]), "sha256": record["sha256"], "tolerance": float(record["tolerance"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KitError(f"{path} cannot be read ({error}): copy the kit again") from error


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Check that the shipped model arrived whole and computes the same here."
    )
    parser.add_argument("model", type=Path, nargs="?", help="the .onnx file (default: the one that device.json names)")
    parser.add_argument("--threads", type=int, default=1, help="0 takes all cores (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    result = verify(Path(__file__).resolve().parent, options.model, options.threads)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['model']}: the bytes are those that were shipped")
    allowed = f"allowed {result['tolerance']:.0e}"
    print(f"{result['examples']} golden outputs agree within {result['difference']:.1e} ({allowed})")


if __name__ == "__main__":
    run_command(main)
