"""Is an attack better than guessing, when so many were tried, in either direction?

Every probability here is that of membership drawn anew among the same scores, so it holds for any scores, tied or not.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import hypergeom, norm

from edgepriv.audit.answers import Floats
from edgepriv.audit.statistics import checked, tpr_at_fpr

Direction = Literal["as stated", "reversed"]
"""Whether an attack's high scores mean members, as its authors say, or its low ones."""
STATED: Direction = "as stated"
REVERSED: Direction = "reversed"

SIGNIFICANT = 0.05
# Of the chance of a false alarm, the share left to the direction that the attacker's own models speak against.
AGAINST = 0.05
# Up to so many examples, all memberships are counted.
COUNTED = 60
# Beyond this share of the way to perfect separation the tail is that of the share: larger, and always solvable.
REACH = 0.98


def p_value(
    scores: npt.ArrayLike, member: npt.ArrayLike, fprs: Sequence[float], learnt: Direction | None = None
) -> tuple[float, Direction]:
    """Probability of a difference this large between members and non-members that are drawn alike, and its direction.

    Args:
        scores: float [n], finite.
        member: bool [n].
        fprs: false-positive rates at which the true-positive rate is tested too, beside the AUC.
        learnt: the direction that models of known membership showed. It then costs almost nothing (a factor of 1 / 0.95).
            The other direction, at a factor of 20, is still tested, since the target may differ from those models.
            None: both directions count alike, at a factor of 2.

    Returns:
        The p-value in [0, 1], and the direction that gives it.

    Raises:
        UserError: for scores that are not finite, and where one kind is missing.
    """
    s, m = checked(scores, member)
    share: dict[Direction, float] = {STATED: 0.5, REVERSED: 0.5}
    if learnt is not None:
        share = {side: 1 - AGAINST if side == learnt else AGAINST for side in share}
    p_values = {STATED: higher(s, m, fprs) / share[STATED], REVERSED: higher(-s, m, fprs) / share[REVERSED]}
    direction = min(p_values, key=lambda side: p_values[side])
    return min(1.0, p_values[direction]), direction


def higher(scores: npt.ArrayLike, member: npt.ArrayLike, fprs: Sequence[float]) -> float:
    """One-sided p-value of members scoring higher than non-members.

    The smallest p-value over the AUC (``rank_sum``) and the true-positive rate at each of ``fprs`` that can be resolved,
    times their number (Bonferroni): an attack may show in either. With k false positives allowed, t true positives mean
    that at most k of the t + k highest scores are non-members', which has a hypergeometric probability; ties make it
    smaller still. Unlike an interval at the threshold, this accounts for the choice of the threshold.

    Args:
        scores: float [n], finite; higher for members.
        member: bool [n].
        fprs: false-positive rates.

    Returns:
        The p-value in [0, 1].
    """
    s, m = checked(scores, member)
    p_values = [rank_sum(s, m)]
    members, others = int(m.sum()), int((~m).sum())
    for fpr in fprs:
        rate = tpr_at_fpr(s, m, fpr)["value"]
        if rate is not None:
            allowed, hits = int(others * fpr + 1e-9), round(rate * members)
            p_values.append(float(hypergeom.cdf(allowed, members + others, others, hits + allowed)))
    return min(1.0, len(p_values) * min(p_values))


