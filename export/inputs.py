"""Files -> the inputs of a model: arrays, rows of a table, pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

if __package__:
    from .command import KitError
    from .memguard import UNREADABLE
    from .session import ort
    from .table import KIND, TableError, encoded, read_rows, table_of, text_of
else:
    from command import KitError  # type: ignore
    from memguard import UNREADABLE  # type: ignore
    from session import ort  # type: ignore
    from table import KIND, TableError, encoded, read_rows, table_of, text_of  # type: ignore

TABLES = (".csv", ".tsv", ".txt")
PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".pbm", ".tif", ".tiff", ".webp", ".gif")
_NUMPY_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


def table_record(session: ort.InferenceSession, folder: Path | None = None) -> dict[str, Any] | None:
    """How the rows of a table become the model's inputs.

    Args:
        session: of the model, whose metadata are looked at first.
        folder: the kit, whose device.json is looked at then; None for none.

    Returns:
        The record of the table (see ``table.py``); None for a model that takes numbers as they are.

    Raises:
        KitError: where the record cannot be read.
    """
    text = session.get_modelmeta().custom_metadata_map.get(KIND)
    try:
        if text is None and folder is not None and (folder / "device.json").is_file():
            stored = json.loads((folder / "device.json").read_text()).get(KIND)
            text = None if stored is None else json.dumps(stored)
        return None if text is None else table_of(text)
    except (OSError, ValueError) as error:
        raise KitError(
            f"how the model reads a table is not to be read ({error}): copy the model and the kit again"
        ) from error


def read_table(path: Path, record: dict[str, Any]) -> tuple[np.ndarray, list[str]]:
    """Read the rows of a CSV file as inputs of the model.

    Args:
        path: of the file.
        record: from ``table_record``.

    Returns:
        float32 [n, F] in [0, 1], and sentences about cells that training did not know.

    Raises:
        KitError: for a file that cannot be read or lacks a column, and for cells that cannot be read.
    """
    if not path.is_file():
        raise KitError(f"no such file: {path}")
    try:
        text, _ = text_of(path.read_bytes())
        if text is None:
            raise KitError(f"{path} is not text")
        rows, lines = read_rows(text, record)
        if not rows:
            raise KitError(f"{path} holds no example")
        return encoded(record, rows, lines)
    except TableError as error:
        raise KitError(f"{path}: {error}") from error
    except OSError as error:
        raise KitError(f"cannot read {path}: {error.strerror}") from error


def read_inputs(path: Path) -> np.ndarray:
    """A .npy, ``x`` (else ``x_test``, else the only array) of a .npz, the numbers of a .csv, row by row.

    Args:
        path: of the file.

    Returns:
        The array as it is stored; float32 [n, F] of a .csv.

    Raises:
        KitError: where there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise KitError(f"no such file: {path}")
    try:
        if path.suffix == ".csv":
            return np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2)
        with path.open("rb") as file:  # numpy leaves a damaged one open
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return stored
            with stored:
                names = list(stored.files)
                name = next((name for name in ("x", "x_test") if name in names), names[0] if len(names) == 1 else None)
                if name is None:
                    raise KitError(f"{path} holds the arrays {', '.join(names)}: name the inputs x")
                inputs: np.ndarray = stored[name]
                return inputs
    except UNREADABLE as error:
        raise KitError(f"{path} is not a readable .npy, .npz or .csv file of numbers: {error}") from error


