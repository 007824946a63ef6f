"""Examples from the user's own files: npz, csv, a folder of images."""

import csv
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.data.dataset import Dataset, checked, members_beside
from edgepriv.errors import UserError
from edgepriv.torchvision_compat import import_torchvision

LABEL_COLUMNS = ("label", "y", "class", "target")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an .npz file; pickled objects are refused."""
    if not path.exists():
        raise UserError(f"no such file: {path}")
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise UserError(f"{path} holds one bare array; expected an .npz with x and y")
        with archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        # numpy takes any file without a signature that it knows for a pickle, so only an archive's member is one.
        if "pickle" in str(error).lower() and zipfile.is_zipfile(path):
            raise UserError(
                f"{path} holds pickled objects, which are never loaded: save plain number arrays"
            ) from error
        raise UserError(f"{path} is not a readable .npz file ({type(error).__name__})") from error


def joined(path: Path, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of an .npz: ``x, y``, or its parts (train, val, test) one after another."""
    for x_key, y_key in (("x", "y"), ("features", "labels")):
        if x_key in arrays and y_key in arrays:
            y = arrays[y_key]
            return arrays[x_key], y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y
    parts = [part for part in ("train", "val", "test") if {f"x_{part}", f"y_{part}"} <= arrays.keys()]
    if not parts:
        raise UserError(f"{path} has keys {sorted(arrays)}; expected x and y, or x_train, y_train, x_test, y_test")
    for axis, what in (("x", "examples"), ("y", "labels")):
        shapes = {arrays[f"{axis}_{part}"].shape[1:] for part in parts}
        if len(shapes) > 1 or any(arrays[f"{axis}_{part}"].ndim == 0 for part in parts):
            raise UserError(f"{path}: its parts have {what} of different shapes: {sorted(shapes)}")
    return tuple(np.concatenate([arrays[f"{axis}_{part}"] for part in parts]) for axis in "xy")  # type: ignore[return-value]


def from_npz(path: Path, name: str | None = None) -> Dataset:
    """Examples of an .npz file with keys ``x, y`` or ``x_train, y_train, x_test, y_test`` (and ``class_names``)."""
    arrays = read_arrays(path)
    x, y = joined(path, arrays)
    class_names = tuple(str(label) for label in arrays["class_names"].ravel()) if "class_names" in arrays else None
    return checked(name or str(path), x, y, class_names)


def from_member_files(members: Path, non_members: Path, class_names: tuple[str, ...] | None = None) -> Dataset:
    """Members and non-members from two files of one form (npz with ``x, y``); ``class_names`` of the model, if known."""
    parts = []
    for path in (members, non_members):
        x, y = joined(path, read_arrays(path))
        parts.append(checked(str(path.resolve()), x, y, class_names, several_classes=False))
    return members_beside(*parts)


def from_csv(path: Path) -> Dataset:
    """Table with a header: numeric features in [0, 1] and a label column (``label``, ``y``, ``class``, ``target``, or
    the last). Labels may be names."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            header, *rows = list(csv.reader(handle))
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a readable CSV file: {error}") from error
    except ValueError:
        raise UserError(f"{path}: there are no examples in it") from None
    rows = [row for row in rows if row]
    column = next((i for i, title in enumerate(header) if title.strip().lower() in LABEL_COLUMNS), len(header) - 1)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"{path}: line {number} has {len(row)} fields, the header {len(header)}")
    try:
        x = np.array([row[:column] + row[column + 1 :] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise UserError(f"{path}: every column but {header[column]!r} must be a number: {error}") from error
    labels = [row[column].strip() for row in rows]
    class_names = tuple(sorted(set(labels), key=_numbers_first))
    y = np.array([class_names.index(label) for label in labels], dtype=np.int64)
    return checked(str(path), x, y, class_names or None)


def _numbers_first(label: str) -> tuple[int, float, str]:
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def from_folder(path: Path) -> Dataset:
    """Folder with one sub-folder of images for each class (torchvision's ImageFolder); all images of one size."""
    if not path.is_dir():
        raise UserError(f"no such folder: {path}")
    try:
        images = import_torchvision("datasets").ImageFolder(str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: expected a sub-folder of images for each class: {error}") from error
    return _from_pictures(str(path), images, tuple(images.classes))


def _from_pictures(name: str, pictures: Any, class_names: tuple[str, ...] | None) -> Dataset:
    """``pictures`` yields (PIL image, label)."""
    arrays: list[np.ndarray] = []
    labels: list[int] = []
    try:
        for picture, label in pictures:
            array = np.asarray(picture)
            if arrays and array.shape != arrays[0].shape:
                raise UserError(
                    f"{name}: image {len(arrays)} is {array.shape}, the first {arrays[0].shape}: resize all images to one size"
                )
            arrays.append(array)
            labels.append(int(label))
    except (OSError, SyntaxError, ValueError, TypeError, RuntimeError) as error:  # Pillow raises most of these
        raise UserError(
            f"{name}: example {len(arrays)} cannot be read as an image with a class: {_first_line(error)}"
        ) from error
    if not arrays:
        raise UserError(f"{name}: there are no examples in it")
    return checked(name, np.stack(arrays), np.array(labels), class_names)


def from_torchvision(name: str, root: Path, download: bool) -> Dataset | None:
    """A torchvision image set in ``root``, every part of it; None when torchvision knows no set of that name."""
    import inspect

    datasets = import_torchvision("datasets")
    classes = {cls.lower(): getattr(datasets, cls) for cls in datasets.__all__}
    source = classes.get(name.replace("_", "").lower())
    if source is None:
        return None
    parameters = inspect.signature(source).parameters
    parts: list[dict[str, Any]] = (
        [{"train": True}, {"train": False}] if "train" in parameters else [{"split": "train"}, {"split": "test"}]
    )
    options = {"download": download} if "download" in parameters else {}
    try:
        loaded = [source(root=str(root), **part, **options) for part in parts]
    except (ValueError, TypeError, KeyError, EOFError, AssertionError) as error:
        raise UserError(
            f"torchvision cannot read the data set {name!r} in {root} as a training and a test part of labelled images: "
            f"{_first_line(error)}"
        ) from error
    except (RuntimeError, OSError) as error:
        hint = "the download failed" if download else "pass --download to fetch it, or --data-dir to say where it is"
        raise UserError(f"data set {name!r} is not in {root}: {hint} ({_first_line(error)})") from error
    class_names = tuple(str(label) for label in getattr(loaded[0], "classes", ())) or None
    return _from_pictures(name, (example for part in loaded for example in part), class_names)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
