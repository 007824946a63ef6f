"""Data sets by name, and where on disk they are looked for."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs

from edgepriv.data.dataset import Dataset, checked
from edgepriv.data.encoding import TableEncoding
from edgepriv.data.files import READERS, from_file, from_member_files, joined, read_arrays
from edgepriv.data.torchvision_sets import from_torchvision
from edgepriv.errors import UserError, nearest
from edgepriv.recipe import Data


def default_data_dir() -> Path:
    """``$EDGEPRIV_DATA``, else the platform's cache folder."""
    return Path(os.environ.get("EDGEPRIV_DATA") or platformdirs.user_cache_dir("edgepriv"))


def _digits(data_dir: Path) -> Dataset:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return checked("digits", (images / 16).reshape(-1, 8, 8), labels, tuple("0123456789"))


def _adult(data_dir: Path) -> Dataset:
    """Standardised columns are squeezed to [0, 1] by the range of the training part; test values beyond it are clipped."""
    path = data_dir / "adult.npz"
    arrays = read_arrays(path)
    if not {"x_train", "x_test"} <= arrays.keys():
        raise UserError(f"{path} has keys {sorted(arrays)}; expected x_train, y_train, x_test, y_test")
    low, high = arrays["x_train"].min(axis=0), arrays["x_train"].max(axis=0)
    span = np.where(high > low, high - low, 1)
    scaled = {part: np.clip((arrays[part] - low) / span, 0, 1) for part in ("x_train", "x_test")}
    x, y = joined(path, arrays | scaled)
    return checked("adult", x, y, ("<=50K", ">50K"))


def _label_first_table(name: str, file_name: str) -> Callable[[Path], Dataset]:
    """The published Purchase-100 and Location-30 files: rows of ``label,feature,...``, labels from 1."""

    def load(data_dir: Path) -> Dataset:
        if (data_dir / f"{name}.npz").exists():
            return _published(data_dir, name)
        table = _read_table(data_dir / file_name)
        return checked(name, table[:, 1:], _from_zero(table[:, 0]))

    return load


def _texas100(data_dir: Path) -> Dataset:
    """The published form: two files, ``texas/100/feats`` and ``texas/100/labels`` (from 1)."""
    if (data_dir / "texas100.npz").exists():
        return _published(data_dir, "texas100")
    labels = _from_zero(_read_table(data_dir / "texas" / "100" / "labels")[:, 0])
    return checked("texas100", _read_table(data_dir / "texas" / "100" / "feats"), labels)


def _published(data_dir: Path, name: str) -> Dataset:
    """A published set is one pool, whatever the parts of its file: the papers draw members and non-members from all of it."""
    return replace(from_file("npz", data_dir / f"{name}.npz", Data(), name), parts=None, groups=None)


def _from_zero(labels: np.ndarray) -> np.ndarray:
    shifted: np.ndarray = labels - labels.min()
    return shifted


def _read_table(path: Path) -> np.ndarray:
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: there are no examples in it")
        return np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2, quotechar='"')
    except ValueError as error:
        raise UserError(f"{path} is not a table of numbers: {error}") from error


NAMED: dict[str, Callable[[Path], Dataset]] = {
    "digits": _digits,
    "adult": _adult,
    "location30": _label_first_table("location30", "bangkok"),
    "purchase100": _label_first_table("purchase100", "dataset_purchase"),
    "texas100": _texas100,
}
IMAGE_SETS = ("fashion_mnist", "mnist", "cifar10", "cifar100")


PREFIXES = (*READERS, "members")


def _member_files(pair: str, asked: Data, encoding: TableEncoding | None) -> Dataset:
    members, bar, non_members = pair.partition("|")
    if not bar:
        raise UserError(f"members:{pair}: expected members:FILE|FILE (members, then non-members)")
    return from_member_files(Path(members), Path(non_members), asked=asked, encoding=encoding)


