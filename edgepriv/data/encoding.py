"""How the rows of a table become inputs of a network: what its columns hold, and what was learnt about them from members.

The record goes into the checkpoint, the manifest and the file that ships, so that training, audit and device read a row in the
same way, by the same code (``edgepriv.device.table``). It holds no record of a person: what fewer than ``RARE`` members share
is not in it. A category of fewer is pooled with others of its kind, a range ends where so many members lie at or beyond it, and
its ends and means are rounded.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepriv.data.dataset import Dataset
from edgepriv.data.kinds import WITHOUT_VALUE, Writing, kinds_of, writing_of
from edgepriv.data.labels import differing_in_case
from edgepriv.data.raw import Cells, Raw
from edgepriv.data.same_columns import joined
from edgepriv.device import table as device
from edgepriv.device.table import TableError, slots
from edgepriv.errors import UserError
from edgepriv.recipe import Data

RARE = 10
"""Members that must share a category, a missing cell or the end of a range for the record to hold it. Of small data sets one
member in a hundred, and one more, must lie at or beyond the end of a range."""
_KINDS = {
    "number": "numbers",
    "integer": "whole numbers",
    "boolean": "yes or no",
    "date": "dates, in days",
    "category": "categories",
}
_SHOWN = 8


@dataclass(frozen=True)
class TableEncoding:
    """``record``: as JSON, see ``edgepriv.device.table``; of every column its name, kind, and what was learnt from members."""

    record: dict[str, Any]

    @property
    def titles(self) -> tuple[str, ...]:
        """Of the columns that are read, in order."""
        return tuple(column["name"] for column in self.record["columns"])

    @cached_property
    def features(self) -> tuple[tuple[dict[str, Any], str], ...]:
        """Of each input: its column, and what it stands for there."""
        return tuple((column, slot) for column in self.record["columns"] for slot in slots(column))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """``age``, ``sex = Female``, ``age missing``, ..."""
        return tuple(
            column["name"] if slot == "value" else f"{column['name']} {slot}" for column, slot in self.features
        )

    @cached_property
    def measured(self) -> npt.NDArray[np.bool_]:
        """bool [F]: inputs that hold a number or a date, not a category, a yes or no, or that there is no value."""
        return np.array(
            [slot == "value" and column["kind"] in ("number", "integer", "date") for column, slot in self.features]
        )

    @cached_property
    def levels(self) -> npt.NDArray[np.float32]:
        """float32 [F]: into how many steps whole numbers and dates cut the range of an input; 0 where any number may stand."""
        return np.array(
            [
                column["high"] - column["low"] if slot == "value" and column["kind"] in ("integer", "date") else 0
                for column, slot in self.features
            ],
            np.float32,
        )

    @cached_property
    def missing(self) -> npt.NDArray[np.int64]:
        """int64 [F]: which input is 1 where this one's cell has no value, -1 for none."""
        names = [(column["name"], slot) for column, slot in self.features]
        places = {name: place for place, (name, slot) in enumerate(names) if slot == "missing"}
        return np.array([places.get(name, -1) if slot == "value" else -1 for name, slot in names], np.int64)

    @property
    def fixed(self) -> tuple[int, ...]:
        """Inputs that no perturbation changes: all but numbers and dates."""
        return tuple(np.flatnonzero(~self.measured).tolist())

    @property
    def normalisation(self) -> dict[str, tuple[float, ...]]:
        """``mean`` and ``std`` of each input, as a network takes it: of the members for numbers, dates and yes or no."""
        pairs = [(column["mean"], column["std"]) if slot == "value" else (0.0, 1.0) for column, slot in self.features]
        return {"mean": tuple(mean for mean, _ in pairs), "std": tuple(std for _, std in pairs)}

    def encoded(self, cells: Cells) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
        """A table as inputs.

        Args:
            cells: with the columns that the encoding reads, in any order.

        Returns:
            float32 [N, F] in [0, 1], and what there is to say.

        Raises:
            UserError: for a table that lacks a column, or has a cell that cannot be read.
        """
        absent = [title for title in self.titles if title not in cells.titles]
        if absent:
            shown = ", ".join(map(repr, absent[:_SHOWN])) + (", ..." if len(absent) > _SHOWN else "")
            raise UserError(f"{cells.path} has no column {shown}, which the model was trained on")
        twice = next((title for title in self.titles if title in cells.duplicated), None)
        if twice is not None:
            raise UserError(
                f"{cells.path}: several columns are called {twice!r}, and the model was trained on one of them"
            )
        places = [cells.titles.index(title) for title in self.titles]
        try:
            x, notes = device.encoded(self.record, cells.rows[:, places], cells.lines)
        except TableError as error:
            raise UserError(f"{cells.path}: {error}") from error
        return x, tuple(notes)

    def reading(self, asked: Data) -> Data:
        """How another file of such a table is to be read.

        Args:
            asked: by the user.

        Returns:
            ``asked`` with what is known of such a table: which column is the label, unless ``asked`` names one, and how
            numbers are written.
        """
        own = asked.subgroups if asked.subgroups in self.titles else None  # a column that is an input stays one
        known = {
            "decimal": self.record["decimal"],
            "drop": None,
            "keep": None if own is None else (own,),
            "range": None,
        }
        label = self.record["label"] if self.record["titled"] else str(self.record["label_place"])
        return asked.model_copy(update=known | {"label": label if asked.label is None else asked.label})

    def described(self, cells: Cells) -> list[str]:
        """What the columns of a table hold, which inputs they became, and which columns became none.

        Args:
            cells: of the table.

        Returns:
            Sentences.
        """
        by_kind: dict[str, list[str]] = {}
        for column in self.record["columns"]:
            of = repr(column["name"])
            if column["kind"] == "category":
                of += f" ({len(column['categories'])}{' and other' if column['other'] else ''})"
            by_kind.setdefault(column["kind"], []).append(of)
        kinds = "; ".join(f"{_KINDS[kind]}: {_listed(names)}" for kind, names in by_kind.items())
        of_columns, of_inputs = (
            f"{count} {what}{'s' if count > 1 else ''}"
            for count, what in ((len(self.titles), "column"), (len(self.features), "input"))
        )
        lines = [f"{of_columns} became {of_inputs}, by the members alone: {kinds}"]
        gaps = [repr(column["name"]) for column in self.record["columns"] if column["missing"]]
        if gaps:
            lines.append(f"cells without a value have an input of their own: {_listed(gaps)}")
        for column in self.record["columns"]:
            for alike in differing_in_case(column.get("categories", ())):
                shown = " and ".join(map(repr, alike))
                lines.append(
                    f"column {column['name']!r}: {shown} differ in upper and lower case alone, and are categories of their own"
                )
        unread = [place for place, title in enumerate(cells.titles) if title not in self.titles]
        same = [repr(cells.titles[place]) for place in unread if _is_nearly_constant(cells, place)]
        varied = [repr(cells.titles[place]) for place in unread if not _is_nearly_constant(cells, place)]
        if same:
            lines.append(f"left out, since all members, or all but a few, have the same there: {_listed(same)}")
        if varied:
            lines.append(f"left out, since too few members share any value there: {_listed(varied)}")
        return lines


