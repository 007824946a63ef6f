"""Two tables of the same columns, which may stand in another order in each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgepriv.data.raw import Cells, Raw
from edgepriv.errors import UserError


def joined(first: Cells, second: Cells) -> Cells:
    """The rows of two tables of the same columns.

    Args:
        first: whose order of columns is kept.
        second: whose rows come last.

    Returns:
        One table.

    Raises:
        UserError: where one has a column that the other lacks.
    """
    rows = second.rows[:, _places(first, second)]
    return replace(
        first,
        rows=np.concatenate([first.rows, rows]),
        lines=first.lines + second.lines,
        duplicated=first.duplicated | second.duplicated,
    )


def as_in(trained_on: Cells, raws: Sequence[Raw]) -> list[Raw]:
    """What two files hold, with the columns of tables in the order of the table that a model was trained on.

    Args:
        trained_on: whose columns these are.
        raws: members, then non-members.

    Returns:
        The same two.

    Raises:
        UserError: for a table that lacks one of the columns.
    """
    return [in_one_order((Raw(trained_on.rows, raw.y, cells=trained_on), raw))[1] for raw in raws]


def in_one_order(raws: Sequence[Raw]) -> list[Raw]:
    """What two files hold, of two tables with the columns of the second in the order of the first.

    Args:
        raws: members, then non-members; ``x`` of a table is as wide as its cells.

    Returns:
        The same two.

    Raises:
        UserError: where one table has a column that the other lacks, or two that are called alike in another place.
    """
    first, second = (raw.cells for raw in raws)
    if first is None or second is None or first.titles == second.titles:
        return list(raws)
    places = _places(first, second)
    twice = next((title for title in first.titles if title in first.duplicated | second.duplicated), None)
    if twice is not None:
        raise UserError(
            f"{first.path} and {second.path} have their columns in another order, and several are called {twice!r}: give each "
            "a name of its own"
        )
    note = f"{second.path.name} has its columns in another order than {first.path.name}: they are read by their names"
    cells = replace(
        second, titles=first.titles, rows=second.rows[:, places], places=tuple(second.places[k] for k in places)
    )
    return [raws[0], replace(raws[1], x=raws[1].x[:, places], cells=cells, notes=(*raws[1].notes, note))]


def _places(first: Cells, second: Cells) -> list[int]:
    """Where the columns of one table stand in another."""
    if sorted(first.titles) != sorted(second.titles) or first.titled != second.titled:
        one, other = (sorted(set(a.titles) - set(b.titles)) for a, b in ((first, second), (second, first)))
        absent = (
            f"{second.path} has no column {one[0]!r}" if one else f"{first.path} has no column {(other or ['?'])[0]!r}"
        )
        raise UserError(f"{first.path} and {second.path} must have the same columns: {absent}")
    return [second.titles.index(title) for title in first.titles]