def read_pictures(
    session: ort.InferenceSession, paths: Sequence[Path], span: tuple[float, float] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Read picture files as training reads them (see ``picture.py``).

    Args:
        session: of the model, whose input says which size and channels are wanted.
        paths: of the files, at least one.
        span: which numbers are black and white in pictures of more than 8 bits; None where that is not known.

    Returns:
        What the model takes, one example for each file; and sentences about what was done to them.

    Raises:
        KitError: for a picture that cannot be read or used, and without Pillow.
    """
    absent = next((path for path in paths if not path.is_file()), None)
    if absent is not None:
        raise KitError(f"no such file: {absent}")
    try:
        if __package__:
            from .picture import PictureError, examples
        else:
            from picture import PictureError, examples  # type: ignore
    except ImportError as error:
        raise KitError(f"{paths[0]} is a picture, which takes Pillow to read: pip install pillow") from error
    wanted = session.get_inputs()[0]
    try:
        x, notes = examples(paths, wanted.shape[1:], span)
    except PictureError as error:
        raise KitError(str(error)) from error
    if wanted.type == "tensor(uint8)" and x.dtype != np.uint8:
        raise KitError(
            f"{paths[0]}: the pixels have more than 8 bits, but the model takes bytes: save them with 8 bits"
        )
    if "edgepriv_version" not in session.get_modelmeta().custom_metadata_map and wanted.type != "tensor(uint8)":
        notes.append("the model does not say how its inputs are scaled: black is 0 and white 1")
    return x, notes


def ends(text: str | None) -> tuple[float, float] | None:
    """A range from the command line.

    Args:
        text: such as ``0:4095``; None for none.

    Returns:
        Both ends.

    Raises:
        KitError: for anything else.
    """
    if text is None:
        return None
    try:
        low, high = (float(end) for end in text.split(":"))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise KitError(f"--input-range {text}: give two numbers such as 0:4095, the smaller one first")
    return low, high


def fit_inputs(session: ort.InferenceSession, x: np.ndarray) -> np.ndarray:
    """Convert inputs to the type that the model takes.

    uint8 becomes float32 by division by 255 when the model takes float32; whole numbers up to 255 become uint8 when it
    takes that.

    Args:
        session: of the model.
        x: numbers [n, ...]; a single example may come without its batch axis.

    Returns:
        float32 or uint8 [n, ...].

    Raises:
        KitError: where shape, type or range do not fit.
    """
    wanted = session.get_inputs()[0]
    if wanted.type not in _NUMPY_TYPES:
        raise KitError(f"the model takes {wanted.type}, but only tensor(float) and tensor(uint8) can be fed")
    row = wanted.shape[1:]
    if x.ndim == len(row) and _fits(x.shape, row):
        x = x[None]
    if x.ndim != len(row) + 1 or not _fits(x.shape[1:], row):
        shape = ", ".join(str(size) for size in ("N", *row))
        raise KitError(f"the inputs have shape {list(x.shape)}, but the model takes [{shape}]")
    kind = _NUMPY_TYPES[wanted.type]
    if x.dtype == np.uint8:
        return x if kind == np.uint8 else x.astype(np.float32) / np.float32(255)
    if x.dtype.kind not in "fiu":
        raise KitError(f"the inputs are {x.dtype}, but the model takes {wanted.type}")
    if kind == np.uint8:
        return _bytes(x)
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise KitError("the inputs hold values that are not finite numbers")
    if "edgepriv_version" in session.get_modelmeta().custom_metadata_map and x.size and (x.min() < 0 or x.max() > 1):
        raise KitError(f"the inputs lie in [{x.min():g}, {x.max():g}], but the model takes [0, 1]: scale them first")
    return x


def _bytes(x: np.ndarray) -> np.ndarray:
    """Whole numbers as uint8. Fractions up to 1 are refused, though some of them are whole: they are another scale."""
    if not ((x >= 0) & (x <= 255) & (x == np.round(x))).all() or (x.dtype.kind == "f" and x.size and x.max() <= 1):
        raise KitError(f"the inputs are {x.dtype}, but the model takes bytes: whole numbers from 0 to 255")
    return x.astype(np.uint8)


def _fits(shape: tuple[int, ...], wanted: list[Any]) -> bool:
    return len(shape) == len(wanted) and all(
        not isinstance(size, int) or size == have for have, size in zip(shape, wanted, strict=True)
    )
