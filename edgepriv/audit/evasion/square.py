"""Square (Andriushchenko et al. 2020): random search over squares of an image, which asks for scores and needs no gradients.

A table has no squares: there a window is a random set of columns, each with a sign of its own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Inputs = npt.NDArray[np.float32]
Scores = Callable[[Inputs], npt.NDArray[np.floating]]
Lead = npt.NDArray[np.floating]
Window = tuple[Any, ...]
"""What indexes the window of each example in an array [n, channels, ...]."""

QUERIES = 5000
SHARE = 0.8
"""Of the features in the first window."""
_SMALLER_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which a window is half as large


# The budget by its parts, as the algorithm is written down, and what an ensemble of attacks tells each of them.
def square(
    scores_of: Scores,
    x: Inputs,
    y: npt.NDArray[np.int64],
    *,
    norm: str,
    eps: float,
    rng: np.random.Generator,
    queries: int = QUERIES,
    free: npt.NDArray[np.bool_] | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Inputs:
    """Square Attack: the best perturbation found by random search.

    Args:
        scores_of: float32 [n, ...] in [0, 1] -> scores [n, K] of which the largest is the label's: logits, or logarithms of
            probabilities.
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the labels.
        norm: "linf" or "l2".
        eps: radius in input units.
        rng: of the windows and signs.
        queries: questions for each example; it is left once its label is wrong.
        free: bool, the shape of an example: what may change; None for everything.
        tick: called after each question.

    Returns:
        Perturbed inputs, float32 [n, ...].
    """
    shape = x.shape if x.ndim == 4 else (len(x), 1, int(np.prod(x.shape[1:])))
    may = None if free is None else free.reshape(shape[1:])
    search = SEARCHES[norm](x.reshape(shape), eps, rng, may)

    def asked(rows: npt.NDArray[np.intp], moved: Inputs) -> Lead:
        return _lead(scores_of(moved.reshape(-1, *x.shape[1:])), y[rows])

    def held(rows: npt.NDArray[np.intp], moved: Inputs) -> Inputs:
        return moved if may is None else np.where(may, moved, search.x[rows])

    index = np.arange(len(x))
    best = held(index, search.first())
    lead = asked(index, best)
    index = np.flatnonzero(lead <= 0)
    for query in range(queries):
        if not len(index):
            break
        moved = held(index, search.next(index, best[index], _share(query)))
        reached = asked(index, moved)
        better = reached > lead[index]
        best[index[better]], lead[index[better]] = moved[better], reached[better]
        if better.any():
            index = index[lead[index] <= 0]
        tick()
    return best.reshape(x.shape)


def _lead(scores: npt.NDArray[np.floating], y: npt.NDArray[np.int64]) -> Lead:
    """Of the largest other score over the label's [n]; > 0 where the label is wrong."""
    rows = np.arange(len(y))
    true, others = scores[rows, y], np.array(scores)
    others[rows, y] = -np.inf
    return np.asarray(others.max(axis=1) - true)


def _share(query: int) -> float:
    halvings = sum(query > after for after in _SMALLER_AFTER)
    return float(SHARE / 2**halvings)


class _Search:
    """``x``: float32 [n, channels, ...], one axis of features for a table, two for an image. ``free``: bool [channels, ...],
    what may change, None for everything."""

    def __init__(
        self, x: Inputs, eps: float, rng: np.random.Generator, free: npt.NDArray[np.bool_] | None = None
    ) -> None:
        self.x, self.eps, self.rng, self.free = x, np.float32(eps), rng, free
        self.inner = x.shape[2:]
        # Windows of a table are made of the columns that may change: on others they would be lost.
        self.columns = np.arange(self.inner[0]) if free is None or len(self.inner) > 1 else np.flatnonzero(free[0])
        self.axes = tuple(range(2, x.ndim))

    def signs(self, *shape: int) -> Inputs:
        return (2 * self.rng.integers(0, 2, shape) - 1).astype(np.float32)

    def window(self, share: float, smallest: int = 1, odd: bool = False) -> tuple[Window, tuple[int, ...]]:
        """A random window of that share of the features, and its own shape."""
        if len(self.inner) == 1:
            count = max(1, round(share * len(self.columns)))
            columns = self.rng.choice(self.columns, count, replace=False)
            return (slice(None), slice(None), columns), (count,)
        side = max(round(float(np.sqrt(share * np.prod(self.inner)))), smallest)
        side = min(side + (odd and side % 2 == 0), *self.inner)
        corner = [int(self.rng.integers(0, length - side + 1)) for length in self.inner]
        return (slice(None), slice(None), *(slice(low, low + side) for low in corner)), (side, side)


