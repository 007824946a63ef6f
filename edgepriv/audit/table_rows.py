"""Perturbations of the rows of a table: moved to what a row can hold before they are counted, without leaving the budget.

Numbers and dates change, whole ones by whole steps. A category, a yes or no, and a cell without a value stay as they are: a
tenth of a category is no row that a device could be fed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepriv.data import TableEncoding

Bools = npt.NDArray[np.bool_]
Inputs = npt.NDArray[np.float32]

_ROUNDING = 1e-4  # of a step
_SHARES = (*np.linspace(1.0, 0.8, 21), *np.linspace(0.7, 0.1, 7))  # of a perturbation's length


@dataclass(frozen=True, eq=False)
class TableRows:
    """``free``: bool [F], inputs that hold numbers or dates. ``levels``: float64 [F], into how many steps the range of a whole
    one is cut, 0 for others. ``missing``: int64 [F], the input that is 1 where this one's cell has no value, -1 for none."""

    free: Bools
    levels: npt.NDArray[np.float64]
    missing: npt.NDArray[np.int64]

    @classmethod
    def of(cls, encoding: TableEncoding | None) -> "TableRows | None":
        """The rows that an encoding makes.

        Args:
            encoding: of a table; None without one.

        Returns:
            What may change in its inputs, None without an encoding.
        """
        if encoding is None:
            return None
        return cls(encoding.measured, encoding.levels.astype(np.float64), encoding.missing)

    def movable(self, norm: str, eps: float) -> Bools:
        """What may change within a budget: a whole number only where that is one step at least, in either norm.

        Args:
            norm: "linf" or "l2".
            eps: radius, of inputs in [0, 1].

        Returns:
            bool [F].
        """
        return np.asarray(self.free & ((self.levels == 0) | (eps * self.levels + _ROUNDING >= 1)))

    def nearest(self, x: Inputs, moved: Inputs, norm: str, eps: float) -> Inputs:
        """The nearest rows of a table whose distance from ``x`` is at most ``eps``.

        Where rounding leads out of an L2 ball, a perturbation is made shorter before it is rounded.

        Args:
            x: float32 [n, F] in [0, 1].
            moved: [n, F], what a perturbation made of them.
            norm: "linf" or "l2".
            eps: radius, of inputs in [0, 1].

        Returns:
            float32 [n, F] in [0, 1]; cells that cannot change are those of ``x``.
        """
        asked = np.where(self._held(x), moved, x)
        whole = self.levels > 0
        home = x.astype(np.float64) * self.levels
        if norm == "linf":
            low, high = np.ceil(home - eps * self.levels - _ROUNDING), np.floor(home + eps * self.levels + _ROUNDING)
            steps = np.where(low <= high, np.clip(np.rint(asked * self.levels), low, high), home)
            return self._rows(x, asked, np.where(whole, steps, 0))
        result, waiting = x.copy(), np.ones(len(x), np.bool_)
        for share in _SHARES:
            shorter = x + np.float32(share) * (asked - x)
            tried = self._rows(x, shorter, np.rint(shorter * self.levels))
            inside = np.linalg.norm((tried - x).astype(np.float64), axis=1) <= eps * (1 + 1e-5)
            result[waiting & inside] = tried[waiting & inside]
            waiting &= ~inside
        return result

    def _held(self, x: Inputs) -> Bools:
        """bool [n, F]: numbers and dates whose cells have a value."""
        gone = np.where(self.missing >= 0, x[:, np.maximum(self.missing, 0)] == 1, False)
        return np.asarray(self.free & ~gone)

    def _rows(self, x: Inputs, asked: Inputs, steps: npt.NDArray[np.float64]) -> Inputs:
        whole = self.levels > 0
        values = np.where(whole, steps / np.where(whole, self.levels, 1), asked)
        return np.where(asked == x, x, np.clip(values, 0, 1)).astype(np.float32)
