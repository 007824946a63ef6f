"""Pictures from files, as the device kit reads them: nothing is converted, cut or turned without a word."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.data.beside import beside
from edgepriv.data.raw import PART_NAMES, Raw
from edgepriv.device import picture as device
from edgepriv.errors import UserError
from edgepriv.recipe import Data

ENDINGS = frozenset(device.ENDINGS)


@dataclass
class _Seen:
    """What came up while pictures were read: how many were turned, converted, lost bits, are of which kind."""

    turned: int = 0
    converted: Counter[str] = field(default_factory=Counter)
    shortened: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    sizes: set[tuple[int, ...]] = field(default_factory=set)


def read_folder(path: Path, asked: Data) -> Raw:
    """A folder with one sub-folder of pictures for each class, or such folders in ``train`` and ``test``.

    Whose pictures they are is told by their path or by a metadata.csv (see ``beside``).
    Hidden files and files that are no pictures are passed over (the latter are counted).

    Args:
        path: of the folder.
        asked: size and channels of the pictures, and what names their groups, parts and subgroups.

    Returns:
        The pictures [N, C, H, W] and their classes.

    Raises:
        UserError: for a folder without classes, a class without pictures, and, naming the file, for a picture that cannot be
            read or does not fit the first.
    """
    if not path.is_dir():
        raise UserError(f"no such folder: {path}")
    parts = _parts(path)
    folders = {part: _classes(folder) for part, folder in parts.items()}
    names = sorted({name for classes in folders.values() for name in classes})
    if not names:
        raise UserError(f"{path}: expected a sub-folder of images for each class, and there is none")
    files, labels, of_part, passed = [], [], [], 0
    for part, classes in folders.items():
        for name, folder in classes.items():
            inside = sorted(file for file in folder.rglob("*") if file.is_file() and not _hidden(file, folder))
            pictures = [file for file in inside if file.suffix.lower() in ENDINGS]
            passed += len(inside) - len(pictures)
            if not pictures:
                raise UserError(f"{folder}: this sub-folder holds no images ({', '.join(sorted(ENDINGS))})")
            files += pictures
            labels += [names.index(name)] * len(pictures)
            of_part += [part] * len(pictures)
    known = beside(path, files, asked, in_parts=len(parts) > 1)
    if asked.groups is not None and known.groups is not None and np.array_equal(known.groups, np.array(names)[labels]):
        raise UserError(f"{path}: --groups {asked.groups} names the classes, not persons: take the level below")
    x, notes = stacked(str(path), ((str(file), file) for file in files), asked)
    if passed:
        notes += (f"{passed} files that are not images were skipped",)
    return Raw(
        x=x,
        y=np.array(labels),
        class_names=tuple(names),
        parts=np.array(of_part) if len(parts) > 1 else known.parts,
        groups=known.groups,
        subgroups=known.subgroups,
        notes=notes + known.notes,
    )


def _parts(path: Path) -> dict[str, Path]:
    """``train``, ``test``, ... -> folder, if that is what all sub-folders are; else the folder itself as one part."""
    folders = _sub_folders(path)
    parts = {folder: PART_NAMES.get(folder.name.lower()) for folder in folders}
    if not folders or None in parts.values():
        return {"": path}
    flat = [folder for folder in folders if not _sub_folders(folder)]
    if flat:
        raise UserError(
            f"{flat[0]} is named as a part of the data, not as a class, and holds no sub-folder of images for each class"
        )
    if len(set(parts.values())) < len(parts):
        raise UserError(f"{path}: {', '.join(folder.name for folder in folders)} name the same part twice")
    return {str(part): folder for folder, part in parts.items()}


def _classes(folder: Path) -> dict[str, Path]:
    return {inner.name: inner for inner in _sub_folders(folder)}


def _sub_folders(path: Path) -> list[Path]:
    return sorted(inner for inner in path.iterdir() if inner.is_dir() and not _hidden(inner, path))


def _hidden(path: Path, root: Path) -> bool:
    """Files of the system's and of editors: ``.DS_Store``, ``.ipynb_checkpoints``, ``__MACOSX``."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(root).parts)