def fitted(dataset: Dataset, members: npt.NDArray[np.int64]) -> Dataset:
    """A data set with the inputs of its rows, by an encoding that is learnt from the members alone.

    Args:
        dataset: any; one that holds inputs already is returned as it is.
        members: int64 [m], positions of the members in it.

    Returns:
        The data set with its encoding.

    Raises:
        UserError: where a column cannot be read, or none is left.
    """
    return (
        dataset if dataset.cells is None else encode(dataset, learnt(dataset.cells, members, dataset.asked or Data()))
    )


def encode(dataset: Dataset, encoding: TableEncoding) -> Dataset:
    """A data set with its rows encoded as a record says.

    Args:
        dataset: with the cells of a table.
        encoding: that is known already.

    Returns:
        The data set with its inputs and the encoding.

    Raises:
        UserError: where the rows do not fit the encoding.
    """
    assert dataset.cells is not None
    x, notes = encoding.encoded(dataset.cells)
    remarks = (*encoding.described(dataset.cells), *notes)
    return replace(dataset, x=x, encoding=encoding, cells=None, notes=dataset.notes + remarks)


def encoded_members(
    raws: Sequence[Raw], encoding: TableEncoding | None, asked: Data
) -> tuple[list[Raw], TableEncoding]:
    """Members and non-members from two tables, with their inputs.

    Args:
        raws: members, then non-members.
        encoding: of the rows; None learns it from the members.
        asked: how the tables are read.

    Returns:
        The two in the same order, and the encoding.

    Raises:
        UserError: for what is no table, and for tables of other columns.
    """
    tables = [raw.cells for raw in raws if raw.cells is not None]
    if len(tables) < len(raws):
        raise UserError("members and non-members must both be tables, or both hold the inputs of the model")
    if encoding is None:
        encoding = learnt(joined(*tables), np.arange(len(tables[0].rows)), asked)
    both = []
    for raw, cells in zip(raws, tables, strict=True):
        x, notes = encoding.encoded(cells)
        remarks = [f"{cells.path.name}: {note}" for note in notes]
        both.append(replace(raw, x=x, notes=(*raw.notes, *encoding.described(cells), *remarks), cells=None))
    return both, encoding


