"""Tables in Apache Parquet, read by pyarrow, which edgepriv does not bring along."""

import unicodedata
from pathlib import Path
from typing import Any

from edgepriv.data.tables import Table
from edgepriv.errors import UserError


def parquet_table(path: Path) -> Table:
    """The cells of a Parquet file as the texts that a CSV file of it would hold.

    Args:
        path: of the file.

    Returns:
        The table; its lines are the rows, from 1.

    Raises:
        UserError: without pyarrow; where the file cannot be read, is empty, or has a column of lists or records.
    """
    try:
        import pyarrow  # type: ignore[import-not-found]
        import pyarrow.parquet  # type: ignore[import-not-found]
    except ImportError:
        raise UserError(
            f"{path}: Parquet files are read by pyarrow, which is not installed: pip install pyarrow, or save the table as CSV"
        ) from None
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        read = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from error
    nested = [field.name for field in read.schema if pyarrow.types.is_nested(field.type)]
    if nested:
        raise UserError(f"{path}: column {nested[0]!r} holds {read.schema.field(nested[0]).type}, not one value a row")
    if not read.num_rows or not read.num_columns:
        raise UserError(f"{path}: there are no examples in it")
    columns = [[_text(value) for value in column.to_pylist()] for column in read.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    titles = [unicodedata.normalize("NFC", name) for name in read.column_names]
    return Table(path, titles, rows, list(range(1, len(rows) + 1)))


def _text(value: Any) -> str:
    """As a CSV file holds it: nothing where there is no value, dates as ISO 8601 says."""
    if value is None:
        return ""
    return value.isoformat() if hasattr(value, "isoformat") else unicodedata.normalize("NFC", str(value).strip())
