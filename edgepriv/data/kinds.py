"""What the columns of a table of text hold: numbers, dates, yes and no, or categories; and how its numbers are written."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgepriv.data.labels import FEW, MISSING
from edgepriv.data.raw import Cells
from edgepriv.device.table import date_of, number_of
from edgepriv.errors import UserError
from edgepriv.recipe import Data

WITHOUT_VALUE = MISSING | {"#n/a", "<na>", "nat"}
"""What stands for a cell without a value, in lower case."""
PAIRS = (
    ("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("off", "on"), ("nein", "ja"), ("n", "j"),
    ("non", "oui"), ("n", "o"), ("no", "sí"), ("no", "si"), ("n", "s"),
)  # fmt: skip
"""Words for false and true, in lower case."""
_WRITINGS = [(decimal, thousands) for thousands in ("", ",", ".", " ", "\u00a0", "\u202f", "'") for decimal in ".,"]
_NUMBER_LIKE = re.compile(r"[-+]?[\d.,' \u00a0\u202f]*\d[\d.,' \u00a0\u202f]*([eE][-+]?\d+)?")
_CODE = re.compile(r"0\d+")
_IDENTIFIER = re.compile(r"(.*[_\- ])?(id|ids|key|uid|uuid|guid|nr|no|number|code)|.*[a-z]ID", re.ASCII)
_ID_ROWS = 100
"""So many rows with a whole number of its own in each are numbered, not measured, unless the user says otherwise."""
_EXACT = 2**53


@dataclass(frozen=True)
class Writing:
    """How numbers are written: the decimal sign, and what may stand between thousands (empty for nothing)."""

    decimal: str = "."
    thousands: str = ""

    def number(self, cell: str) -> float | None:
        """The number in a cell.

        Args:
            cell: text.

        Returns:
            The number, None where there is none.
        """
        number: float | None = number_of(cell, self.decimal, self.thousands)
        return number

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say about it."""
        notes = ["numbers have decimal commas"] if self.decimal == "," else []
        if self.thousands:
            named = {",": "commas", ".": "points", "'": "apostrophes"}.get(self.thousands, "spaces")
            notes.append(f"{named} stand between thousands")
        return tuple(notes)


def writing_of(name: str, columns: Sequence[Sequence[str]], asked: Data, separator: str = ",") -> Writing:
    """How the numbers in these columns are written: the way in which most cells are numbers.

    Args:
        name: of the data, for messages.
        columns: cells of each, as text.
        asked: ``decimal``, if it is given.
        separator: of the table's cells; between commas a point is a decimal point.

    Returns:
        The decimal sign, and the one between thousands.

    Raises:
        UserError: where two ways are as good and give other numbers, unless ``asked.decimal`` tells.
    """
    likely = sorted({cell for cells in columns for cell in cells if re.search(r"[.,' \u00a0\u202f]", cell)})
    likely = [cell for cell in likely if _NUMBER_LIKE.fullmatch(cell)]
    ways = [way for way in _WRITINGS if way[0] != way[1] and asked.decimal in (None, way[0])]
    read = {way: [number_of(cell, *way) for cell in likely] for way in ways}
    count = {way: sum(number is not None for number in read[way]) for way in ways}
    best = [way for way in ways if count[way] == max(count.values())]
    first = best[0]
    for other in best[1:]:
        if first[0] == "." and separator == ",":
            break  # between commas a point is a decimal point
        differing = [k for k in range(len(likely)) if read[first][k] != read[other][k]]
        if differing:
            k = differing[0]
            one, two = (read[way][k] for way in (first, other))
            raise UserError(
                f"{name}: {likely[k]!r} may be {one:g} or {two:g}: say which with --decimal '{first[0]}' or "
                f"--decimal '{other[0]}'"
            )
    return Writing(*first)


def kinds_of(cells: Cells, writing: Writing, asked: Data) -> list[dict[str, Any]]:
    """What each column of a table holds that can say something.

    Args:
        cells: of all rows.
        writing: how numbers are written.
        asked: ``keep`` for numbers that look like identifiers, ``date_order`` for dates.

    Returns:
        For each column its name, kind (``number``, ``integer``, ``boolean``, ``date``, ``category``) and how it is read, as
        ``edgepriv.device.table`` has it. Columns without a value, or with one value alone, are left out.

    Raises:
        UserError: for a column that may be an identifier, that mixes numbers with words, that has the title of another, and for
            dates that may be read in two ways.
    """
    columns = []
    for place, title in enumerate(cells.titles):
        texts = cells.rows[:, place].tolist()
        known = [text for text in texts if text.lower() not in WITHOUT_VALUE]
        if not known or (len(set(known)) == 1 and len(known) == len(texts)):
            continue
        if cells.titles.count(title) > 1:
            raise UserError(
                f"{cells.path}: {cells.titles.count(title)} columns are called {title!r}: a row is read by the names of its "
                "columns, so give each a name of its own"
            )
        columns.append({"name": title, "place": cells.places[place]} | _kind(cells, place, known, writing, asked))
    return columns


