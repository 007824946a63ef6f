"""What is known of each picture of a folder beside its class: the folders that it lies in, and the columns of metadata.csv.

``metadata.csv`` stands in the folder itself or in any on the way to a picture, such as ``train``, with a column ``file_name``
(the path from there) and any others, as Hugging Face's image folders have it. Nothing is demanded of a table of which no
column is used; that it is not read is said. ``level:2`` is the second folder on a picture's way down, ``level:-1`` the one
that it lies in.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgepriv.data.groups import AMBIGUOUS, agreed, rank
from edgepriv.data.raw import PART_KEYS, names_parts, parts_of
from edgepriv.data.tables import Table, read_table
from edgepriv.errors import UserError
from edgepriv.recipe import Data

METADATA = "metadata.csv"
_FILE_TITLES = frozenset(
    {"filename", "file", "filepath", "path", "image", "imagename", "imagefile", "imagepath", "picture"}
)
"""Titles, in small letters and without signs, of the column that says which picture a row is about."""
_OTHERS = ("metadata.jsonl", "metadata.parquet", "metadata.tsv")
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

    Returns:
        Groups, parts and subgroups of the pictures, in their order.

    Raises:
        UserError: for a level, a column or a file that is not there, and for a picture that metadata.csv does not name.
    """
    if in_parts and asked.split_column is not None:
        raise UserError(f"{root}: its folders are the parts (train, test, ...): leave out --split-column")
    table = _table(root, files, needed=_needed(asked))
    part, part_notes = _part(table, asked.split_column, in_parts=in_parts)
    groups, group_notes = _groups(table, asked.groups)
    subgroups = None if asked.subgroups is None else _values(table, asked.subgroups, "--subgroups")
    idle = () if table.used or not table.where else (f"{table.where} says nothing that is used",)
    return Beside(groups, part, subgroups, (*part_notes, *group_notes, *table.notes, *idle))


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


@dataclass
class _Columns:
    """``cells``: column -> picture -> cell, of all tables together; ``where`` they stand, empty without any. ``used``: columns
    that were asked for."""

    root: Path
    files: Sequence[Path]
    where: str = ""
    cells: dict[str, dict[Path, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def column(self, title: str) -> np.ndarray:
        """Texts [N] in the order of the pictures; UserError for a picture without a row."""
        self.used.add(title)
        without = [file for file in self.files if file not in self.cells[title]]
        if without:
            raise UserError(
                f"{self.where}: {len(without):,} of {len(self.files):,} pictures have no row, such as "
                f"{without[0].relative_to(self.root).as_posix()} (column {title!r})"
            )
        return np.array([self.cells[title][file] for file in self.files])

    def asked(self, title: str, option: str) -> str:
        """The column of that title, whatever its capitals."""
        matching = [own for own in self.cells if own == title] or [
            own for own in self.cells if own.lower() == title.lower()
        ]
        if not matching:
            raise UserError(
                f"{self.where}: there is no column {title!r} for {option} (columns: {', '.join(self.cells)})"
            )
        return matching[0]

    def named(self, fits: Callable[[str], bool]) -> list[str]:
        """The columns whose titles fit."""
        return [title for title in self.cells if fits(title)]


def _groups(table: _Columns, asked: str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if asked is not None and _LEVEL.fullmatch(asked):
        return _values(table, asked, "--groups"), (f"folders at {asked} name groups of pictures that stay together",)
    if asked is not None:
        title: str | None = table.asked(asked, "--groups")
    else:
        candidates = sorted(
            table.named(lambda title: rank(title) not in (None, AMBIGUOUS)), key=lambda title: rank(title) or 0
        )
        title = agreed(table.where, "--groups", [(title, table.column(title)) for title in candidates])
    if title is None:
        return None, ()
    return table.column(title), (f"column {title!r} of {METADATA} names groups of pictures that stay together",)


def _part(table: _Columns, asked: str | None, *, in_parts: bool) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if asked is not None:
        title: str | None = table.asked(asked, "--split-column")
    else:
        candidates = [] if in_parts else table.named(lambda title: title.lower() in PART_KEYS)
        held = [
            title
            for title in candidates
            if names_parts(f"{table.where}: column {title!r}", np.array(list(table.cells[title].values())))
        ]
        title = agreed(table.where, "--split-column", [(title, table.column(title)) for title in held])
    if title is None:
        return None, ()
    return parts_of(f"{table.where}: column {title!r}", table.column(title)), (
        f"column {title!r} of {METADATA} names parts",
    )


def _values(table: _Columns, asked: str, option: str) -> np.ndarray:
    """Texts [N]: a column, or the folders at a level of the pictures' paths."""
    level = _LEVEL.fullmatch(asked)
    if level is None:
        return table.column(table.asked(asked, option))
    place = int(level[1])
    root, files = table.root, table.files
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


def _table(root: Path, files: Sequence[Path], *, needed: str | None) -> _Columns:
    """The columns of every metadata.csv on the way to a picture; none where there is none to be read."""
    columns = _Columns(root, files)
    folders = {folder for file in files for folder in file.parents if folder == root or root in folder.parents}
    paths = sorted(folder / METADATA for folder in folders if (folder / METADATA).is_file())
    other = sorted(folder / name for folder in folders for name in _OTHERS if (folder / name).is_file())
    columns.notes += [f"{path.relative_to(root)} is not read: save it as {METADATA}" for path in other]
    if not paths and needed is not None:
        raise UserError(
            f"{needed}: {root} holds no {METADATA} (columns file_name and {needed.split()[1]}); a level of the path is "
            "called level:N"
        )
    for path in paths:
        wanted = needed is not None
        try:
            table = read_table(path, without_titles=False)
            wanted = wanted or any(_is_person(title) or title.lower() in PART_KEYS for title in table.titles)
            _add(table, columns)
        except UserError as error:
            if wanted:
                raise
            columns.notes.append(
                f"{path.relative_to(root)} is not read: {str(error).removeprefix(str(path)).lstrip(': ')}"
            )
    columns.where = " and ".join(map(str, paths))
    return columns


def _is_person(title: str) -> bool:
    return rank(title) not in (None, AMBIGUOUS)


def _add(table: Table, columns: _Columns) -> None:
    """The cells of one table, added to ``columns``."""
    path = table.path
    named = [title for title in table.titles if re.sub(r"[^a-z]", "", title.lower()) in _FILE_TITLES]
    if not named:
        raise UserError(f"{path}: there is no column file_name, which says which picture a row is about")
    title = min(named, key=lambda title: "file" not in title.lower())
    rows = _rows(table, table.titles.index(title))
    for place, other in enumerate(table.titles):
        if other != title:
            cells = columns.cells.setdefault(other, {})
            cells |= {path.parent / name: row[place] for name, row in rows.items()}


def _rows(table: Table, place: int) -> dict[str, list[str]]:
    """Name of the picture -> its row."""
    rows: dict[str, list[str]] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        name = row[place].replace("\\", "/").removeprefix("./")
        if name in rows:
            raise UserError(f"{table.path}: line {line} names {name} again")
        rows[name] = row
    return rows
