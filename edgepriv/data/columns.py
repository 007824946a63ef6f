"""Which column of a table is what: the label, numbers of rows, groups and parts, and the features that remain."""

import itertools
import re
from typing import NamedTuple

import numpy as np

from edgepriv.data.features import features_of
from edgepriv.data.groups import AMBIGUOUS, agreed, rank
from edgepriv.data.kinds import Writing
from edgepriv.data.labels import FEW, MISSING
from edgepriv.data.raw import PART_KEYS, Raw, names_parts, parts_of
from edgepriv.data.tables import Table, is_decimal_comma, is_number, is_numeric
from edgepriv.errors import UserError
from edgepriv.recipe import Data

LABEL_TITLES = frozenset(
    {"label", "labels", "target", "targets", "class", "classes", "outcome", "y", "category", "diagnosis", "response"}
)
ROW_TITLES = frozenset({"id", "index", "row", "row_id", "no", "nr"})
_SHOWN = 12


def of_table(table: Table, asked: Data) -> Raw:
    """Features and the labels of a table, with what was understood of it.

    The label is the column ``asked.label`` (a title, or a position from 0, or from -1 for the last), else the one that can be
    meant; it may hold names. A first column that numbers the rows is left out; columns that name a person (``asked.groups``,
    else ``patient_id``, ...) or a part (``asked.split_column``, else ``split`` with train and test) are kept as groups and
    parts; those of ``asked.drop`` and ``asked.subgroups`` are left out, the latter unless ``asked.keep`` names it.

    Args:
        table: its cells as text.
        asked: which column is what.

    Returns:
        Features float64 [N, F], or text as it stands there where some are no numbers; labels [N].

    Raises:
        UserError: where the label is not known, or has no value in a row; for columns that are not there or are named for two
            things; where no feature is left.
    """
    groups, part = _named(table, asked.groups, "--groups"), _named(table, asked.split_column, "--split-column")
    subgroups = _named(table, asked.subgroups, "--subgroups")
    left_out = [_asked(table, title, "--drop") for title in asked.drop or ()]
    kept = [_asked(table, title, "--keep") for title in asked.keep or ()]
    apart = () if subgroups is None or subgroups in kept else (subgroups,)
    rows = None if 0 in (groups, part, subgroups, *left_out) else _row_numbers(table)
    free = [place for place in range(len(table.titles)) if place not in (rows, groups, part, *apart, *left_out)]
    label = _label(table, free) if asked.label is None else _asked(table, asked.label, "--label")
    _refuse_twice(table, {"--label": label, "--groups": groups, "--split-column": part, "--subgroups": subgroups})
    if label in left_out:
        raise UserError(f"{table.path}: --drop leaves out the label {table.titles[label]!r}")
    free = [place for place in range(len(table.titles)) if place not in (rows, label, groups, part, *apart, *left_out)]
    tellers = _tellers(table, [place for place in free if place not in kept])
    part = tellers.part if part is None else part
    groups = tellers.groups if groups is None else groups
    idle = [place for place in tellers.every if place not in (part, groups)]
    features = [place for place in free if place not in (part, groups, *idle)]
    title = table.titles[label]
    if not features:
        raise UserError(f"{table.path}: there are no examples in it: no column is left beside the label {title!r}")
    x, cells, writing = features_of(table, features, label, asked)
    notes = [f"{len(features)} feature{'s' if len(features) > 1 else ''}, label column {title!r}", *table.notes]
    if rows is not None:
        notes.append(f"the first column ({table.titles[rows] or 'without a title'}) numbers the rows and is left out")
    if left_out:
        notes.append(f"left out by --drop: {', '.join(repr(table.titles[place]) for place in left_out)}")
    notes += writing.notes
    notes += [
        f"column {table.titles[place]!r} names subgroups and is no feature (--keep makes it one)" for place in apart
    ]
    for place, what in ((groups, "groups of examples that stay together"), (part, "parts")):
        if place is not None:
            notes.append(f"column {table.titles[place]!r} names {what}")
    if idle:
        which = ", ".join(repr(table.titles[place]) for place in idle)
        notes.append(f"left out, as it says whose record it is or of which part: {which} (a feature only with --keep)")
    return Raw(
        x=x,
        y=np.array(_as_written(_filled(table, label), writing)),
        parts=None if part is None else _parts(table, part),
        groups=None if groups is None else np.array(_filled(table, groups)),
        subgroups=None if subgroups is None else np.array(table.column(subgroups)),
        notes=tuple(notes),
        cells=cells,
    )


def _row_numbers(table: Table) -> int | None:
    """The first column, if it holds different whole numbers and has no title, or is an ``id`` that counts."""
    title, cells = table.titles[0].lower(), table.column(0)
    if len(table.titles) < 2 or not all(cell.isdecimal() for cell in cells) or len(set(cells)) < len(cells):
        return None
    if title in ("", "unnamed: 0"):
        return 0
    numbers = [int(cell) for cell in cells]
    counts = len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return 0 if title in ROW_TITLES and counts else None