def _kind(cells: Cells, place: int, known: list[str], writing: Writing, asked: Data) -> dict[str, Any]:
    different = set(known)
    lowered = {text.lower() for text in different}
    pair = next((pair for pair in PAIRS if lowered <= set(pair)), None)
    if pair is not None:
        return {"kind": "boolean", "words": list(pair)}
    numbers = {text: writing.number(text) for text in different}
    if None not in numbers.values() and not any(map(_CODE.fullmatch, different)):
        values = [number for number in numbers.values() if number is not None]
        if set(values) <= {0, 1}:
            return {"kind": "boolean", "words": ["0", "1"]}
        if all(value == int(value) and abs(value) < _EXACT for value in values):
            _refuse_identifier(cells, place, known, asked)
            return {"kind": "integer"}
        return {"kind": "number"}
    order = _date_order(cells, place, different, asked)
    if order is not None:
        return {"kind": "date", "order": order}
    title = cells.titles[place]
    for what, is_one in (("numbers", lambda text: numbers[text] is not None), ("dates", _is_a_date)):
        _refuse_mixed(cells, place, known, what, is_one)
    if len(different) > max(FEW, len(known) / 2):
        raise UserError(
            f"{cells.path}: column {title!r} has {len(different):,} different values in {len(known):,} rows, as names and "
            f"identifiers have, from which nothing can be learnt: leave it out with --drop {_quoted(title)}"
        )
    return {"kind": "category"}


def _refuse_identifier(cells: Cells, place: int, known: list[str], asked: Data) -> None:
    title = cells.titles[place]
    if title in (asked.keep or ()):
        return
    named, different = _IDENTIFIER.fullmatch(title) or _IDENTIFIER.fullmatch(title.lower()), len(set(known))
    each_its_own = different == len(known) and len(known) >= (FEW if named else _ID_ROWS)
    if not each_its_own and not (named and different > max(FEW, len(known) / 2)):
        return
    what = (
        "a whole number of its own in each row" if different == len(known) else f"{different:,} different whole numbers"
    )
    raise UserError(
        f"{cells.path}: column {title!r} has {what}, as an identifier has: leave it out with --drop {_quoted(title)}, or "
        f"take it for a measurement with --keep {_quoted(title)}"
    )


def _refuse_mixed(cells: Cells, place: int, known: list[str], what: str, is_one: Callable[[str], bool]) -> None:
    """Where most cells are of one kind, the others are mistakes, or ways to say that there is no value."""
    others = [text for text in known if not is_one(text)]
    if not others or len(others) > len(known) / 2:
        return
    title, row = cells.titles[place], cells.rows[:, place].tolist().index(others[0])
    more = f" (and {len(others) - 1:,} cells more)" if len(others) > 1 else ""
    raise UserError(
        f"{cells.path}: line {cells.lines[row]}, column {title!r} holds {others[0]!r}{more} among {what}: correct it, leave "
        f"the cell empty where there is no value, or leave the column out with --drop {_quoted(title)}"
    )


def _is_a_date(text: str) -> bool:
    return any(date_of(text, order) is not None for order in ("YMD", "DMY", "MDY"))


def _date_order(cells: Cells, place: int, different: set[str], asked: Data) -> str | None:
    """The order in which all are dates, None where they are none."""
    fitting = [order for order in ("YMD", "DMY", "MDY") if all(date_of(text, order) is not None for text in different)]
    if asked.date_order is not None and len(fitting) > 1:
        fitting = [order for order in fitting if order == asked.date_order]
    if len(fitting) > 1:
        example = min(text for text in different)
        raise UserError(
            f"{cells.path}: the dates in column {cells.titles[place]!r}, such as {example!r}, may have the day or the month "
            "first: say which with --date-order DMY or --date-order MDY"
        )
    return fitting[0] if fitting else None


def _quoted(title: str) -> str:
    return title if re.fullmatch(r"[\w.-]+", title) else repr(title)
