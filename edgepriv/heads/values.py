"""The values that the non-member mask gives every answer: Algorithm 2 of Ding et al. 2023."""

from functools import cache

import numpy as np

GAP = 0.05
"""Least distance of neighbouring values, our own condition: a trained generator must be able to tell the first two apart."""


def descending_values(classes: int, rng: np.random.Generator) -> np.ndarray:
    """Values to show in place of probabilities, by Algorithm 2, lines 1 to 11.

    As printed, line 1 draws y_1 from (1/k, 2/k) before the loop has determined k, and the loop need not end: once y_i is small,
    what is left stays larger than it. Our reading: y_1 is drawn from (1/classes, 1), which is the union of these intervals; the
    loop runs as printed, for at most ``classes`` values; a draw is thrown away and another made unless the loop ends and y_1
    lies in (1/k, 2/k) of the k that it found. Half of all draws end with k = 2.

    Args:
        classes: K.
        rng: of the draws.

    Returns:
        float64 [K], sums to 1: k values y_1 > ... > y_k > 0 with 1/k < y_1 < 2/k, then zeros.
    """
    while True:
        values = [rng.uniform(1 / classes, 1)]
        while len(values) < classes - 1 and 1 - sum(values) > values[-1]:
            values.append(rng.uniform(0, values[-1]))
        values.append(1 - sum(values))
        k = len(values)
        if 1 / k < values[0] < 2 / k and values[-1] >= GAP and -np.diff(values).max() >= GAP:
            return np.array(values + [0.0] * (classes - k))


@cache
def mask_values(classes: int) -> tuple[float, ...]:
    """The values that every head for so many classes shows.

    They are no secret, as every answer shows them. Drawn once for all models, they let an attacker's reference models answer
    in the same values as the target: an attacker who sees them would choose the same.

    Args:
        classes: K.

    Returns:
        K numbers that sum to 1, falling.
    """
    return tuple(descending_values(classes, np.random.default_rng([classes, 2])).tolist())
