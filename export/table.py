"""Rows of a table as people save them (text, missing cells, dates) -> the inputs of a model that was trained on such a table.

Needs numpy, nothing else. The model's metadata, and ``device.json``, hold the record of its table: the columns by name, how
each is read, and what training learnt about it from its members. edgepriv trains and audits through these very functions, and
``js/table.mjs`` does the same in JavaScript.

A column becomes one input in [0, 1] (``number``, ``integer``, ``date``, ``boolean``), or one input for each of its categories
(``category``), which is 1 for the row's own. What training did not know is defined: a category of which there was none, or
too few members, is ``other``, or no category where there is no such input; a number beyond the range of the members is the
end of it; a cell without a value has an input of its own where enough members lacked it, and counts as the members' mean.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

SEPARATORS = (",", ";", "\t", "|", " ")
KIND = "table"
"""Key of the metadata of an .onnx, and of device.json, that holds the record."""
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_DATE = re.compile(
    r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?:[T ](\d{2}):(\d{2})(?::(\d{2}(?:\.\d{1,9})?))?(?:Z|([-+])(\d{2}):?(\d{2}))?)?",
    re.ASCII,
)
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_SHOWN = 4


_KINDS = {"number", "integer", "date", "boolean", "category"}


class TableError(ValueError):
    """A table that does not fit the record; the message is one sentence without the file's name."""


def table_of(text: str) -> dict[str, Any]:
    """Read the record in a model's metadata.

    Args:
        text: JSON.

    Returns:
        The record.

    Raises:
        TableError: where it is none, or one of another version.
    """
    try:
        record: dict[str, Any] = json.loads(text)
        known = record["version"] == 1 and all(column["kind"] in _KINDS for column in record["columns"])
        count = width(record) if known else 0
    except (ValueError, KeyError, TypeError) as error:
        raise TableError("the record of the table cannot be read") from error
    if not count:
        raise TableError("the record of the table is of another version of edgepriv")
    return record


def number_of(cell: str, decimal: str = ".", thousands: str = "") -> float | None:
    """The number in a cell.

    Args:
        cell: its text, without space around it.
        decimal: "." or ",".
        thousands: what may stand between groups of three digits; empty for nothing.

    Returns:
        The number, None where there is none.
    """
    if thousands:
        grouped = rf"[-+]?[1-9]\d{{0,2}}({re.escape(thousands)}\d{{3}})+({re.escape(decimal)}\d+)?"
        if re.fullmatch(grouped, cell, re.ASCII):
            cell = cell.replace(thousands, "")
    if decimal == ",":
        if "." in cell:
            return None
        cell = cell.replace(",", ".")
    number = float(cell) if _PLAIN.fullmatch(cell) else None
    return number if number is not None and math.isfinite(number) else None  # not 1e999


def date_of(cell: str, order: str) -> float | None:
    """The date in a cell, with or without a time of day, which may say how far it is from UTC.

    Args:
        cell: its text, without space around it.
        order: of year, month and day: "YMD", "DMY" or "MDY".

    Returns:
        Days since 1970-01-01, with the time (in UTC, if the cell says how far from it) as a fraction; None where it is no date
        in this order.
    """
    match = _DATE.fullmatch(cell)
    if match is None:
        return None
    parts = dict(zip(order, (match[1], match[3], match[4]), strict=True))
    hour, minute, second = int(match[5] or 0), int(match[6] or 0), float(match[7] or 0)
    away = (60 * int(match[9] or 0) + int(match[10] or 0)) * (-1 if match[8] == "-" else 1)
    if len(parts["Y"]) != 4 or max(len(parts["M"]), len(parts["D"])) > 2 or hour > 23 or minute > 59 or second >= 60:
        return None
    try:
        day = datetime.date(int(parts["Y"]), int(parts["M"]), int(parts["D"])).toordinal() - _EPOCH
    except ValueError:
        return None
    return day + (hour * 3600 + (minute - away) * 60 + second) / 86400


def value_of(record: Mapping[str, Any], column: Mapping[str, Any]) -> Callable[[str], float | None]:
    """How a cell of a column of numbers, dates or truth values is read.

    Args:
        record: of the table.
        column: one of ``record["columns"]``, of another kind than "category".

    Returns:
        A function of the cell's text that returns a number, None for what it cannot read.
    """
    if column["kind"] == "date":
        return lambda cell: date_of(cell, column["order"])
    if column["kind"] == "boolean":
        pair = column["words"]
        return lambda cell: float(pair.index(cell.lower())) if cell.lower() in pair else _zero_or_one(cell, pair)
    return lambda cell: number_of(cell, record["decimal"], record["thousands"])


