"""Scores that differ by rounding alone are made equal, so that rounding decides nothing.

A forest answers 1/3 as 0.33333334 or 0.3333333, by the order in which its trees were summed; a network's answer to one and
the same record moves by a unit in the last place with its neighbours in the batch; 0.3 + 0.2 and 0.4 + 0.1 of a float32
answer are not the same. Ranked as they are, such numbers are told apart, and a batch of members from a batch of others.

Why not round: a step fine enough to keep a real ranking has edges between which equal numbers fall, and near certainty
(log-odds of 80 against 81, a probability of 1 - 1e-9 against 1 - 1e-8) hardly any step is fine enough. What is equal
stands in a clump with room around it instead: neighbours at most ``NEAR`` units in the last place of a float32 apart,
``WIDE`` from end to end. What lies closer together than that over a longer stretch is a real, dense ranking, and stays.

Why scores and not the answers themselves: within one answer the order of two probabilities that are a unit apart is the
label that the device shows.
"""

import numpy as np

from edgepriv.audit.answers import Floats

NEAR, WIDE = 4, 16
# A float64 has 29 more bits than the float32 that it was computed from.
_UNIT = 2**29


def settled(scores: Floats) -> Floats:
    """Scores with each clump of nearly equal ones replaced by its lowest.

    Units in the last place are counted, so the distance is relative: 1e-30 and 1e-31 are far apart. Scores that all lie in
    [0, 1] are counted from the nearer end.

    Args:
        scores: float64 [n], finite, computed from float32 answers.

    Returns:
        float64 [n].
    """
    distinct, back = np.unique(scores, return_inverse=True)
    gaps = np.diff(_places(distinct))
    if distinct[0] >= 0 and distinct[-1] <= 1:
        upper = distinct[:-1] > 0.5
        gaps[upper] = np.diff(_places(distinct - 1))[upper]
    place = np.concatenate([[0], np.minimum(gaps, (WIDE + 1) * _UNIT).cumsum()])
    starts = np.flatnonzero(np.concatenate([[True], gaps > NEAR * _UNIT]))
    lengths = np.diff(starts, append=len(distinct))
    wide = place[starts + lengths - 1] - place[starts] > WIDE * _UNIT
    first = np.where(np.repeat(wide, lengths), np.arange(len(distinct)), np.repeat(starts, lengths))
    return distinct[first][back]


def _places(values: Floats) -> np.ndarray:
    """How many float64 lie between zero and each value, with its sign: int64 [n]."""
    bits = np.ascontiguousarray(values).view(np.int64)
    magnitude = bits & np.iinfo(np.int64).max
    return np.where(bits < 0, -magnitude, magnitude)
