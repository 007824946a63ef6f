"""Numbers that differ by rounding alone are made equal, so that rounding decides nothing.

A forest answers 1/3 as 0.33333334 or 0.3333333, by the order in which its trees were summed; a network's answer to one and
the same record moves by a unit in the last place with its neighbours in the batch. Ranked as they are, such numbers are
told apart, and a batch of members from a batch of others. So are scores made of them: 0.3 + 0.2 and 0.4 + 0.1 of a float32
answer are not the same.

Why not round: a step fine enough to keep a real ranking has edges between which equal numbers fall, and near certainty
(log-odds of 80 against 81, a probability of 1 - 1e-9 against 1 - 1e-8) hardly any step is fine enough. What is equal
stands in a clump with room around it instead: neighbours at most ``NEAR`` units in the last place of a float32 apart,
``WIDE`` from end to end. What lies closer together than that over a longer stretch is a real, dense ranking, and stays.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = TypeVar("Float", np.float32, np.float64)
NEAR, WIDE = 4, 16
# A float64 has 29 more bits than the float32 that it was computed from.
_FINER = 2**29


def settled(values: npt.NDArray[Float]) -> npt.NDArray[Float]:
    """The same finite values, any shape, each clump of nearly equal ones replaced by its lowest.

    float32: a model's answers. float64: scores computed from such answers. Units in the last place are counted, so the
    distance is relative: 1e-30 and 1e-31 are far apart. Scores that all lie in [0, 1] are counted from the nearer end.
    """
    distinct, back = np.unique(values, return_inverse=True)
    unit = 1 if values.dtype == np.float32 else _FINER
    ends = distinct
    if unit == _FINER and len(distinct) and distinct[0] >= 0 and distinct[-1] <= 1:
        ends = np.where(distinct <= 0.5, distinct, distinct - 1)
    breaks = np.diff(_places(ends)) > NEAR * unit
    starts = np.flatnonzero(np.concatenate([[True], breaks | (np.diff(ends) < 0)])[: len(distinct)])
    lengths = np.diff(starts, append=len(distinct))
    wide = _places(ends)[starts + lengths - 1] - _places(ends)[starts] > WIDE * unit
    first = np.where(np.repeat(wide, lengths), np.arange(len(distinct)), np.repeat(starts, lengths))
    return distinct[first][back].reshape(values.shape)


def _places(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """How many numbers of this type lie between zero and each value, with its sign."""
    single = values.dtype == np.float32
    bits = np.ascontiguousarray(values).view(np.int32 if single else np.int64).astype(np.int64)
    magnitude = bits & int(np.iinfo(np.int32 if single else np.int64).max)
    return np.where(bits < 0, -magnitude, magnitude)