def _zero_or_one(cell: str, pair: Sequence[str]) -> float | None:
    """``1.0`` is 1 in a column of 0 and 1."""
    number = number_of(cell) if list(pair) == ["0", "1"] else None
    return number if number in (0, 1) else None


def slots(column: Mapping[str, Any]) -> list[str]:
    """What each of a column's inputs stands for.

    Args:
        column: one of the record's ``columns``.

    Returns:
        One name for each input, in order: "value", "= CATEGORY", "missing", "other".
    """
    if column["kind"] != "category":
        return ["value", *(["missing"] if column["missing"] else [])]
    more = [what for what in ("missing", "other") if column[what]]
    return [*(f"= {category}" for category in column["categories"]), *more]


def width(record: Mapping[str, Any]) -> int:
    """How many inputs the model has.

    Args:
        record: of the table.

    Returns:
        The number of inputs of all columns together.
    """
    return sum(len(slots(column)) for column in record["columns"])


def encoded(
    record: Mapping[str, Any], rows: Sequence[Sequence[str]], lines: Sequence[int] | None = None
) -> tuple[np.ndarray, list[str]]:
    """The model's inputs of rows of a table.

    Args:
        record: of the table.
        rows: n times the cells of the record's columns, in its order (see ``read_rows``); n at least 1.
        lines: where each row stands in its file, for messages; None counts them from 1.

    Returns:
        float32 [n, F] in [0, 1], and sentences about cells that training did not know.

    Raises:
        TableError: for a cell that cannot be read.
    """
    cells = np.array([list(row) for row in rows], dtype=object)
    columns, notes = [], []
    for place, column in enumerate(record["columns"]):
        texts, first, where = np.unique(cells[:, place], return_index=True, return_inverse=True)
        numbers = [(k + 1 if lines is None else lines[k]) for k in first.tolist()]
        inputs, remarks = _inputs(record, column, texts.tolist(), numbers)
        columns.append(inputs[where])
        for what, about in remarks:
            notes.append(
                f"column {column['name']!r}: {what} ({int(np.isin(where, about).sum()):,} of {len(cells):,} rows)"
            )
    return np.concatenate(columns, axis=1), notes


def _inputs(
    record: Mapping[str, Any], column: Mapping[str, Any], texts: Sequence[str], lines: Sequence[int]
) -> tuple[np.ndarray, list[tuple[str, list[int]]]]:
    """The inputs float32 [k, slots] of k different cells of a column, and remarks with the cells that they are about."""
    missing = [k for k, text in enumerate(texts) if text.lower() in record["missing"]]
    known = sorted(set(range(len(texts))) - set(missing))
    if column["kind"] == "category":
        return _choices(column, texts, known, missing)
    inputs = np.zeros((len(texts), len(slots(column))), np.float32)
    read = value_of(record, column)
    low, span = float(column["low"]), float(column["high"]) - float(column["low"])
    beyond = []
    for k in known:
        value = read(texts[k])
        if value is None:
            raise TableError(
                f"line {lines[k]}, column {column['name']!r} holds {texts[k]!r}, which is no {_what(column)}"
            )
        inputs[k, 0] = np.float32(min(max((value - low) / span, 0.0), 1.0))
        if not low <= value <= low + span:
            beyond.append(k)
    for k in missing:
        inputs[k, 0] = np.float32((float(column["fill"]) - low) / span)
        inputs[k, 1:] = 1
    remarks = []
    if beyond:
        ends = "those of the members" if column["kind"] == "date" else f"{column['low']:.12g} to {column['high']:.12g}"
        remarks.append((f"values beyond {ends} count as the nearest of these", beyond))
    if missing and not column["missing"]:
        remarks.append(("cells without a value count as the members' mean", missing))
    return inputs, remarks


