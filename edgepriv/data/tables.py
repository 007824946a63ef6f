"""Tables of text, as spreadsheets and programs save them: separator, titles, rows of cells."""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgepriv.data.labels import MISSING
from edgepriv.device import table as device
from edgepriv.errors import UserError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}
_SAMPLE = 200
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}([.,' \u00a0\u202f]\d{3})+([.,]\d+)?")


@dataclass(frozen=True)
class Table:
    """``titles`` of the columns, and ``rows`` of as many cells, stripped. ``lines``: where each row stands in the file, from
    1. ``notes``: what was understood of the form, in sentences. ``separator``: of the cells; ``titled``: whether the file
    names the columns."""

    path: Path
    titles: list[str]
    rows: list[list[str]]
    lines: list[int]
    notes: tuple[str, ...] = ()
    separator: str = ","
    titled: bool = True

    def column(self, position: int) -> list[str]:
        """The cells of a column.

        Args:
            position: from 0.

        Returns:
            A text for each row.
        """
        return [row[position] for row in self.rows]


def read_table(path: Path, *, without_titles: bool, label: str | None = None) -> Table:
    """The cells of a table of text.

    Args:
        path: of the file.
        without_titles: take the positions of the columns for titles where there are none.
        label: title or position of a column, as the user wrote it; a first line that holds it as a title is one of titles.

    Returns:
        The table, with what was understood of its form in the notes.

    Raises:
        UserError: when it cannot be read, is empty or ragged, or has no titles.
    """
    text, notes = _text(path)
    text, declared = _without_declaration(text)
    separator = declared or _separator(text)
    try:
        reader = csv.reader(device.lines_of(text), delimiter=separator, strict=True, skipinitialspace=True)
        numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path} is not a readable CSV file: {error}") from error
    numbered = [(line, row) for line, row in numbered if any(row)]
    if not numbered:
        raise UserError(f"{path}: there are no examples in it")
    if (
        len(numbered[0][1]) > 2
        and not any(row[-1] for _, row in numbered)
        and len({len(row) for _, row in numbered}) == 1
    ):
        numbered = [(line, row[:-1]) for line, row in numbered]  # each line ends with a separator
    first, width = numbered[0][1], len(numbered[0][1])
    for line, row in numbered:
        if len(row) != width:
            raise UserError(f"{path}: line {line} has {len(row)} fields, the header {width}")
    if separator != ",":
        notes += (f"columns are separated by {SEPARATORS.get(separator, repr(separator))}",)
    titled = _is_title(label, first) or _begins_with_titles(first, [row for _, row in numbered[1:_SAMPLE]])
    if titled:
        titles, numbered = first, numbered[1:]
    elif without_titles:
        titles = [str(position) for position in range(width)]
        notes += ("there is no header line: columns are numbered from 0",)
    else:
        raise UserError(
            f"{path}: the first line holds data, not titles ({', '.join(first[:4])}{', ...' if width > 4 else ''}): add a "
            "line of titles, or say which column is the label by its position: --label -1 for the last, 0 for the first"
        )
    if not numbered:
        raise UserError(f"{path}: there are no examples in it")
    return Table(path, titles, [row for _, row in numbered], [line for line, _ in numbered], notes, separator, titled)


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    """UTF-8, UTF-16 that begins with its mark, as spreadsheets save "Unicode text", or Windows-1252, which is said."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except OSError as error:
        raise UserError(f"{path} is not a readable CSV file: {error}") from error
    text, is_unicode = device.text_of(content)
    if text is None or "\0" in text:
        raise UserError(f"{path} is not text: if it is a table, save it again as CSV in UTF-8")
    if is_unicode:
        return text, ()
    return text, ("the text is not UTF-8, and is read as Windows-1252 (which holds Latin-1)",)


def _without_declaration(text: str) -> tuple[str, str | None]:
    """The lines of the table, and the separator that a first line ``sep=;`` declares to spreadsheets; None without one."""
    match = re.match(r"[Ss][Ee][Pp]=([^\w\r\n])\r?\n", text)
    return (text, None) if match is None else ("\n" + text[match.end() :], match[1])


def _separator(text: str) -> str:
    """The one that cuts the first lines into equally many cells, most of them numbers."""
    sample = device.lines_of(text)[:_SAMPLE]
    best, most = ",", (0.0, 0.0, 0)
    for separator in SEPARATORS:
        rows = [row for row in csv.reader(sample, delimiter=separator, skipinitialspace=True) if any(row)]
        width, times = Counter(len(row) for row in rows).most_common(1)[0] if rows else (0, 0)
        if width < 2:
            continue
        cells = [cell.strip() for row in rows[1:] for cell in row]
        score = (times / len(rows), sum(map(is_numeric, cells)) / max(1, len(cells)), width)
        if score > most:
            best, most = separator, score
    return best


def _is_title(label: str | None, first: list[str]) -> bool:
    """Whether what the user named stands in the first line, and is no position."""
    if label is None or label.strip() not in first:
        return False
    return not (re.fullmatch(r"-?\d+", label.strip()) and -len(first) <= int(label) < len(first))


def _begins_with_titles(first: list[str], rest: list[list[str]]) -> bool:
    """Whether the first line has words where the lines below have numbers, or the numbers 0, 1, 2, ... of the columns."""
    if not rest:
        return not all(is_number(cell) for cell in first)
    positions = [str(position) for position in range(len(first))]
    if len(first) > 2 and first in (positions, ["", *positions[:-1]]):
        return True
    numeric = [place for place in range(len(first)) if all(is_numeric(row[place]) for row in rest)]
    if not numeric:  # titles of words are not among the words below them
        return not all(first[place] in {row[place] for row in rest} for place in range(len(first)))
    return not all(is_numeric(first[place]) and first[place] for place in numeric)


def is_number(cell: str) -> bool:
    """Whether a cell is a number as programs write it; not ``1_000``, which Python reads as one.

    Args:
        cell: text.

    Returns:
        True for ``nan`` and ``inf`` too.
    """
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def is_decimal_comma(cell: str) -> bool:
    """Whether a cell may be a number with a decimal comma: ``0,5``; ``1,000`` may be one or a thousand.

    Args:
        cell: text.

    Returns:
        True for digits on both sides of one comma.
    """
    return _DECIMAL_COMMA.fullmatch(cell) is not None


def is_numeric(cell: str) -> bool:
    """Whether a cell may stand in a column of numbers: a number in any writing, or nothing.

    Args:
        cell: text.

    Returns:
        True for what stands for no value (MISSING) too.
    """
    return is_number(cell) or cell.lower() in MISSING or is_decimal_comma(cell) or _GROUPED.fullmatch(cell) is not None