def rank_sum(scores: npt.ArrayLike, member: npt.ArrayLike) -> float:
    """One-sided p-value of the rank sum (Mann & Whitney 1947), with ties at middle ranks.

    The usual normal approximation assumes a symmetric distribution of the sum. With few members, or scores most of which
    are tied, it is skewed, and the approximation is too small by orders of magnitude in the tail where an audit of many
    attacks looks. So up to 60 examples every membership is counted; two distinct scores are hypergeometric; else the tail
    is the double saddlepoint's (Robinson 1982; Skovgaard 1987), whose relative error stays small in the tail.

    Args:
        scores: float [n], finite; higher for members.
        member: bool [n].

    Returns:
        Probability in [0, 1] that members' ranks sum to as much or more.
    """
    s, m = checked(scores, member)
    _, level, counts = np.unique(s, return_inverse=True, return_counts=True)
    inside = np.bincount(level[m], minlength=len(counts))
    members, total = int(m.sum()), len(s)
    if len(counts) == 1:
        return 1.0
    # Twice the middle rank is a whole number.
    ranks = 2 * np.cumsum(counts) - counts + 1
    if total <= COUNTED:
        return _counted(ranks, counts, int(ranks @ inside), members)
    if len(counts) == 2:
        return float(hypergeom.sf(inside[1] - 1, total, counts[1], members))
    return _saddlepoint(ranks.astype(np.float64), counts.astype(np.float64), inside, members)


def _counted(ranks: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], observed: int, members: int) -> float:
    """Exact, over all choices of ``members`` of the examples: ways to reach each sum with each number of them."""
    every = np.repeat(ranks, counts)
    ways = np.zeros((members + 1, int(every.sum()) + 1))
    ways[0, 0] = 1.0
    for rank in every:
        ways[1:, rank:] += ways[:-1, :-rank]
    return float(ways[members, observed:].sum() / ways[members].sum())


def _saddlepoint(ranks: Floats, counts: Floats, inside: npt.NDArray[np.int64], members: int) -> float:
    """P(sum of the members' ranks >= observed), by levels of tied scores [L]: independent coins, given how many are heads.

    ``(s, t)`` minimises K(s, t) - s * members - t * observed, K the coins' cumulant generating function.
    """
    total = counts.sum()
    centre = (counts @ ranks) / total
    scale = float(np.sqrt(counts @ (ranks - centre) ** 2 / total))
    a = (ranks - centre) / scale
    share = members / total
    spread = float(np.sqrt(share * (1 - share) * total * total / (total - 1)))
    # The sum moves in steps, of tied scores in large ones: half of the largest, so as to claim rather too little.
    observed = float(inside @ a) - float(np.diff(a).max()) / 2
    if observed < spread:  # near the middle the normal distribution is good enough, and the formula below is not
        return float(norm.sf(observed / spread))
    largest = np.repeat(a[::-1], counts[::-1].astype(int))[:members].sum()
    observed = min(observed, REACH * float(largest))
    start = float(logit(share))

    def below(point: Floats) -> float:
        tilted = start + point[0] + point[1] * a
        raised: Floats = np.logaddexp(0, tilted) - np.logaddexp(0, start)
        return float(counts @ raised - point[0] * members - point[1] * observed)

    point, curvature = np.zeros(2), np.eye(2)
    for _ in range(200):
        heads = expit(start + point[0] + point[1] * a)
        weight = counts * heads * (1 - heads)
        gap = np.array([counts @ heads - members, (counts * a) @ heads - observed])
        curvature = np.array([[weight.sum(), weight @ a], [weight @ a, weight @ a**2]])
        if np.abs(gap).max() < 1e-7 * total:
            break
        step, now = np.linalg.solve(curvature, gap), below(point)
        # A whole step overshoots far out only.
        point = next(
            (nearer for nearer in (point - step / 2**k for k in range(8)) if below(nearer) <= now), point - step
        )
    w = float(np.sqrt(max(-2 * below(point), 0.0)))
    u = float(point[1] * np.sqrt(np.linalg.det(curvature) / (total * share * (1 - share))))
    return float(np.clip(norm.sf(w) + norm.pdf(w) * (1 / u - 1 / w), 0.0, 1.0))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979).

    Args:
        p_values: each in [0, 1].

    Returns:
        The adjusted ones, in the same order. All that are below 0.05 are better than guessing, with 95% confidence together.
    """
    order = np.argsort(p_values, kind="stable")
    stepped = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.tolist()
