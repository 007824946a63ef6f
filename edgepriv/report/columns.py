"""What every table for the terminal is made of."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

WIDTH = 79
"""Columns of a terminal that tables and paragraphs keep to."""


def plain_table(
    title: str, text_columns: Sequence[str], number_columns: Sequence[str], *, compact: bool = False
) -> Table:
    """A table without rows.

    Args:
        title: above it; an empty string for none.
        text_columns: headings of columns of words, on the left.
        number_columns: headings of columns of numbers, which stand on the right of their column.
        compact: without the lines that cost columns; words break before numbers do.

    Returns:
        The table.
    """
    table = Table(title=title and Text(title), title_justify="left")
    if compact:
        table.box, table.pad_edge, table.collapse_padding = SIMPLE_HEAD, False, True
    for heading in text_columns:
        table.add_column(Text(heading), overflow="fold")
    for heading in number_columns:
        table.add_column(Text(heading), justify="right", overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add a row whose cells are text and no markup, so that a name like "[red]" stays a name.

    Args:
        table: changed in place.
        cells: one for each column.
    """
    table.add_row(*map(Text, cells))
