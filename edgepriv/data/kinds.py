"""What the columns of a table of text hold: numbers, dates, yes and no, or categories; and how its numbers are written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgepriv.data.doubtful import ORDERS, Column, is_date
from edgepriv.data.labels import MISSING
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
WRITINGS = [(decimal, thousands) for thousands in ("", ",", ".", " ", "\u00a0", "\u202f", "'") for decimal in ".,"]
_NUMBER_LIKE = re.compile(r"[-+]?[\d.,' \u00a0\u202f]*\d[\d.,' \u00a0\u202f]*([eE][-+]?\d+)?")
_CODE = re.compile(r"0\d+")
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
    ways = [way for way in WRITINGS if way[0] != way[1] and asked.decimal in (None, way[0])]
    read = {way: [number_of(cell, *way) for cell in likely] for way in ways}
    count = {way: sum(number is not None for number in read[way]) for way in ways}
    best = [way for way in ways if count[way] == max(count.values())]
    first = best[0]
    for other in best[1:]:
        if first[0] == "." and separator == ",":
            break  # between commas a point is a decimal point
        pairs = list(zip(likely, read[first], read[other], strict=True))
        for cell, one, two in pairs:
            if one is None or two is None or one == two:
                continue
            raise UserError(
                f"{name}: {cell!r} may be {one:g} or {two:g}: say which with --decimal '{first[0]}' or "
                f"--decimal '{other[0]}'"
            )
        alone = [
            next((cell for cell, *ways in pairs if ways[k] is not None and ways[1 - k] is None), None) for k in (0, 1)
        ]
        if None not in alone:
            raise UserError(
                f"{name}: numbers are written in several ways, such as {alone[0]!r} and {alone[1]!r}: write all in one way"
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
        UserError: for a column that has the title of another, for dates that may be read in two ways, and for whatever
            ``doubtful.Column`` refuses.
    """
    columns = []
    for place, title in enumerate(cells.titles):
        texts = cells.rows[:, place].tolist()
        known = [text for text in texts if text.lower() not in WITHOUT_VALUE]
        if not known or (len(set(known)) == 1 and len(known) == len(texts)):
            continue
        if title in cells.duplicated:
            raise UserError(
                f"{cells.path}: several columns are called {title!r}: a row is read by the names of its columns, so give each "
                "a name of its own"
            )
        columns.append({"name": title, "place": cells.places[place]} | _kind(cells, place, known, writing, asked))
    return columns


def _kind(cells: Cells, place: int, known: list[str], writing: Writing, asked: Data) -> dict[str, Any]:
    column = Column(cells, place, known, cells.titles[place] in (asked.keep or ()))
    different = set(known)
    lowered = {text.lower() for text in different}
    pair = next((pair for pair in PAIRS if lowered <= set(pair)), None)
    if pair is not None:
        return {"kind": "boolean", "words": list(pair)}
    column.refuse_several_truths(lowered)
    column.refuse_persons()
    numbers = {text: writing.number(text) for text in different}
    if None not in numbers.values() and not any(map(_CODE.fullmatch, different)):
        values = [number for number in numbers.values() if number is not None]
        if set(values) <= {0, 1}:
            return {"kind": "boolean", "words": ["0", "1"]}
        if not all(value == int(value) for value in values):
            return {"kind": "number"}
        column.refuse_identifier()
        column.refuse_dates_as_numbers()
        return {"kind": "integer" if max(map(abs, values)) < _EXACT else "number"}
    order = _date_order(cells, place, different, asked)
    if order is not None:
        return {"kind": "date", "order": order}
    if None in numbers.values():
        column.refuse_other_writing([[number_of(text, *way) is not None for text in different] for way in WRITINGS])
    column.refuse_mixed("numbers", lambda text: numbers[text] is not None)
    column.refuse_mixed("dates", is_date)
    column.refuse_several_orders()
    column.refuse_unread()
    column.refuse_names()
    return {"kind": "category"}


def _date_order(cells: Cells, place: int, different: set[str], asked: Data) -> str | None:
    """The order in which all are dates, None where they are none."""
    fitting = [order for order in ORDERS if all(date_of(text, order) is not None for text in different)]
    if asked.date_order in fitting:
        return asked.date_order
    if len(fitting) > 1:
        example = min(text for text in different)
        raise UserError(
            f"{cells.path}: the dates in column {cells.titles[place]!r}, such as {example!r}, may have the day or the month "
            "first: say which with --date-order DMY or --date-order MDY"
        )
    return fitting[0] if fitting else None
