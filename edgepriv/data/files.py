"""Examples from the user's own files: npz, csv, parquet, a folder of images."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgepriv.data.archive import Columns
from edgepriv.data.columns import of_table
from edgepriv.data.dataset import Dataset, checked, members_beside, subgroups_of, with_classes
from edgepriv.data.encoding import TableEncoding, encode, encoded_members
from edgepriv.data.features import refuse_text
from edgepriv.data.group_names import nearly_one
from edgepriv.data.groups import joint, numbered, refuse_other_meaning
from edgepriv.data.labels import coded
from edgepriv.data.parquet import parquet_table
from edgepriv.data.pictures import read_folder
from edgepriv.data.raw import Cells, Raw
from edgepriv.data.same_columns import in_one_order
from edgepriv.data.tables import read_table
from edgepriv.errors import UserError
from edgepriv.files import UNREADABLE
from edgepriv.recipe import Data

PARTS = ("train", "val", "test")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an .npz file.

    Args:
        path: of the file.

    Returns:
        By their keys.

    Raises:
        UserError: when there is no such file, when it is no .npz, and for pickled objects, which are never loaded.
    """
    if not path.exists():
        raise UserError(f"no such file: {path}")
    try:
        with path.open("rb") as file:  # numpy leaves a damaged one open
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise UserError(f"{path} holds one bare array; expected an .npz with x and y")
            with archive:
                return {key: archive[key] for key in archive.files}
    except UNREADABLE as error:
        # numpy takes any file without a signature that it knows for a pickle, so only an archive's member is one.
        if "pickle" in str(error).lower() and zipfile.is_zipfile(path):
            raise UserError(
                f"{path} holds pickled objects, which are never loaded: save plain number arrays"
            ) from error
        what = f"{path} is not a readable .npz file ({type(error).__name__})"
        if path.suffix.lower() != ".npz":
            what += (
                ": examples are read from .npz files, from tables of text (.csv, .tsv, .txt) and from folders of images"
            )
        raise UserError(what) from error


def read_npz(path: Path, asked: Data) -> Raw:
    """What an .npz holds: ``x, y``, or its parts (train, val, test) one after another; ``class_names``, and the group, subgroup
    and part of each example if it has them.

    Args:
        path: of the file.
        asked: keys of groups, subgroups and parts.

    Returns:
        The arrays, nothing checked yet.

    Raises:
        UserError: for an option of tables, and for arrays that are missing or do not fit each other.
    """
    arrays = read_arrays(path)
    if asked.label is not None:
        raise UserError(f"{path}: --label names a column of a table; an .npz holds its labels in y")
    names = tuple(str(label) for label in arrays["class_names"].ravel()) if "class_names" in arrays else None
    parts: tuple[str, ...] = ()
    keys = next((keys for keys in (("x", "y"), ("features", "labels")) if set(keys) <= arrays.keys()), None)
    if keys is None:
        parts = tuple(part for part in PARTS if {f"x_{part}", f"y_{part}"} <= arrays.keys())
        x, y = joined(path, arrays)
    else:
        x, y = arrays[keys[0]], arrays[keys[1]]
    held = Columns(path, arrays, parts, len(y) if y.ndim else 0)
    groups, notes = held.groups(asked.groups)
    subgroups = None if asked.subgroups is None else held.named(asked.subgroups, "--subgroups")
    of_part, more = held.parts(asked.split_column)
    return Raw(x, y, names, of_part, groups, subgroups, notes + more)