def learnt(cells: Cells, members: npt.NDArray[np.int64], asked: Data) -> TableEncoding:
    """What some rows of a table tell, whose kinds of columns are those of all its rows.

    Args:
        cells: of all rows.
        members: int64 [m], positions of the rows to learn from.
        asked: how the table is read.

    Returns:
        The encoding.

    Raises:
        UserError: where a column cannot be read, or none differs among enough of these rows.
    """
    writing = writing_of(str(cells.path), list(cells.rows.T), asked, cells.separator)
    kinds = kinds_of(cells, writing, asked)
    place = {title: position for position, title in enumerate(cells.titles)}
    columns = []
    for kind in kinds:
        own = cells.rows[members, place[kind["name"]]].tolist()
        column = _categories(kind, own) if kind["kind"] == "category" else _range(kind, own, writing)
        if column is not None:
            columns.append(column)
    if not columns:
        raise UserError(f"{cells.path}: no column of it differs among enough members ({RARE}) to be learnt from")
    return TableEncoding(
        {
            "version": 1,
            "columns": columns,
            "decimal": writing.decimal,
            "thousands": writing.thousands,
            "missing": sorted(WITHOUT_VALUE),
            "titled": cells.titled,
            "width": cells.width,
            "label": cells.label,
            "label_place": cells.label_place,
        }
    )


def _categories(kind: dict[str, Any], texts: Sequence[str]) -> dict[str, Any] | None:
    """None for a column of which no two inputs would be left."""
    counts = Counter("" if text.lower() in WITHOUT_VALUE else text for text in texts)
    without = counts.pop("", 0)
    kept = sorted(text for text, count in counts.items() if count >= RARE)
    pooled = sum(count for count in counts.values() if count < RARE)
    missing, other = without >= RARE, pooled + (without if without < RARE else 0) >= RARE
    if len(kept) + missing + other < 2:
        return None
    return kind | {"categories": kept, "missing": missing, "other": other}


def _range(kind: dict[str, Any], texts: Sequence[str], writing: Writing) -> dict[str, Any] | None:
    """None for a column that holds one value alone, but for fewer members than the record may tell of."""
    read = device.value_of({"decimal": writing.decimal, "thousands": writing.thousands}, kind)
    of_text = {text: read(text) for text in set(texts) if text.lower() not in WITHOUT_VALUE}
    values = np.sort([value for text in texts if (value := of_text.get(text)) is not None])
    missing = len(texts) - len(values) >= RARE
    rank = min(RARE, 1 + len(texts) // 100)
    if len(values) < 2 * rank:
        return None
    low, high = float(values[rank - 1]), float(values[-rank])
    if low == high and not missing:
        return None
    if kind["kind"] == "boolean":
        low, high = 0.0, 1.0
    elif low == high:  # that there is a value is all that the column tells: nothing is measured
        return _categories({"name": kind["name"], "place": kind["place"], "kind": "category"}, texts)
    grain = _grain(high - low, whole=kind["kind"] in ("integer", "date"))
    low, high = _on(np.floor(low / grain), grain), _on(np.ceil(high / grain), grain)
    if low == high:  # what differs is beyond the digits of a float64
        return None
    within = np.clip(values, low, high)
    fill = _on(np.rint(within.mean() / grain), grain)
    inputs = (within - low) / (high - low)
    mean, std = (float(f"{value:.3g}") for value in (inputs.mean(), inputs.std() or 1.0))
    return kind | {"low": low, "high": high, "fill": fill, "missing": missing, "mean": mean, "std": std}


def _is_nearly_constant(cells: Cells, place: int) -> bool:
    """Whether nine in ten cells of a column hold the same, or nothing."""
    counts = Counter("" if text.lower() in WITHOUT_VALUE else text for text in cells.rows[:, place].tolist())
    return max(counts.values()) >= 0.9 * len(cells.rows)


def _grain(width: float, *, whole: bool) -> float:
    """A power of ten, a hundredth to a thousandth of a range; of whole numbers 1 at least."""
    grain = 10.0 ** (np.floor(np.log10(width)) - 2)
    return float(max(grain, 1.0) if whole else grain)


def _on(steps: float, grain: float) -> float:
    """So many grains, as the decimal number nearest to it: 3 of 0.1 are 0.3."""
    return float(round(float(steps) * grain, max(0, -round(float(np.log10(grain))))))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
