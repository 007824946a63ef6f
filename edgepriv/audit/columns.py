"""Which columns of a table a perturbation may change."""

import numpy as np

from edgepriv.audit.answers import Bools
from edgepriv.data import Dataset
from edgepriv.errors import UserError

_ROWS = 4096


def free_columns(dataset: Dataset, perturb: str) -> tuple[Bools | None, list[str]]:
    """What may change, bool [features], None for everything; and what there is to say about it.

    perturb: "all", or "continuous": only columns that hold something else than 0 and 1. Raises UserError where "continuous" is
    asked for and the examples are no table, or nothing is left to perturb.
    """
    if perturb == "all":
        return None, []
    if len(dataset.input_shape) != 1:
        raise UserError("--perturb continuous is for tables, and these examples are none: leave it out")
    free = np.zeros(dataset.input_shape, np.bool_)
    for start in range(0, len(dataset), _ROWS):
        rows = dataset.inputs(np.arange(start, min(start + _ROWS, len(dataset))))
        free |= ((rows != 0) & (rows != 1)).any(axis=0)
    fixed = int((~free).sum())
    if not free.any():
        raise UserError("--perturb continuous: every column holds only 0 and 1, so that nothing is left to perturb")
    what = f"{fixed} of {len(free)} columns hold only 0 and 1" if fixed else "no column holds only 0 and 1"
    return free, [
        f"{what}: perturbations {'leave these alone' if fixed else 'change all of them'} (--perturb continuous)"
    ]