def canonical_name(name: str) -> str:
    """How a data set is recorded: a file by its whole path, so that it is found from another folder too.

    Args:
        name: of a set, or ``npz:FILE`` and the like.

    Returns:
        The same with a whole path; a set's name and ``members:`` as they are.
    """
    prefix, colon, location = name.partition(":")
    return f"{prefix}:{Path(location).resolve()}" if colon and prefix != "members" else name


def files_of(name: str | None, data_dir: Path | None = None) -> list[Path]:
    """The files and folders that hold a data set; those of a named set that torchvision keeps are its own.

    Args:
        name: of a set, or ``npz:FILE`` and the like; None for none.
        data_dir: of named sets; None for the default one.

    Returns:
        Paths, whether or not anything is there; two for ``members:FILE|FILE``.
    """
    prefix, colon, location = (name or "").partition(":")
    if colon:
        return [Path(part) for part in (location.split("|") if prefix == "members" else [location])]
    return [(data_dir or default_data_dir()) / f"{name}.npz"] if name else []


def load(
    name: str | None,
    data_dir: Path | None = None,
    download: bool = False,
    *,
    asked: Data | None = None,
    encoding: TableEncoding | None = None,
) -> Dataset:
    """Load a data set by name (``fashion_mnist``) or from a file (``npz:FILE``, ``csv:FILE``, ``parquet:FILE``,
    ``folder:DIR``).

    A named set is looked for as ``NAME.npz`` in ``data_dir``, then in torchvision's layout there, and is downloaded
    only with ``download``.

    Args:
        name: of the set, or of a file after its kind; None is refused, as no data set is assumed.
        data_dir: of named sets; None for the default one.
        download: whether torchvision may fetch a set.
        asked: how a file is to be read (label column, range, size, channels).
        encoding: of the rows of a table, where it is known already; without, one that needs any waits for it
            (``encoding.fitted``).

    Returns:
        The data set, under its canonical name.

    Raises:
        UserError: when it is unknown, absent or malformed.
    """
    if name is None:
        raise UserError(
            "no data set is named: pass --data (fashion_mnist, ..., npz:FILE, csv:FILE, folder:DIR), or --members and "
            "--non-members; edgepriv quickstart brings its own"
        )
    data_dir, asked = data_dir or default_data_dir(), asked or Data()
    prefix, colon, location = name.partition(":")
    if colon:
        if prefix not in PREFIXES:
            raise UserError(
                f"unknown data source {prefix!r} in {name!r}: known are {', '.join(f'{p}:...' for p in PREFIXES)}"
                f"{nearest(prefix, PREFIXES)}"
            )
        if prefix == "members":
            dataset = _member_files(location, asked, encoding)
        else:
            dataset = from_file(prefix, Path(location), asked, encoding=encoding)
        return replace(dataset, name=canonical_name(name))
    if name in NAMED:
        _refuse_reading(name, asked)
        try:
            return NAMED[name](data_dir)
        except (FileNotFoundError, OSError) as error:
            raise UserError(
                f"data set {name!r} is not in {data_dir}: put {name}.npz there or pass --data-dir"
            ) from error
    if "/" not in name and (data_dir / f"{name}.npz").exists():
        if name in IMAGE_SETS:
            _refuse_reading(name, asked)
            return _published(data_dir, name)
        return from_file("npz", data_dir / f"{name}.npz", asked, name)
    from_zoo = from_torchvision(name, data_dir, download, asked)
    if from_zoo is None:
        known = ", ".join([*NAMED, *IMAGE_SETS])
        raise UserError(
            f"unknown data set {name!r}: known are {known}, any image set of torchvision, and npz:FILE, csv:FILE, "
            f"folder:DIR{nearest(name, [*NAMED, *IMAGE_SETS])}"
        )
    return from_zoo


def _refuse_reading(name: str, asked: Data) -> None:
    """A published set is read in the one way in which it was published."""
    reading = [option for option in Data.READING if option != "range"]
    given = [option for option in reading if getattr(asked, option) is not None]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')} says how a file is read, and {name} needs no description")
