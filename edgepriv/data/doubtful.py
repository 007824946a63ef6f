"""Columns of a table that may mean something else than would be read: each is refused, with what settles it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from edgepriv.data.labels import FEW
from edgepriv.data.raw import Cells
from edgepriv.device.table import date_of
from edgepriv.errors import UserError

ORDERS = ("YMD", "DMY", "MDY")
_IDENTIFIER = re.compile(r"(.*[_\- ])?(id|ids|key|uid|uuid|guid|nr|no|number|code)|.*[a-z]ID", re.ASCII)
_ID = re.compile(r"(.*[_\- ])?(id|ids|key|uid|uuid|guid)|.*[a-z]ID", re.ASCII)
_WHOSE = re.compile(
    r"mrn|pid|(.*[_\- ])?(user|customer|client|employee|member|student|household|family|account|speaker|device|pat|subj)"
    r"[_\- ]?(id|no|nr|number|key|code)"
)
_ID_ROWS = 100
"""So many rows with a whole number of its own in each are numbered, not measured, unless the user says otherwise."""
_TRUTHS = {"0", "1", "no", "yes", "n", "y", "false", "true", "f", "t", "off", "on"}
_PLAINLY = {"no", "yes", "false", "true"}
_COMPACT = re.compile(r"(19|20)\d{6}")
_NUMBER = r"[-+\u2212]?\d[\d.,'\u00a0\u202f ]*"
_SIGN = r"[$\u20ac\u00a3\u00a5%\u2030\u00b0<>\u2264\u2265~\u2248\u00b1]"
_MEASURE = re.compile(rf"({_SIGN}?) ?{_NUMBER}(?<=[\d.]) ?({_SIGN}|\u00b0?[^\W\d_]{{1,5}}(?:/[^\W\d_]{{1,5}})?)?")
_MOMENTS = (
    re.compile(r"\d{1,2}[-/. ]{1,2}[^\W\d_]{3,9}\.?,?[-/. ]\d{2,4}(?: .*:.*)?"),
    re.compile(r"[^\W\d_]{3,9}\.? \d{1,2},? \d{4}(?: .*:.*)?"),
    re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{2}(?: .*:.*)?"),
    re.compile(r"\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?(?: ?[AaPp]\.?[Mm]\.?)?"),
    re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[T ].*:.*"),
)


@dataclass(frozen=True)
class Column:
    """One column of ``cells``, at ``place``. ``known``: its cells that hold a value, row by row. ``kept``: whether the user
    says that it is to be taken for what it looks like."""

    cells: Cells
    place: int
    known: list[str]
    kept: bool

    @property
    def title(self) -> str:
        """Of the column."""
        return self.cells.titles[self.place]

    @cached_property
    def different(self) -> list[str]:
        """The different texts, in order."""
        return sorted(set(self.known))

    def refuse_persons(self) -> None:
        """Refuse what may say whose record each is: it would be a feature, and records of one person would be on both sides.

        Raises:
            UserError: where the title is that of an identifier and values repeat.
        """
        different, known = len(self.different), len(self.known)
        if self.kept or different == known:
            return
        title = self.title.lower()
        if _WHOSE.fullmatch(title) or (different > FEW and (_ID.fullmatch(self.title) or _ID.fullmatch(title))):
            self._refuse(
                f"has {different:,} different values in {known:,} rows, and may say whose record each is: if it does, name it "
                f"with --groups {_quoted(self.title)}, else leave it out with {self._drop}, or make it a feature with "
                f"{self._keep}"
            )

    def refuse_identifier(self) -> None:
        """Refuse whole numbers, a new one in (nearly) each row.

        Raises:
            UserError: where they look like the numbers of records or persons.
        """
        if self.kept:
            return
        named = _IDENTIFIER.fullmatch(self.title) or _IDENTIFIER.fullmatch(self.title.lower())
        different, known = len(self.different), len(self.known)
        each_its_own = different == known and known >= (FEW if named else _ID_ROWS)
        if not each_its_own and not (named and different > max(FEW, known / 2)):
            return
        what = (
            "a whole number of its own in each row" if different == known else f"{different:,} different whole numbers"
        )
        self._refuse(
            f"has {what}, as an identifier has: leave it out with {self._drop}, or take it for a measurement with {self._keep}"
        )

    def refuse_dates_as_numbers(self) -> None:
        """Refuse whole numbers that are dates: between 20191231 and 20200101 lies one day, not 8,870.

        Raises:
            UserError: where all are dates from 1900 to 2099.
        """
        if self.kept or not all(map(_COMPACT.fullmatch, self.different)):
            return
        if all(date_of(f"{text[:4]}-{text[4:6]}-{text[6:]}", "YMD") is not None for text in self.different):
            self._refuse(
                f"holds whole numbers that are dates, such as {self.different[0]}: write them as 2020-01-31, or take them for "
                f"numbers with {self._keep}"
            )

    def refuse_mixed(self, what: str, is_one: Callable[[str], bool]) -> None:
        """Refuse a few words among many cells of another kind: they are mistakes, or ways to say that there is no value.

        Args:
            what: the kind, in the plural.
            is_one: whether a text is of it.

        Raises:
            UserError: where at least half of the cells are of the kind and others are not.
        """
        others = [text for text in self.known if not is_one(text)]
        if not others or len(others) > len(self.known) / 2:
            return
        row = self.cells.rows[:, self.place].tolist().index(others[0])
        more = f" (and {len(others) - 1:,} cells more)" if len(others) > 1 else ""
        raise UserError(
            f"{self.cells.path}: line {self.cells.lines[row]}, column {self.title!r} holds {others[0]!r}{more} among {what}: "
            f"correct it, leave the cell empty where there is no value, or leave the column out with {self._drop}"
        )

    def refuse_several_truths(self, lowered: set[str]) -> None:
        """Refuse yes and no in several ways, which would become categories of their own.

        Args:
            lowered: the different texts in lower case; they are no pair.

        Raises:
            UserError: where all say yes or no.
        """
        if not self.kept and lowered <= _TRUTHS and lowered & _PLAINLY:
            shown = ", ".join(map(repr, self.different[:4]))
            self._refuse(f"says yes and no in several ways ({shown}): write it in one way, such as yes and no")

    def refuse_several_orders(self) -> None:
        """Refuse dates of which some have the year first and others last.

        Raises:
            UserError: where all are dates, in several orders.
        """
        if not all(map(is_date, self.different)):
            return
        first = self.different[0]
        order = next(order for order in ORDERS if date_of(first, order) is not None)
        other = next((text for text in self.different if date_of(text, order) is None), self.different[-1])
        self._refuse(f"holds dates in several orders, such as {first!r} and {other!r}: write all in one")

    def refuse_other_writing(self, are_numbers: Sequence[Sequence[bool]]) -> None:
        """Refuse numbers that are written in another way than those of the other columns.

        Args:
            are_numbers: for each other way to write numbers, which of the different texts are numbers in it.

        Raises:
            UserError: where all are numbers in one of these ways.
        """
        if not self.kept and any(map(all, are_numbers)):
            example = next((text for text in self.different if re.search(r"[.,' ]", text)), self.different[0])
            self._refuse(
                f"holds numbers such as {example!r}, written in another way than those of other columns (decimal sign, or sign "
                f"between thousands): write all in one way, or take them for categories with {self._keep}"
            )

    def refuse_unread(self) -> None:
        """Refuse numbers with a unit, and dates and times in a form that is not read: each would become a category.

        Raises:
            UserError: where all of many different texts are such.
        """
        if self.kept or len(self.different) <= FEW:
            return
        example, otherwise = self.different[0], f"or take each for a category with {self._keep}"
        measures = [_MEASURE.fullmatch(text) for text in self.different]
        signs = {(match[1], match[2]) for match in measures if match}
        if None not in measures and len(signs) == 1 and signs != {("", None)}:
            self._refuse(
                f"holds numbers with a sign or a unit, such as {example!r}: write the numbers alone, {otherwise}"
            )
        if all(is_date(text) or any(pattern.fullmatch(text) for pattern in _MOMENTS) for text in self.different):
            self._refuse(
                f"holds dates or times in a form that is not read, such as {example!r}: write dates as 2020-01-31 or "
                f"2020-01-31 13:45, times as a number of hours, {otherwise}"
            )

    def refuse_names(self) -> None:
        """Refuse words that are nearly all different.

        Raises:
            UserError: where they look like names or identifiers.
        """
        different, known = len(self.different), len(self.known)
        if different > max(FEW, known / 2):
            self._refuse(
                f"has {different:,} different values in {known:,} rows, as names and identifiers have, from which nothing can "
                f"be learnt: leave it out with {self._drop}"
            )

    @property
    def _drop(self) -> str:
        return f"--drop {_quoted(self.title)}"

    @property
    def _keep(self) -> str:
        return f"--keep {_quoted(self.title)}"

    def _refuse(self, what: str) -> NoReturn:
        raise UserError(f"{self.cells.path}: column {self.title!r} {what}")


def is_date(text: str) -> bool:
    """Whether a text is a date in some order.

    Args:
        text: of a cell.

    Returns:
        True for 2020-01-31, 31.01.2020 and 01/31/2020.
    """
    return any(date_of(text, order) is not None for order in ORDERS)


def _quoted(title: str) -> str:
    return title if re.fullmatch(r"[\w.-]+", title) else repr(title)