class _Box(_Search):
    """L-infinity: every feature at an end of its range."""

    def first(self) -> Inputs:
        n, channels = self.x.shape[:2]
        stripes = self.signs(n, channels, *(1,) * (len(self.inner) - 1), self.inner[-1])
        return np.clip(self.x + self.eps * stripes, 0, 1)

    def next(self, rows: npt.NDArray[np.intp], best: Inputs, share: float) -> Inputs:
        window, size = self.window(share)
        own = size if len(size) == 1 else (1, 1)
        moved = best.copy()
        moved[window] = np.clip(self.x[rows][window] + self.eps * self.signs(*best.shape[:2], *own), 0, 1)
        return moved


class _Ball(_Search):
    """L2: the length of the perturbation is moved from one window into another."""

    def first(self) -> Inputs:
        n, channels = self.x.shape[:2]
        delta = np.zeros_like(self.x)
        if len(self.inner) == 1:
            delta[:] = self.signs(*self.x.shape)
        else:
            side = max(1, min(self.inner) // 5)
            for top in range(0, self.inner[0] - side + 1, side):
                for left in range(0, self.inner[1] - side + 1, side):
                    tile = self._shape((side, side)) * self.signs(n, channels, 1, 1)
                    delta[:, :, top : top + side, left : left + side] = tile
        return self._within(self.x, delta)

    def next(self, rows: npt.NDArray[np.intp], best: Inputs, share: float) -> Inputs:
        x = self.x[rows]
        delta = best - x
        to, size = self.window(share, smallest=3, odd=True)
        away = self._elsewhere(size)
        both = np.zeros(x.shape[1:], np.bool_)
        both[to[1:]] = both[away[1:]] = True
        spent = self._squares(delta, whole=True)
        moved = self._squares(delta * both)
        new = self._shape(size) * self.signs(*x.shape[:2], *(size if len(size) == 1 else (1, 1)))
        old = delta[to]
        new = (new + old / np.maximum(np.sqrt(self._squares(old)), 1e-12)).astype(np.float32)
        length = np.sqrt(np.maximum(self.eps**2 - spent, 0) / x.shape[1] + moved)
        new = (new / np.maximum(np.sqrt(self._squares(new)), 1e-12) * length).astype(np.float32)
        delta[away] = 0
        delta[to] = new
        return self._within(x, delta)

    def _elsewhere(self, size: tuple[int, ...]) -> Window:
        """Another window of the same size."""
        if len(size) == 1:
            return slice(None), slice(None), self.rng.choice(self.columns, size[0], replace=False)
        corner = [int(self.rng.integers(0, length - side + 1)) for length, side in zip(self.inner, size, strict=True)]
        return (slice(None), slice(None), *(slice(low, low + side) for low, side in zip(corner, size, strict=True)))

    def _shape(self, size: tuple[int, ...]) -> Inputs:
        """Of length 1: for images two hills of opposite signs side by side; for tables all columns alike."""
        if len(size) == 1:
            return np.full(size, 1 / np.sqrt(size[0]), np.float32)
        side = size[0]
        hills = np.concatenate([_hill(side // 2, side), -_hill(side - side // 2, side)])
        hills /= np.sqrt((hills**2).sum())
        return hills if self.rng.integers(2) else hills.T

    def _squares(self, delta: Inputs, whole: bool = False) -> Inputs:
        """Sum of squares of each channel, or of each whole example, shaped to multiply."""
        return np.asarray((delta**2).sum(axis=(1, *self.axes) if whole else self.axes, keepdims=True))

    def _within(self, x: Inputs, delta: Inputs) -> Inputs:
        if self.free is not None:
            delta = delta * self.free
        length = np.sqrt(self._squares(delta, whole=True))
        return np.clip(x + delta * (self.eps / np.maximum(length, 1e-12)), 0, 1)


def _hill(height: int, width: int) -> Inputs:
    """Rectangles around the middle, one inside the other, each higher than the one before; of length 1."""
    hill = np.zeros((height, width), np.float32)
    top, left = height // 2, width // 2
    for layer in range(max(top, left) + 1):
        rows = slice(max(top - layer, 0), top + layer + 1)
        columns = slice(max(left - layer, 0), left + layer + 1)
        hill[rows, columns] += np.float32(1 / (layer + 1) ** 2)
    length = np.sqrt((hill**2).sum())
    return np.asarray(hill / length) if length > 0 else hill


SEARCHES: dict[str, type[_Box] | type[_Ball]] = {"linf": _Box, "l2": _Ball}