def joined(path: Path, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The parts (train, val, test) of an .npz one after another.

    Args:
        path: of the file, for messages.
        arrays: by their keys.

    Returns:
        x [N, ...] and y [N, ...].

    Raises:
        UserError: without any part, and for parts of different shapes.
    """
    parts = [part for part in PARTS if {f"x_{part}", f"y_{part}"} <= arrays.keys()]
    if not parts:
        raise UserError(f"{path} has keys {sorted(arrays)}; expected x and y, or x_train, y_train, x_test, y_test")
    for axis, what in (("x", "examples"), ("y", "labels")):
        shapes = {arrays[f"{axis}_{part}"].shape[1:] for part in parts}
        if len(shapes) > 1 or any(arrays[f"{axis}_{part}"].ndim == 0 for part in parts):
            raise UserError(f"{path}: its parts have {what} of different shapes: {sorted(shapes)}")
    for part in parts:
        if len(arrays[f"x_{part}"]) != len(arrays[f"y_{part}"]):
            raise UserError(
                f"{path}: x_{part} has {len(arrays[f'x_{part}'])} examples but y_{part} {len(arrays[f'y_{part}'])} labels"
            )
    x, y = (np.concatenate([arrays[f"{axis}_{part}"] for part in parts]) for axis in "xy")
    return x, y


def read_csv(path: Path, asked: Data) -> Raw:
    """A table of text with one label column.

    Args:
        path: of the file.
        asked: which column is what.

    Returns:
        Features and labels, see ``columns.of_table``.
    """
    return of_table(read_table(path, without_titles=asked.label is not None, label=asked.label), asked)


def read_parquet(path: Path, asked: Data) -> Raw:
    """An Apache Parquet file with one label column.

    Args:
        path: of the file.
        asked: which column is what.

    Returns:
        Features and labels, as of a table of text.
    """
    return of_table(parquet_table(path), asked)


def columns_of(asked: Data) -> Cells | None:
    """The columns of the table that a model was trained on.

    Args:
        asked: how its data were read, with their name.

    Returns:
        Its features; None where the data are no table, are not there any more, or cannot be read so.
    """
    prefix, _, location = (asked.name or "").partition(":")
    path = Path(location.split("|")[0])
    kind = kind_of(path) if prefix == "members" else prefix
    if kind not in ("csv", "parquet") or not path.is_file():
        return None
    try:
        return READERS[kind](path, asked).cells
    except UserError:
        return None


READERS: dict[str, Callable[[Path, Data], Raw]] = {
    "npz": read_npz,
    "csv": read_csv,
    "parquet": read_parquet,
    "folder": read_folder,
}


def from_file(
    kind: str, path: Path, asked: Data, name: str | None = None, encoding: TableEncoding | None = None
) -> Dataset:
    """Examples of an .npz, a table or a folder of pictures, checked.

    Args:
        kind: a key of READERS.
        path: of the file or folder.
        asked: how it is to be read.
        name: of the data set; None takes the path.
        encoding: of the rows of a table, where it is known already.

    Returns:
        The data set. A table that needs an encoding and has none waits for it (``encoding.fitted``).
    """
    read_as = asked if encoding is None else encoding.reading(asked)
    return _of_raw(name or str(path), READERS[kind](path, read_as), read_as, encoding)


def _of_raw(name: str, raw: Raw, asked: Data, encoding: TableEncoding | None) -> Dataset:
    if encoding is not None or (raw.cells is not None and not raw.cells.plain):
        dataset = _of_cells(name, raw, asked)
        dataset = dataset if encoding is None else encode(dataset, encoding)
    else:
        dataset = checked(name, raw.x, raw.y, raw.class_names, asked=asked)
    parts = raw.parts
    of_parts = set() if parts is None else set(parts.tolist())
    if parts is not None and ("train" not in of_parts or len(of_parts) == 1):
        if asked.split_column is not None:
            raise UserError(
                f"{name}: {asked.split_column} names {' and '.join(sorted(of_parts))} alone, so there is no split"
            )
        parts = None
    groups, notes = _several_groups(name, raw, asked)
    refuse_other_meaning(name, groups, dataset.y, raw.parts)
    if raw.parts is not None and parts is None:
        notes += (f"its only part is {' and '.join(sorted(of_parts))}: all examples are drawn as one pool",)
    return replace(
        dataset,
        parts=parts,
        groups=groups,
        subgroups=subgroups_of(asked.subgroups, raw.subgroups),
        notes=raw.notes + dataset.notes + notes,
    )


def _several_groups(name: str, raw: Raw, asked: Data) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The groups, numbered; None where there is one alone that nobody asked for, which is said."""
    groups = numbered(name, raw.groups)
    if groups is None or groups.max(initial=0) > 0:
        return groups, nearly_one(raw.groups)
    if asked.groups is not None:
        raise UserError(
            f"{name}: --groups {asked.groups} puts all {len(groups):,} records into one group: nothing is left to compare"
        )
    return None, ("all records are of one group: groups are not looked at",)


def _of_cells(name: str, raw: Raw, asked: Data) -> Dataset:
    """A table whose rows are not numbers in [0, 1]: its labels are checked, and its rows wait for an encoding."""
    if raw.cells is None:
        raise UserError(f"{name} is no table, but the model was trained on one")
    dataset = checked(name, np.zeros((len(raw.cells.rows), 1), np.float32), raw.y, raw.class_names, asked=asked)
    return replace(dataset, x=raw.cells.rows, cells=raw.cells, asked=asked)


def from_member_files(
    members: Path,
    non_members: Path,
    class_names: tuple[str, ...] | None = None,
    *,
    asked: Data | None = None,
    encoding: TableEncoding | None = None,
) -> Dataset:
    """Members and non-members from two files: .npz, tables or folders of pictures, by their endings.

    Labels, ranges and groups are read as those of one set, so that neither file alone decides what its numbers mean.

    Args:
        members: an .npz, a table or a folder.
        non_members: another.
        class_names: of the model, if known.
        asked: how the files are to be read.
        encoding: of the rows of two tables; None learns it from the members where they are not numbers in [0, 1].

    Returns:
        One data set, the members first.
    """
    asked = asked or Data()
    asked = asked if encoding is None else encoding.reading(asked)
    raws = [READERS[kind_of(path)](path, asked) for path in (members, non_members)]
    if encoding is not None or any(raw.cells is not None and not raw.cells.plain for raw in raws):
        raws, encoding = encoded_members(raws, encoding, asked)
    dataset = replace(of_members((members, non_members), raws, asked), encoding=encoding)
    return dataset if class_names is None else with_classes(dataset, class_names)


def of_members(paths: tuple[Path, Path], raws: Sequence[Raw], asked: Data) -> Dataset:
    """Members and non-members as one data set, of what was read.

    Args:
        paths: of the two files.
        raws: what was read from each.
        asked: how they were to be read.

    Returns:
        As ``from_member_files``.
    """
    raws = in_one_order(raws)
    names = [str(path.resolve()) for path in paths]
    one, other = (raw.class_names for raw in raws)
    if one is not None and other is not None and one != other:
        parts = [
            checked(name, raw.x, raw.y, raw.class_names, several_classes=False, asked=asked)
            for name, raw in zip(names, raws, strict=True)
        ]
    else:
        parts = _read_together(names, raws, one or other, asked)
    groups, doubts = joint(paths, raws)
    named = [own for own in groups if own is not None]
    if named:
        labels = np.concatenate([part.y for part in parts])
        refuse_other_meaning(" and ".join(path.name for path in paths), np.concatenate(named), labels, None)
    if any(raw.parts is not None for raw in raws):
        doubts += ("parts (train, test) are not looked at: who is a member is what the two files say",)
    parts = [
        replace(part, groups=own, notes=raw.notes + part.notes + doubts)
        for part, raw, own in zip(parts, raws, groups, strict=True)
    ]
    subgroups = [raw.subgroups.astype(str) for raw in raws if raw.subgroups is not None]
    whole = subgroups_of(asked.subgroups, np.concatenate(subgroups) if len(subgroups) == len(raws) else None)
    return replace(members_beside(*parts), subgroups=whole)


def kind_of(path: Path) -> str:
    """How a file of members is read.

    Args:
        path: of a file or folder.

    Returns:
        A key of READERS, by its ending; "npz" for one that is not known.
    """
    if path.is_dir():
        return "folder"
    ending = path.suffix.lower()
    return "csv" if ending in (".csv", ".tsv", ".txt") else "parquet" if ending == ".parquet" else "npz"


def _read_together(
    names: Sequence[str], raws: Sequence[Raw], class_names: tuple[str, ...] | None, asked: Data
) -> list[Dataset]:
    """Two files as one data set, cut in two again."""
    for raw in raws:
        if raw.cells is not None and raw.x.dtype == object:
            refuse_text(raw.cells)
    for name, raw in zip(names, raws, strict=True):
        if raw.x.ndim == 0 or raw.y.ndim == 0 or len(raw.x) != len(raw.y) or raw.x.size == 0:
            checked(name, raw.x, raw.y, class_names, several_classes=False, asked=asked)  # says what is wrong
    ys = [raw.y[:, 0] if raw.y.ndim == 2 and raw.y.shape[1] == 1 else raw.y for raw in raws]
    both = " and ".join(names)
    if ys[0].shape[1:] != ys[1].shape[1:]:
        raise UserError(f"{both} have labels of different shapes: {list(ys[0].shape)} and {list(ys[1].shape)}")
    _refuse_truth_among_numbers(names, ys)
    labels = coded(both, np.concatenate(ys), class_names)
    cut = len(ys[0])
    if raws[0].x.shape[1:] == raws[1].x.shape[1:] and raws[0].x.dtype == raws[1].x.dtype:
        x = np.concatenate([raw.x for raw in raws])
        whole = checked(both, x, labels.y, labels.names, several_classes=False, asked=asked)
        datasets = [
            replace(whole, name=name, x=whole.x[part], y=whole.y[part])
            for name, part in zip(names, (slice(cut), slice(cut, None)), strict=True)
        ]
    else:
        datasets = [
            checked(name, raw.x, y, labels.names, several_classes=False, asked=asked)
            for name, raw, y in zip(names, raws, np.split(labels.y, [cut]), strict=True)
        ]
    return [replace(part, notes=part.notes + labels.notes) for part in datasets]


def _refuse_truth_among_numbers(names: Sequence[str], ys: Sequence[np.ndarray]) -> None:
    """False and True are 0 and 1 beside these numbers, and nobody knows what beside others."""
    of_truth = [y.dtype.kind == "b" for y in ys]
    if all(of_truth) or not any(of_truth):
        return
    other = 0 if of_truth[1] else 1
    if ys[other].dtype.kind in "uif" and not np.isin(ys[other], (0, 1)).all():
        raise UserError(
            f"the labels of {names[1 - other]} are False and True, and those of {names[other]} are numbers other than 0 and 1: "
            "write both in the same way"
        )