def _label(table: Table, free: list[int]) -> int:
    """The one column that can be the label: by its title, or because it alone does not hold numbers."""
    titles = [title.lower() for title in table.titles]
    candidates = []
    for place in free:
        cells = table.column(place)
        is_text = not all(map(is_numeric, cells))
        if is_text and (_is_person(titles[place]) or _is_part(table, place)):
            continue
        if (is_text or titles[place] in LABEL_TITLES) and _may_be_classes(cells):
            candidates.append(place)
    if len(candidates) == 1:
        only = candidates[0]
        coordinate = titles[only] == "y" and "x" in titles
        if not coordinate and not _has_fractions(table.column(only)):
            return only
    if candidates:
        which = " or ".join(repr(table.titles[place]) for place in candidates)
        raise UserError(f"{table.path}: the label may be column {which}: say which column it is with --label")
    raise UserError(f"{table.path}: which column is the label? Say so with --label ({_columns(table)})")


def _named(table: Table, asked: str | None, option: str) -> int | None:
    return None if asked is None else _asked(table, asked, option)


def _refuse_twice(table: Table, places: dict[str, int | None]) -> None:
    """Raise UserError where two options name one column."""
    options = [option for option, place in places.items() if place is not None]
    for one, other in itertools.combinations(options, 2):
        if places[one] == places[other]:
            raise UserError(f"{table.path}: {one} and {other} name one column, {table.titles[places[one] or 0]!r}")


def _parts(table: Table, place: int) -> np.ndarray:
    return parts_of(f"{table.path}: column {table.titles[place]!r}", np.array(_filled(table, place)))


def _asked(table: Table, asked: str, option: str) -> int:
    wanted = asked.strip()
    exact = [place for place, title in enumerate(table.titles) if title == wanted]
    matches = exact or [place for place, title in enumerate(table.titles) if title.lower() == wanted.lower()]
    if len(matches) > 1:
        raise UserError(
            f"{table.path}: {len(matches)} columns are called {wanted!r}: give {option} its position, from 0"
        )
    if matches:
        return matches[0]
    if re.fullmatch(r"-?\d+", wanted) and -len(table.titles) <= int(wanted) < len(table.titles):
        return int(wanted) % len(table.titles)
    raise UserError(f"{table.path}: there is no column {wanted!r} for {option} ({_columns(table)})")


def _columns(table: Table) -> str:
    shown = ", ".join(map(repr, table.titles[:_SHOWN])) + (", ..." if len(table.titles) > _SHOWN else "")
    return f"columns: {shown}; or a position, 0 to {len(table.titles) - 1}"


def _may_be_classes(cells: list[str]) -> bool:
    """Few different values, or names and whole numbers that repeat."""
    different = len(set(cells))
    if different > max(2, len(cells) / 2) and len(cells) > FEW:
        return False
    return different <= FEW or not _has_fractions(cells)


def _has_fractions(cells: list[str]) -> bool:
    numbers = [float(cell) for cell in cells if is_number(cell)]
    return any(np.isfinite(number) and not number.is_integer() for number in numbers)


class _Tellers(NamedTuple):
    """Columns that say by their titles whose record each is, and of which part: those that are taken, and all of them."""

    groups: int | None
    part: int | None
    every: list[int]


def _tellers(table: Table, places: list[int]) -> _Tellers:
    """Raises UserError where two of one kind contradict each other."""
    persons = sorted(
        (place for place in places if _is_person(table.titles[place])), key=lambda place: _rank(table, place)
    )
    parts = [place for place in places if place not in persons and _is_part(table, place)]
    of_parts = [(place, _parts(table, place)) for place in parts]
    taken = []
    for option, columns in (
        ("--groups", [(place, np.array(table.column(place))) for place in persons]),
        ("--split-column", of_parts),
    ):
        agreed(str(table.path), option, [(table.titles[place], cells) for place, cells in columns])
        taken.append(columns[0][0] if columns else None)
    return _Tellers(taken[0], taken[1], [*persons, *parts])


def _rank(table: Table, place: int) -> int:
    return rank(table.titles[place]) or 0


def _is_person(title: str) -> bool:
    """``patient_id`` and the like; a column ``group`` may as well be an arm of a study."""
    return rank(title) not in (None, AMBIGUOUS)


def _is_part(table: Table, place: int) -> bool:
    title = table.titles[place]
    return title.lower() in PART_KEYS and names_parts(f"{table.path}: column {title!r}", np.array(table.column(place)))


def _filled(table: Table, place: int) -> list[str]:
    """The cells of a column; UserError, with the line, where there is none."""
    cells = table.column(place)
    for line, cell in zip(table.lines, cells, strict=True):
        if cell.lower() in MISSING:
            raise UserError(_without_value(table, line, place, cell))
    return cells


def _as_written(cells: list[str], writing: Writing) -> list[str]:
    """Labels with decimal points where the table has decimal commas: ``1,0`` is the class 1, as ``1`` is."""
    numbers = writing.decimal == "," and all(is_number(cell) or is_decimal_comma(cell) for cell in cells)
    return [cell.replace(",", ".") for cell in cells] if numbers else cells


def _without_value(table: Table, line: int, place: int, cell: str) -> str:
    what = f"has no value ({cell!r})" if cell else "is empty"
    return f"{table.path}: line {line}, column {table.titles[place]!r} {what}: fill it in, or remove the line"
