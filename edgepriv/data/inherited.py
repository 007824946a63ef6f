"""Options that were given for a model's own data, and hold for other files only where these have what they name."""

import re
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from edgepriv.data.beside import METADATA
from edgepriv.data.files import READERS, kind_of
from edgepriv.data.parquet import parquet_table
from edgepriv.data.raw import Raw
from edgepriv.data.tables import read_table
from edgepriv.recipe import Data

NAMING = ("label", "groups", "split_column", "subgroups", "drop", "keep")
"""Fields of Data that name a column, a key or a folder."""
_PART = re.compile(r"_(train|val|test)$")


def as_far_as_held(path: Path, asked: Data, inherited: Iterable[str]) -> tuple[Data, tuple[str, ...]]:
    """``asked`` without those of its ``inherited`` options that name what a file does not have.

    Args:
        path: an .npz, a table or a folder.
        asked: how it is to be read.
        inherited: fields of NAMING that nobody gave for this very file.

    Returns:
        How it can be read, and a sentence for each option that is left out. A file that cannot be opened leaves out none:
        its reader says what is wrong with it.
    """
    given = [field for field in inherited if getattr(asked, field) is not None]
    if not given:
        return asked, ()
    kind = kind_of(path)
    if not path.exists() or (kind == "npz" and not zipfile.is_zipfile(path)):
        return asked, ()
    known, columns = _names(path, kind, asked.label)
    changes: dict[str, object] = {}
    notes = []
    for field in given:
        value = getattr(asked, field)
        names = [value] if isinstance(value, str) else list(value)
        if field == "label" and kind not in ("csv", "parquet"):
            changes[field] = None  # their labels are elsewhere: there is nothing to say
            continue
        held = [name for name in names if _is_held(name, known, columns, path, kind)]
        if held != names:
            changes[field] = (tuple(held) or None) if field in ("drop", "keep") else None
            missing = ", ".join(repr(name) for name in names if name not in held)
            notes.append(
                f"{path.name} has no {missing}, which --{field.replace('_', '-')} named in the model's own data: left out"
            )
    return asked.model_copy(update=changes), tuple(notes)


def read_members(members: Path, non_members: Path, asked: Data, inherited: Iterable[str] = ()) -> list[Raw]:
    """What two files of members and non-members hold, nothing checked yet.

    Args:
        members: an .npz, a table or a folder of pictures.
        non_members: another.
        asked: how they are to be read.
        inherited: fields of ``asked`` that nobody gave for these very files, see ``as_far_as_held``.

    Returns:
        The two, members first.
    """
    raws, fields = [], tuple(inherited)
    for path in (members, non_members):
        own, notes = as_far_as_held(path, asked, fields)
        raw = READERS[kind_of(path)](path, own)
        raws.append(replace(raw, notes=raw.notes + notes))
    return raws


def _names(path: Path, kind: str, label: str | None) -> tuple[set[str], int]:
    """Keys or titles, in small letters where case does not count; and how many columns can be meant by position."""
    if kind == "npz":
        with zipfile.ZipFile(path) as archive:
            keys = {name.removesuffix(".npy") for name in archive.namelist()}
        return keys | {_PART.sub("", key) for key in keys}, 0
    if kind == "folder":
        tables = [read_table(each, without_titles=True) for each in sorted(path.rglob(METADATA))]
        return {title.lower() for table in tables for title in table.titles}, 0
    table = parquet_table(path) if kind == "parquet" else read_table(path, without_titles=True, label=label)
    return {title.lower() for title in table.titles}, len(table.titles)


def _is_held(name: str, known: set[str], columns: int, path: Path, kind: str) -> bool:
    if kind == "npz":
        return name in known
    level = re.fullmatch(r"level:-?(\d+)", name)
    if kind == "folder" and level:
        depths = [len(file.relative_to(path).parts) - 1 for file in path.rglob("*") if file.is_file()]
        return max(depths, default=0) >= int(level[1])
    if name.strip().lower() in known:
        return True
    return bool(re.fullmatch(r"-?\d+", name.strip())) and -columns <= int(name) < columns