def stacked(name: str, pictures: Iterable[tuple[str, Any]], asked: Data) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pictures as one array, and what was done to them.

    Args:
        name: of the data, for messages.
        pictures: name of each, and its path or the opened picture.
        asked: size and channels that they are to have.

    Returns:
        [N, C, H, W]: uint8 of 8 bits, uint16 of 16, float32 of floating-point ones; whatever else the file holds, such as
        int32, as it is; float32 in [0, 1] where 8 and 16 bits are mixed. And sentences.

    Raises:
        UserError: where the pictures differ in size or channels, and where there are none.
    """
    seen = _Seen()
    arrays: list[np.ndarray] = []
    first = ""
    for title, picture in pictures:
        array = _read(title, picture, asked, seen)
        first = first or title
        if arrays and len(array) != len(arrays[0]):
            raise UserError(
                f"{name}: {title} has {_channels(array)}, {first} {_channels(arrays[0])}: say which all are to have, "
                "--channels 1 or --channels 3"
            )
        if arrays and array.shape != arrays[0].shape:
            raise UserError(
                f"{name}: {title} is {_size(array)} pixels, {first} {_size(arrays[0])} (height x width): resize them, or say "
                f"to which size with --image-size, such as {_size(arrays[0])}"
            )
        arrays.append(array)
    if not arrays:
        raise UserError(f"{name}: there are no examples in it")
    return _of_one_kind(arrays, name), _notes(seen, asked)


def _channels(array: np.ndarray) -> str:
    return f"{len(array)} channel{'s' if len(array) > 1 else ''}"


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[2]}"


def _read(title: str, picture: Any, asked: Data, seen: _Seen) -> np.ndarray:
    """[C, H, W] of one picture."""
    try:
        read = device.read(title, picture, asked.channels)
        array: np.ndarray = read.planes
        if asked.channels is not None:
            array = device.with_channels(array, asked.channels, title)
    except device.PictureError as error:
        raise UserError(str(error)) from error
    seen.turned += read.turned
    seen.shortened += read.shortened
    if read.converted:
        seen.converted[read.converted] += 1
    seen.kinds[_KINDS.get(read.planes.dtype.name, read.planes.dtype.name)] += 1
    seen.sizes.add(array.shape[1:])
    if asked.image_size is not None:
        array = device.resized(array, asked.image_size)
    return array


_KINDS = {"uint8": "8 bits", "uint16": "16 bits", "float32": "floating point"}


def _of_one_kind(arrays: list[np.ndarray], name: str) -> np.ndarray:
    kinds = {array.dtype for array in arrays}
    if len(kinds) == 1:
        return np.stack(arrays)
    if not kinds <= {np.dtype(np.uint8), np.dtype(np.uint16)}:
        mixed = ", ".join(sorted(str(kind) for kind in kinds))
        raise UserError(f"{name}: its pictures hold numbers of different kinds ({mixed}): save all in one")
    return np.stack([array.astype(np.float32) / np.iinfo(array.dtype).max for array in arrays])


def _notes(seen: _Seen, asked: Data) -> tuple[str, ...]:
    notes: list[str] = []
    if len(seen.kinds) > 1:
        each = " and ".join(f"{count} of {kind}" for kind, count in sorted(seen.kinds.items()))
        notes.append(f"{each} are mixed, each scaled by its own range: can the kind of file give the class away?")
    if seen.turned:
        notes.append(f"{seen.turned} pictures were rotated as their EXIF data say")
    if seen.shortened:
        notes.append(
            f"{seen.shortened} pictures of colour have 16 bits for each channel, of which the upper 8 are read"
        )
    for mode, count in sorted(seen.converted.items()):
        notes.append(f"{count} pictures were converted from {mode} to RGB, ignoring any colour profile")
    if asked.image_size is not None and seen.sizes != {asked.image_size}:
        height, width = asked.image_size
        notes.append(f"pictures were resized to {height}x{width}, regardless of their proportions")
    return tuple(notes)
