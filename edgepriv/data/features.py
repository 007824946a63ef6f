"""The feature columns of a table: its cells, and the numbers that they are, if they are numbers."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgepriv.data.kinds import WITHOUT_VALUE, Writing, writing_of
from edgepriv.data.pixels import ROUNDING
from edgepriv.data.raw import Cells
from edgepriv.data.tables import Table
from edgepriv.errors import UserError
from edgepriv.recipe import Data


def features_of(table: Table, places: Sequence[int], label: int, asked: Data) -> tuple[np.ndarray, Cells, Writing]:
    """The features of a table.

    Args:
        table: its cells as text.
        places: positions of the features among its columns.
        label: position of the label.
        asked: how numbers are written; where ``asked.range`` is given, all features are to be numbers.

    Returns:
        float64 [N, columns] where every cell is a number, else the cells as objects; the cells; how numbers are written.

    Raises:
        UserError: for a cell that is no number where all are to be.
    """
    rows = np.array([[row[place] for place in places] for row in table.rows], dtype=object)
    writing = writing_of(str(table.path), list(rows.T), asked, table.separator)
    x = _numbers(rows, writing)
    in_range = x is not None and bool(x.min() >= -ROUNDING and x.max() <= 1 + ROUNDING)
    cells = Cells(
        table.path,
        tuple(table.titles[place] for place in places),
        rows,
        table.lines,
        tuple(places),
        len(table.titles),
        table.titled,
        table.titles[label],
        label,
        table.separator,
        in_range or asked.range is not None,
        frozenset(title for title, times in Counter(table.titles).items() if times > 1),
    )
    if asked.range is not None and x is None:
        refuse_text(cells, writing)
    return rows if x is None else x, cells, writing


def _numbers(rows: np.ndarray, writing: Writing) -> npt.NDArray[np.float64] | None:
    """None where a cell is no number."""
    x = np.empty(rows.shape)
    for place in range(rows.shape[1]):
        texts, where = np.unique(rows[:, place], return_inverse=True)
        numbers = [writing.number(text) for text in texts.tolist()]
        if None in numbers:
            return None
        x[:, place] = np.array(numbers, np.float64)[where]
    return x


def refuse_text(cells: Cells, writing: Writing | None = None) -> None:
    """Refuse a table that has a cell which is no number.

    Args:
        cells: of the features.
        writing: how numbers are written; None finds it out.

    Raises:
        UserError: that names the first such cell.
    """
    writing = writing or writing_of(str(cells.path), list(cells.rows.T), Data(), cells.separator)
    for row, line in zip(cells.rows, cells.lines, strict=True):
        for title, cell in zip(cells.titles, row.tolist(), strict=True):
            if cell.lower() in WITHOUT_VALUE:
                what = f"has no value ({cell!r})" if cell else "is empty"
                raise UserError(f"{cells.path}: line {line}, column {title!r} {what}: fill it in, or remove the line")
            if writing.number(cell) is None:
                raise UserError(
                    f"{cells.path}: line {line}, column {title!r} holds {cell!r}: every column but the label "
                    f"{cells.label!r} must be a number, as nothing says how this model takes anything else"
                )
