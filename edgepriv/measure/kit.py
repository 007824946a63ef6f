"""The device kit: the files of ``edgepriv.device`` beside a model, with golden outputs to check the copy against."""

import io
from importlib.resources import files
from pathlib import Path

import numpy as np

from edgepriv.device.bench import random_inputs
from edgepriv.device.predict import KitError, fit_inputs, open_or_explain, predict, reason_of
from edgepriv.errors import UserError
from edgepriv.files import refuse_existing, sha256_of, write_bytes, write_json

KIT = ("predict.py", "bench.py", "verify.py", "machine.py", "ops.py", "README.md", "requirements.txt")
GOLDEN_EXAMPLES = 16
GOLDEN_BYTES = 1 << 20
TOLERANCE = 1e-3


def kit_paths(folder: Path) -> list[Path]:
    """Every file that ``write_kit`` writes into ``folder``."""
    return [folder / name for name in (*KIT, "device.json", "golden.npz")]


def write_kit(model: Path, folder: Path | None = None, *, tolerance: float = TOLERANCE, force: bool = False) -> Path:
    """Write the kit for ``model`` into ``folder`` (default: ``device/`` beside it) and return the folder.

    The golden inputs are noise from a fixed seed, never data: the kit leaves the house with the model. ``tolerance`` is
    the largest difference of a probability that ``verify.py`` accepts on another processor. Raises UserError if the
    model does not run, or a file exists and ``force`` is not set.
    """
    folder = model.parent / "device" if folder is None else folder
    refuse_existing(kit_paths(folder), force)
    x, outputs = _golden(model)
    archive = io.BytesIO()
    np.savez_compressed(archive, x=x, outputs=outputs)
    for name in KIT:
        write_bytes(folder / name, files("edgepriv.device").joinpath(name).read_bytes())
    write_bytes(folder / "golden.npz", archive.getvalue())
    write_json(folder / "device.json", {"model": model.name, "sha256": sha256_of(model), "tolerance": tolerance})
    return folder


def _golden(model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of noise of rising brightness, so that not every output saturates, and what the model answers to them."""
    generator = np.random.default_rng(0)
    try:
        session = open_or_explain(model)
        fixed = session.get_inputs()[0].shape[0]
        row = random_inputs(session, fixed if isinstance(fixed, int) else 1, generator)[0]
        count = fixed if isinstance(fixed, int) else min(GOLDEN_EXAMPLES, max(1, GOLDEN_BYTES // row.size))
        brightest = np.linspace(0, 255, count).reshape(-1, *[1] * row.ndim)
        x = generator.uniform(0, brightest, (count, *row.shape)).astype(np.uint8)
        return x, predict(session, fit_inputs(session, x), batch=count)
    except KitError as error:
        raise UserError(str(error)) from error
    except Exception as error:
        raise UserError(f"{model} does not run: {reason_of(error)}") from error
