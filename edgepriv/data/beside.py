"""What is known of each picture of a folder beside its class: the folders that it lies in, and the columns of metadata.csv.

``metadata.csv`` stands in the folder itself, with a column ``file_name`` (the path inside the folder) and any others, as
Hugging Face's image folders have it. ``level:2`` is the second folder on a picture's way down, ``level:-1`` the one that it
lies in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepriv.data.groups import GROUP_NAMES
from edgepriv.data.raw import PART_KEYS, PART_NAMES, parts_of
from edgepriv.data.tables import Table, read_table
from edgepriv.errors import UserError
from edgepriv.recipe import Data

METADATA = "metadata.csv"
_FILE_TITLES = ("file_name", "file")
_LEVEL = re.compile(r"level:(-?\d+)")


@dataclass(frozen=True)
class Beside:
    """Of each picture, [N], None where nobody says: ``groups``, ``parts`` and ``subgroups`` as in Raw; ``notes`` too."""

    groups: np.ndarray | None = None
    parts: np.ndarray | None = None
    subgroups: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def beside(root: Path, files: Sequence[Path], asked: Data, *, in_parts: bool) -> Beside:
    """What ``asked`` names of each of ``files``, which lie below ``root``.

    Args:
        root: the folder.
        files: the pictures.
        asked: ``groups``, ``split_column`` and ``subgroups``; where they are left out, columns of metadata.csv whose titles
            say so are taken, as those of a table are.
        in_parts: whether the folder's own folders are the parts.

    Raises:
        UserError: for a level, a column or a file that is not there, and for a picture that metadata.csv does not name.
    """
    if in_parts and asked.split_column is not None:
        raise UserError(f"{root}: its folders are the parts (train, test, ...): leave out --split-column")
    table = _table(root, files, needed=_needed(asked))
    part = _title(table, asked.split_column, PART_KEYS, "--split-column", root)
    if part is not None and asked.split_column is None and (in_parts or not _names_parts(table, part)):
        part = None
    notes = () if part is None else (f"column {part!r} of {METADATA} names parts",)
    groups, more = _groups(root, files, asked.groups, table)
    return Beside(
        groups,
        None if part is None or table is None else parts_of(f"{root / METADATA}: column {part!r}", table[part]),
        _values(root, files, asked.subgroups, table, "--subgroups"),
        notes + more,
    )


def _needed(asked: Data) -> str | None:
    """The option that only metadata.csv can answer."""
    for option, value in (
        ("--groups", asked.groups),
        ("--split-column", asked.split_column),
        ("--subgroups", asked.subgroups),
    ):
        if value is not None and not _LEVEL.fullmatch(value):
            return f"{option} {value}"
    return None


def _groups(
    root: Path, files: Sequence[Path], asked: str | None, table: dict[str, np.ndarray] | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if asked is not None and _LEVEL.fullmatch(asked):
        values = _values(root, files, asked, table, "--groups")
        return values, (f"folders at {asked} name groups of pictures that stay together",)
    title = _title(table, asked, frozenset(GROUP_NAMES) - {"group"}, "--groups", root)
    if title is None or table is None:
        return None, ()
    return table[title], (f"column {title!r} of {METADATA} names groups of pictures that stay together",)


def _values(
    root: Path, files: Sequence[Path], asked: str | None, table: dict[str, np.ndarray] | None, option: str
) -> np.ndarray | None:
    if asked is None:
        return None
    level = _LEVEL.fullmatch(asked)
    if level is None:
        title = _title(table, asked, frozenset(), option, root)
        return None if title is None or table is None else table[title]
    place = int(level[1])
    folders = [file.relative_to(root).parts[:-1] for file in files]
    wrong = next(
        (
            file
            for file, way in zip(files, folders, strict=True)
            if not 1 <= (place if place > 0 else len(way) + 1 + place) <= len(way)
        ),
        None,
    )
    if wrong is not None:
        raise UserError(
            f"{option} {asked}: {wrong.relative_to(root)} has no folder there; level:1 is the first below {root}, level:-1 the "
            "one that a picture lies in"
        )
    return np.array([way[place - 1 if place > 0 else place] for way in folders])


def _title(
    table: dict[str, np.ndarray] | None, asked: str | None, known: frozenset[str], option: str, root: Path
) -> str | None:
    """The column that is asked for, else the first whose title says that it is one of ``known``."""
    if table is None:
        return None
    wanted = frozenset({asked.lower()}) if asked is not None else known
    title = next((title for title in table if title.lower() in wanted), None)
    if title is None and asked is not None:
        raise UserError(f"{root / METADATA}: there is no column {asked!r} for {option} (columns: {', '.join(table)})")
    return title


def _names_parts(table: dict[str, np.ndarray] | None, title: str) -> bool:
    return table is not None and {cell.lower() for cell in table[title].tolist()} <= PART_NAMES.keys()


def _table(root: Path, files: Sequence[Path], *, needed: str | None) -> dict[str, np.ndarray] | None:
    """The columns of metadata.csv, title -> text [N] in the order of ``files``; None where there is none to be read."""
    path = root / METADATA
    if not path.is_file():
        if needed is None:
            return None
        raise UserError(
            f"{needed}: {root} holds no {METADATA} (columns file_name and {needed.split()[1]}); a level of the path is "
            "called level:N"
        )
    table = read_table(path, without_titles=False)
    title = next((title for title in table.titles if title.lower() in _FILE_TITLES), None)
    if title is None:
        if needed is None:
            return None
        raise UserError(f"{path}: there is no column file_name, which says which picture a row is about")
    rows = _rows(table, table.titles.index(title))
    names = [file.relative_to(root).as_posix() for file in files]
    without = [name for name in names if name not in rows]
    if without:
        raise UserError(f"{path}: {len(without):,} of {len(names):,} pictures have no row, such as {without[0]}")
    return {
        other: np.array([rows[name][place] for name in names])
        for place, other in enumerate(table.titles)
        if other != title
    }


def _rows(table: Table, place: int) -> dict[str, list[str]]:
    """Name of the picture -> its row."""
    rows: dict[str, list[str]] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        name = row[place].replace("\\", "/").removeprefix("./")
        if name in rows:
            raise UserError(f"{table.path}: line {line} names {name} again")
        rows[name] = row
    return rows