def _choices(
    column: Mapping[str, Any], texts: Sequence[str], known: Sequence[int], missing: list[int]
) -> tuple[np.ndarray, list[tuple[str, list[int]]]]:
    """As ``_inputs``, of a column of categories: one input is 1, or none."""
    places = {category: place for place, category in enumerate(column["categories"])}
    inputs = np.zeros((len(texts), len(slots(column))), np.float32)
    strange = []
    for k in known:
        if texts[k] in places:
            inputs[k, places[texts[k]]] = 1
        else:
            strange.append(k)
            inputs[k, len(slots(column)) - column["other"] :] = 1
    for k in missing:
        if column["missing"]:
            inputs[k, len(places)] = 1
        else:
            inputs[k, len(slots(column)) - column["other"] :] = 1
    remarks = []
    if strange:
        shown = ", ".join(repr(texts[k]) for k in strange[:_SHOWN]) + (", ..." if len(strange) > _SHOWN else "")
        remarks.append((f"{shown} {_other(column)}", strange))
    if missing and not column["missing"]:
        remarks.append((f"cells without a value {_other(column)}", missing))
    return inputs, remarks


def _other(column: Mapping[str, Any]) -> str:
    return "count as 'other'" if column["other"] else "set none of the column's inputs"


def _what(column: Mapping[str, Any]) -> str:
    if column["kind"] == "date":
        written = {"YMD": "year-month-day", "DMY": "day.month.year", "MDY": "month/day/year"}
        return f"date ({written[column['order']]})"
    return f"{' or '.join(column['words'])}" if column["kind"] == "boolean" else "number"


def read_rows(text: str, record: Mapping[str, Any]) -> tuple[list[list[str]], list[int]]:
    """Find the cells of the record's columns in the text of a CSV file.

    Columns are found by their titles, in any order; others are passed over. A table that was trained on without titles is read
    by position; the label's column may be left out.

    Args:
        text: of the file.
        record: of the table.

    Returns:
        The cells row by row, in the order of the record's columns; and the line of each row, from 1.

    Raises:
        TableError: where a column is missing or there twice, or rows differ in length.
    """
    lines = lines_of(unicodedata.normalize("NFC", text))
    marks: Sequence[str] = SEPARATORS
    if lines and re.fullmatch(r"[Ss][Ee][Pp]=[^\w\r\n]\r?\n?", lines[0]):
        marks, lines[0] = lines[0][4], "\n"  # for spreadsheets
    wanted = [column["name"] for column in record["columns"]]
    tried = {mark: _first_cells(lines, mark) for mark in marks}
    if record["titled"]:
        mark = max(tried, key=lambda mark: sum(name in tried[mark] for name in wanted))
        titles = tried[mark]
        absent = [name for name in wanted if name not in titles]
        if absent:
            shown = ", ".join(map(repr, absent[:_SHOWN])) + (
                f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
            )
            raise TableError(
                f"the first line has no column {shown}: it must name the columns as the table that the model was trained on"
            )
        twice = next((name for name in wanted if titles.count(name) > 1), None)
        if twice is not None:
            raise TableError(f"{titles.count(twice)} columns are called {twice!r}")
        places = [titles.index(name) for name in wanted]
        count = len(titles)
    else:
        whole = record["width"]
        mark = min(tried, key=lambda mark: (abs(whole - len(tried[mark])), marks.index(mark)))
        count = len(tried[mark])
        if count not in (whole, whole - 1):
            raise TableError(f"rows have {count} cells, but the table that the model was trained on had {whole}")
        shift = int(record["label_place"]) if count < whole else whole
        places = [column["place"] - (column["place"] > shift) for column in record["columns"]]
    rows, numbers = [], []
    reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
    header = record["titled"]
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if header:
            header = False
            continue
        if len(cells) != count and not (len(cells) == count + 1 and not cells[-1]):
            raise TableError(f"line {reader.line_num} has {len(cells)} cells, the first {count}")
        rows.append([cells[place] for place in places])
        numbers.append(reader.line_num)
    return rows, numbers


def lines_of(text: str) -> list[str]:
    """The lines of a text as a CSV reader counts them: not ended by what Unicode calls line ends beside CR and LF.

    Args:
        text: any.

    Returns:
        Each with its end.
    """
    return list(io.StringIO(text, newline=""))


def _first_cells(lines: Sequence[str], mark: str) -> list[str]:
    """Of the first row that is not empty; a quoted cell may hold line ends."""
    rows = ([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark, skipinitialspace=True))
    return next((cells for cells in rows if any(cells)), [])


def text_of(content: bytes) -> tuple[str | None, bool]:
    """The text of a file, in Unicode (UTF-8, with its mark or without, or UTF-16 with it), else in Windows-1252.

    Args:
        content: bytes of the file.

    Returns:
        The text, None where it is none, letters with accents as one sign each; and whether it is Unicode.
    """
    marked = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            return unicodedata.normalize("NFC", content.decode(encoding)), encoding != "cp1252"
        except UnicodeDecodeError:
            continue
    return None, False
