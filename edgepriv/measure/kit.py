"""The device kit: the files of ``edgepriv.device`` beside a model, with golden outputs to check the copy against."""

import base64
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgepriv.artifact.metadata import rounds_activations
from edgepriv.device import memguard
from edgepriv.device.bench import random_inputs
from edgepriv.device.command import KitError
from edgepriv.device.inputs import fit_inputs, table_record
from edgepriv.device.session import class_names, fixed_batch, open_or_explain, output_kind, predict, reason_of
from edgepriv.device.table import KIND
from edgepriv.errors import UserError
from edgepriv.files import refuse_existing, sha256_of, write_bytes, write_json, write_text

PYTHON = (
    "predict.py",
    "verify.py",
    "bench.py",
    "session.py",
    "inputs.py",
    "picture.py",
    "table.py",
    "record.py",
    "memguard.py",
    "machine.py",
    "ops.py",
    "command.py",
    "README.md",
    "requirements.txt",
)
SHARED = ("js/classifier.mjs", "js/table.mjs", "js/picture.mjs", "js/png.mjs", "js/jpeg.mjs")
NODE = ("package.json", "README.md", "kit.mjs", "predict.mjs", "verify.mjs", "bench.mjs", "machine.mjs")
WEB = ("package.json", "README.md", "serve.mjs", "index.html", "style.css", "app.mjs", "picture.mjs", "runtime.mjs")
EXAMPLES = (
    "cpp/CMakeLists.txt",
    "cpp/main.cpp",
    "cpp/README.md",
    "android/Classifier.kt",
    "android/Check.kt",
    "android/README.md",
    "ios/Classifier.swift",
    "ios/README.md",
    "board/Containerfile",
    "board/README.md",
)
KIT = (*PYTHON, *SHARED, *(f"node/{name}" for name in NODE), *(f"web/{name}" for name in WEB), *EXAMPLES)
GOLDEN_EXAMPLES = 16
GOLDEN_BYTES = 1 << 18
TOLERANCE = 1e-3
INT8_TOLERANCE = 1e-2
"""Activations rounded to 8 bits inside the kernels: 5.5e-4 was seen between x86 and WebAssembly on a net of three layers."""


def kit_paths(folder: Path) -> list[Path]:
    """Every file that ``write_kit`` writes.

    Args:
        folder: of the kit.

    Returns:
        Their paths.
    """
    return [folder / name for name in (*KIT, "device.json", "golden.json")]


def write_kit(
    model: Path,
    folder: Path | None = None,
    *,
    also: Sequence[Path] = (),
    tolerance: float | None = None,
    picture_range: tuple[float, float] | None = None,
    force: bool = False,
) -> Path:
    """Write the device kit of a model.

    A model.memguard.npz beside the model is on record too: without it the kit refuses to answer. The golden inputs are noise
    from a fixed seed, never data: the kit leaves the house with the model.

    Args:
        model: the .onnx.
        folder: None for ``device/`` beside it.
        also: other files of the same model that ship (a .ort).
        tolerance: the largest difference of a probability that verifying accepts on another processor, and of a logit in units
            of the largest one; labels must be equal. None for 1e-3, and 1e-2 for a file with ``--compute int8``.
        picture_range: which numbers were black and white in the pictures of more than 8 bits that the model was trained on;
            None where there were none, or all 16 bits were used.
        force: replace files that exist.

    Returns:
        The folder.

    Raises:
        UserError: if the model does not run, or a file exists and ``force`` is not set.
    """
    folder = model.parent / "device" if folder is None else folder
    refuse_existing(kit_paths(folder), force)
    x, outputs, session = _golden(model)
    if tolerance is None:
        int8 = rounds_activations(session.get_modelmeta().custom_metadata_map)
        tolerance = INT8_TOLERANCE if int8 else TOLERANCE
    golden = {
        "shape": x.shape,
        "x": base64.b64encode(x.tobytes()).decode(),
        "type": str(outputs.dtype),
        "outputs": outputs.tolist(),
    }
    record = {
        "model": model.name,
        "files": {path.name: sha256_of(path) for path in (model, *also)},
        "class_names": class_names(session),
        "tolerance": tolerance * max(1.0, float(np.abs(outputs).max())) if outputs.ndim == 2 else 0.0,
    }
    encoding = table_record(session)
    if encoding is not None:
        record[KIND] = encoding
    if picture_range is not None:
        record["picture_range"] = list(picture_range)
    guard = memguard.beside(model)
    if guard.is_file():
        record["guard"] = {"file": guard.name, "sha256": sha256_of(guard)}
    for name in KIT:
        write_bytes(folder / name, files("edgepriv.device").joinpath(name).read_bytes())
    write_text(folder / "golden.json", json.dumps(golden))
    write_json(folder / "device.json", record)
    return folder


def _golden(model: Path) -> tuple[np.ndarray, np.ndarray, ort.InferenceSession]:
    """Bytes of noise of rising brightness, so that not every output saturates, what the model answers, its session."""
    generator = np.random.default_rng(0)
    try:
        session = open_or_explain(model)
        fixed = fixed_batch(session) or 1
        row = random_inputs(session, fixed, generator)[0]
        count = max(fixed, min(GOLDEN_EXAMPLES, max(2, GOLDEN_BYTES // row.size)))
        brightest = np.linspace(0, 255, count).reshape(-1, *[1] * row.ndim)
        x = generator.uniform(0, brightest, (count, *row.shape)).astype(np.uint8)
        outputs = predict(session, fit_inputs(session, x), batch=count)
        output_kind(session, outputs)
    except KitError as error:
        raise UserError(str(error)) from error
    except Exception as error:
        raise UserError(f"{model} does not run: {reason_of(error)}") from error
    if not np.isfinite(outputs).all():
        raise UserError(f"{model} returns values that are not finite numbers: check its weights")
    return x, outputs, session
