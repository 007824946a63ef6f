"""Intervals of figures that have no formula: F1, the calibration error and the mean area over several classes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from edgepriv.audit.answers import Floats, Outputs
from edgepriv.audit.clustered import Groups

DRAWS = 300
BINS = 15
"""Of the calibration error."""
FEWEST_GROUPS = 2
MOST_CLASSES = 200
"""Above, the area has no interval: it would take minutes."""


def intervals_of(outputs: Outputs, groups: Groups, seed: int = 0) -> dict[str, Any]:
    """95% intervals by the bootstrap: records are drawn with replacement, whole persons where they are known.

    The intervals are the basic ones (Davison & Hinkley 1997, section 5.2), which take off the bias that the calibration
    error has on few records; they are widened to hold the figure itself. That of the calibration error begins at 0 where a
    model that is perfectly calibrated would show as much (Broecker & Smith 2007).

    Args:
        outputs: answers to n held-out records.
        groups: int64 [n], whose records they are.
        seed: of the draws.

    Returns:
        ``f1``, ``calibration_error`` and ``auc`` (of several classes, the mean of each against the rest): (low, high), None
        where there is none; ``draws``, ``seed`` and ``over`` ("records" or "persons").
    """
    settings = {"draws": DRAWS, "seed": seed, "over": "records" if groups is None else "persons"}
    unit = np.arange(len(outputs.labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if int(unit.max(initial=-1)) + 1 < FEWEST_GROUPS:
        return {"f1": None, "calibration_error": None, "auc": None, **settings}
    several = 2 < outputs.probabilities.shape[1] <= MOST_CLASSES
    figures: dict[str, Callable[[Floats], float]] = {"f1": _F1(outputs), "calibration_error": _Calibration(outputs)}
    if several and len(np.unique(outputs.labels)) > 1:
        figures["auc"] = _Areas(outputs)
    drawn: dict[str, list[float]] = {name: [] for name in figures}
    for weights in _draws(unit, seed):
        for name, figure in figures.items():
            drawn[name].append(figure(weights))
    whole = np.ones(len(unit))
    intervals = {name: _basic(figure(whole), np.asarray(drawn[name])) for name, figure in figures.items()}
    if figures["calibration_error"](whole) <= _shown_by_calibrated(outputs, unit, seed):
        intervals["calibration_error"][0] = 0.0
    return {"auc": None, **intervals, **settings}


class _F1:
    """F1 of weighted records: of the second of two classes, else the mean over the classes that occur or are answered."""

    def __init__(self, outputs: Outputs) -> None:
        self.count = outputs.probabilities.shape[1]
        self.cell = outputs.labels * self.count + outputs.predicted

    def __call__(self, weights: Floats) -> float:
        """Of ``weights``, float [n]."""
        cells = np.bincount(self.cell, weights=weights, minlength=self.count**2).reshape(self.count, self.count)
        both = cells.sum(axis=0) + cells.sum(axis=1)
        each = 2 * np.diag(cells) / np.maximum(both, 1e-12)
        return float(each[1] if self.count == 2 else each[both > 0].mean())


class _Calibration:
    """Expected calibration error of weighted records: the sum over bins of |right - probability of the label given|."""

    def __init__(self, outputs: Outputs) -> None:
        sure = outputs.probabilities.max(axis=1).astype(np.float64)
        self.place = np.minimum(np.ceil(sure * BINS).astype(int) - 1, BINS - 1).clip(0)
        self.gaps = (outputs.predicted == outputs.labels) - sure

    def __call__(self, weights: Floats) -> float:
        """Of ``weights``, float [n]."""
        return float(np.abs(np.bincount(self.place, weights=weights * self.gaps)).sum() / weights.sum())


class _Areas:
    """Mean over the classes that occur of the area of each against the rest, of weighted records."""

    def __init__(self, outputs: Outputs) -> None:
        p, self.labels = outputs.probabilities, outputs.labels
        self.levels = {label: np.unique(p[:, label], return_inverse=True)[1] for label in np.unique(self.labels)}

    def __call__(self, weights: Floats) -> float:
        """Of ``weights``, float [n]."""
        each = []
        for label, level in self.levels.items():
            own = self.labels == label
            inside = np.bincount(level, weights=weights * own)
            others = np.bincount(level, weights=weights * ~own)
            pairs = inside.sum() * others.sum()
            if pairs:
                each.append((inside * (np.cumsum(others) - others / 2)).sum() / pairs)
        return float(np.mean(each)) if each else float("nan")


def _shown_by_calibrated(outputs: Outputs, unit: np.ndarray, seed: int) -> float:
    """The calibration error that a calibrated model with these probabilities stays below in 39 of 40 draws; the records of a
    person are right or wrong together, as far as their probabilities allow."""
    rng, figure = np.random.default_rng([seed, 13]), _Calibration(outputs)
    sure = outputs.probabilities.max(axis=1).astype(np.float64)
    errors = []
    for _ in range(DRAWS):
        right = rng.random(int(unit.max()) + 1)[unit] < sure
        errors.append(float(np.abs(np.bincount(figure.place, weights=right - sure)).sum() / len(sure)))
    return float(np.quantile(errors, 0.975))


def _draws(unit: np.ndarray, seed: int) -> Iterator[Floats]:
    """How often each record, float [n], is in each draw of units."""
    rng, count = np.random.default_rng([seed, 12]), int(unit.max()) + 1
    for _ in range(DRAWS):
        yield np.bincount(rng.integers(0, count, count), minlength=count)[unit].astype(np.float64)


def _basic(figure: float, drawn: Floats) -> list[float]:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    ends = min(2 * figure - high, figure), max(2 * figure - low, figure)
    return [max(0.0, float(ends[0])), min(1.0, float(ends[1]))]
