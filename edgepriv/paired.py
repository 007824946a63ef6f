"""What one model loses to another in accuracy on the same records, with its interval."""

from typing import Any

import numpy as np
from scipy.stats import norm

from edgepriv.accuracy import effective


def loss(
    before: np.ndarray, after: np.ndarray, groups: np.ndarray | None = None, alpha: float = 0.05
) -> dict[str, Any]:
    """Points of accuracy that the second of two models loses, record by record.

    The interval is the adjusted Wald interval of a difference of paired proportions (Bonett & Price 2012): one record is
    added that only the first has right, and one that only the second has. Where records belong to groups, the larger of
    their two design effects (Rao & Scott 1992) divides all counts.

    Args:
        before: bool [n], whether the first is right.
        after: bool [n], whether the second is.
        groups: int64 [n], whose records they are; None where each is by itself.
        alpha: of the interval.

    Returns:
        ``points``, below 0 where the second is better; ``ci`` of them, ``n``, and ``within_noise``: whether the interval
        holds 0.
    """
    lost, won = before & ~after, ~before & after
    n, effect = len(before), 1.0
    if groups is not None:
        effect = (
            max(n / effective(side, groups)[1] for side in (lost, won) if side.any()) if (lost | won).any() else 1.0
        )
    trials = n / effect + 2
    only_first, only_second = (lost.sum() / effect + 1) / trials, (won.sum() / effect + 1) / trials
    middle = only_first - only_second
    reach = float(norm.ppf(1 - alpha / 2)) * np.sqrt((only_first + only_second - middle**2) / trials)
    low, high = float(100 * (middle - reach)), float(100 * (middle + reach))
    return {
        "points": float(100 * (lost.sum() - won.sum()) / n),
        "ci": [low, high],
        "n": n,
        "within_noise": low <= 0 <= high,
    }
