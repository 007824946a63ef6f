"""Which columns of a table a perturbation may change."""

import numpy as np

from edgepriv.audit.answers import Bools
from edgepriv.data import Dataset, TableEncoding
from edgepriv.errors import UserError

_ROWS = 4096


def free_columns(
    dataset: Dataset,
    perturb: str,
    *,
    raw: np.ndarray | None = None,
    span: tuple[float, float] | None = None,
) -> tuple[Bools | None, list[str]]:
    """Which columns of a table a perturbation may change.

    Of the rows of a table, which edgepriv encodes, only numbers and dates change, either way.

    Args:
        dataset: the examples.
        perturb: "all", or "continuous": only columns that hold something else than 0 and 1, which are numbers of the user's,
            not of the scaled inputs.
        raw: these numbers [N, features], where they are kept.
        span: else what 0 and 1 in the dataset stand for, where a range was stated; a column of its two ends alone is left
            alone, too.

    Returns:
        bool [features], None for everything; and what there is to say about it.

    Raises:
        UserError: where "continuous" is asked for and the examples are no table, or nothing is left to perturb.
    """
    if dataset.encoding is not None:
        return dataset.encoding.measured, _of_rows(dataset.encoding)
    if perturb == "all":
        return None, []
    if len(dataset.input_shape) != 1:
        raise UserError("--perturb continuous is for tables, and these examples are none: leave it out")
    free = np.zeros(dataset.input_shape, np.bool_)
    for start in range(0, len(dataset), _ROWS):
        part = slice(start, start + _ROWS)
        rows = dataset.inputs(part) if raw is None else raw[part]
        other = (rows != 0) & (rows != 1)
        if raw is None and span is not None:
            other &= ~_near(rows, span, 0) & ~_near(rows, span, 1)
        free |= other.any(axis=0)
    fixed = int((~free).sum())
    if not free.any():
        raise UserError("--perturb continuous: every column holds only 0 and 1, so that nothing is left to perturb")
    what = f"{fixed} of {len(free)} columns hold only 0 and 1" if fixed else "no column holds only 0 and 1"
    return free, [
        f"{what}: perturbations {'leave these alone' if fixed else 'change all of them'} (--perturb continuous)"
    ]


def _of_rows(encoding: TableEncoding) -> list[str]:
    names = [column["name"] for column in encoding.record["columns"] if column["kind"] in ("number", "integer", "date")]
    if not names:
        return ["no column holds numbers or dates, so that there is nothing to perturb: robustness is not measured"]
    left = len(encoding.titles) - len(names)
    return [
        f"perturbations change the {len(names)} columns of numbers and dates, by shares of the range of members, whole "
        f"numbers and days by whole steps; {left} columns of categories or yes and no, and cells without a value, "
        "stay as they are (what a changed category does is not measured)"
    ]


def _near(rows: np.ndarray, span: tuple[float, float], number: float) -> np.ndarray:
    """Where scaled float32 inputs are that number of the user's."""
    low, high = span
    return np.asarray(np.isclose(rows, (number - low) / (high - low), rtol=1e-6, atol=1e-7))
