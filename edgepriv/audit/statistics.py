"""From attack scores and the true membership to numbers with intervals.

``scores`` are float [n], higher = more likely a member; ``member`` is bool [n]. Rates are fractions. Intervals are
two-sided at 95% and describe the draw of the examples, given the model. ``groups`` int [n] says whose records they are, and
then intervals describe the draw of persons (see ``clustered``). Bad arrays raise UserError.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, expit, logit
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_curve

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.clustered import Groups, counted, persons_in, variance_of_mean
from edgepriv.data.groups import halved
from edgepriv.errors import UserError

ALPHA = 0.05
RARE = 10
Interval = tuple[float, float]


class Roc(NamedTuple):
    """Every distinct operating point, from (0, 0) to (1, 1): predict "member" when score >= threshold."""

    fpr: Floats
    tpr: Floats
    thresholds: Floats


def checked(scores: npt.ArrayLike, member: npt.ArrayLike) -> tuple[Floats, Bools]:
    """Scores and membership, checked.

    Args:
        scores: [n], finite; higher for members.
        member: bool [n], with at least one of each kind.

    Returns:
        The two as float64 and bool.

    Raises:
        UserError: where the arrays are anything else.
    """
    s, m = np.asarray(scores, dtype=np.float64), np.asarray(member)
    if s.ndim != 1 or m.shape != s.shape or m.dtype != np.bool_:
        raise UserError(f"expected scores [n] and bool membership [n], got {s.shape} and {m.dtype} {m.shape}")
    if not np.isfinite(s).all():
        raise UserError(f"{np.count_nonzero(~np.isfinite(s))} of {len(s)} attack scores are NaN or infinite")
    if not 0 < m.sum() < len(m):
        raise UserError(f"needs members and non-members, got {m.sum()} and {len(m) - m.sum()}")
    return s, m


def roc(scores: npt.ArrayLike, member: npt.ArrayLike) -> Roc:
    """ROC curve at every observed score; tied scores move together.

    Args:
        scores: [n], finite; higher for members.
        member: bool [n], with at least one of each kind.

    Returns:
        Every distinct operating point.

    Raises:
        UserError: where the arrays are anything else.
    """
    s, m = checked(scores, member)
    return Roc(*roc_curve(m, s, drop_intermediate=False))


def auc(scores: npt.ArrayLike, member: npt.ArrayLike, groups: Groups = None) -> tuple[float, Interval]:
    """Area under the ROC curve, P(member's score > non-member's) + P(equal)/2, and its 95% interval.

    The interval is DeLong's (DeLong, DeLong & Clarke-Pearson 1988) on the logit scale. Its variance is what a
    stratified bootstrap estimates by simulation, in closed form: same coverage, no seed, milliseconds. The logit keeps
    it inside (0, 1) and asymmetric near the ends. Where errors are rare (fewer than 10 expected among
    min(members, non-members) disjoint pairs, perfect separation included) or scores are constant, both DeLong's interval
    and the bootstrap's are too narrow. There the interval is Clopper-Pearson's for those pairs: wider, but valid, because
    all pairs together never vary more than the disjoint ones. With ``groups`` the variance is Obuchowski's (1997), and the
    disjoint pairs are of persons.

    Args:
        scores: float [n], finite; higher for members.
        member: bool [n].
        groups: int [n], whose records they are; None: each is by itself.

    Returns:
        The area in [0, 1], and (low, high).

    Raises:
        UserError: for scores that are not finite, and where one kind is missing.
    """
    s, m = checked(scores, member)
    positive, negative = s[m], s[~m]
    ranks = rankdata(s)
    # Share of the other side that each example beats, half for ties.
    beats = (ranks[m] - rankdata(positive)) / len(negative)
    beaten = 1 - (ranks[~m] - rankdata(negative)) / len(positive)
    area = float(beats.mean())
    pairs = min(persons_in(m, groups), persons_in(~m, groups))
    sides = ((beats, m), (beaten, ~m))
    variance = sum(variance_of_mean(share, None if groups is None else groups[side]) for share, side in sides)
    variance = variance if pairs > 1 else 0.0
    if variance <= 1e-18 or min(area, 1 - area) * pairs < RARE:
        return area, clopper_pearson(area * pairs, pairs)
    reach = norm.ppf(1 - ALPHA / 2) * np.sqrt(variance) / (area * (1 - area))
    return area, (float(expit(logit(area) - reach)), float(expit(logit(area) + reach)))


def clopper_pearson(k: float, n: float, alpha: float = ALPHA) -> Interval:
    """Exact binomial interval (Clopper & Pearson 1934).

    Args:
        k: successes, 0 to ``n``; real values interpolate.
        n: trials, at least 1.
        alpha: 1 minus the confidence.

    Returns:
        (low, high) of the rate, in [0, 1].
    """
    low, high = _clopper_pearson(np.asarray(float(k)), n, alpha)
    return float(low), float(high)


def _clopper_pearson(k: Floats, n: float, alpha: float) -> tuple[Floats, Floats]:
    low = np.where(k > 0, betaincinv(np.maximum(k, 1e-12), n - k + 1, alpha / 2), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1e-12), 1 - alpha / 2), 1.0)
    return low, high


def wilson(k: float, n: float, alpha: float = ALPHA) -> Interval:
    """Wilson's score interval, used for accuracies.

    Args:
        k: successes, 0 to ``n``.
        n: trials, at least 1.
        alpha: 1 minus the confidence.

    Returns:
        (low, high) of the rate, in [0, 1].
    """
    z2 = float(norm.ppf(1 - alpha / 2)) ** 2
    centre = (k + z2 / 2) / (n + z2)
    reach = float(np.sqrt(z2 * (k * (n - k) / n + z2 / 4))) / (n + z2)
    return max(0.0, float(centre - reach)), min(1.0, float(centre + reach))


def tpr_at_fpr(scores: npt.ArrayLike, member: npt.ArrayLike, fpr: float, groups: Groups = None) -> dict[str, Any]:
    """Largest true-positive rate among thresholds with a false-positive rate of at most ``fpr``.

    Args:
        scores: float [n], finite; higher for members.
        member: bool [n].
        fpr: false-positive rate in (0, 1).
        groups: int [n], whose records they are.

    Returns:
        ``value``, the rate, and ``ci``, its Clopper-Pearson interval at that threshold. With fewer than 1 / ``fpr``
        non-members both are None, and ``note`` says so.

    Raises:
        UserError: for scores that are not finite, and where one kind is missing.
    """
    s, m = checked(scores, member)
    cut = cut_at_fpr(s, m, fpr)
    if cut is None:
        return {"value": None, "ci": None, "note": unresolvable(m)}
    detected = s[m] > cut
    interval = clopper_pearson(*counted(detected, None if groups is None else groups[m]))
    return {"value": float(detected.mean()), "ci": list(interval)}


def cut_at_fpr(scores: Floats, member: Bools, fpr: float) -> float | None:
    """The lowest cut above which at most ``fpr`` of the non-members lie.

    Args:
        scores: float64 [n], finite.
        member: bool [n].
        fpr: false-positive rate in (0, 1).

    Returns:
        A non-member's score; those above it are named. None with fewer than 1 / ``fpr`` non-members.
    """
    negative = np.sort(scores[~member])[::-1]
    # The added sliver undoes binary rounding: 1000 non-members at 0.001 allow one false positive.
    allowed = int(len(negative) * fpr + 1e-9)
    if allowed < 1:
        return None
    return float(negative[allowed]) if allowed < len(negative) else -np.inf


def unresolvable(member: Bools) -> str:
    """Why a false-positive rate cannot be resolved.

    Args:
        member: bool [n].

    Returns:
        A few words.
    """
    return f"not resolvable with {np.count_nonzero(~member)} non-members"


def best_threshold(scores: npt.ArrayLike, member: npt.ArrayLike) -> float:
    """Threshold t with the highest balanced accuracy of "member when score >= t" on these data.

    It lies midway between neighbouring scores; among equals the one nearest to the middle of the scores is taken.

    Args:
        scores: [n], finite; higher for members.
        member: bool [n], with at least one of each kind.

    Returns:
        The threshold, finite.

    Raises:
        UserError: where the arrays are anything else.
    """
    curve = roc(scores, member)
    gain = curve.tpr - curve.fpr
    best = np.flatnonzero(gain >= gain.max() - 1e-12)
    i = int(best[np.argmin(np.abs(best - (len(gain) - 1) / 2))])
    if i == 0:
        return float(np.nextafter(curve.thresholds[1], np.inf))
    if i == len(gain) - 1:
        return float(curve.thresholds[i])
    upper, lower = curve.thresholds[i], curve.thresholds[i + 1]
    middle = lower + (upper - lower) / 2
    return float(middle if middle > lower else upper)


def at_threshold(scores: npt.ArrayLike, member: npt.ArrayLike, threshold: float) -> dict[str, Any]:
    """What "member when score >= threshold" gets right.

    Args:
        scores: [n], finite; higher for members.
        member: bool [n], with at least one of each kind.
        threshold: any number.

    Returns:
        ``balanced_accuracy`` and ``accuracy`` in [0, 1]; precision, recall and F1 of both classes, where a ratio without any
        case (no one predicted to be a member) is 0; ``confusion``, the counts.

    Raises:
        UserError: where the arrays are anything else.
    """
    s, m = checked(scores, member)
    predicted = s >= threshold
    tp, fp = int((predicted & m).sum()), int((predicted & ~m).sum())
    fn, tn = int((~predicted & m).sum()), int((~predicted & ~m).sum())
    return {
        "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
        "accuracy": (tp + tn) / len(s),
        "member": _precision_recall(tp, fp, fn),
        "non_member": _precision_recall(tn, fn, fp),
        "confusion": {"tn": tn, "fp": fp, "fn": fn, "tp": tp},
    }


def _precision_recall(hits: int, false_alarms: int, misses: int) -> dict[str, float]:
    return {
        "precision": hits / (hits + false_alarms) if hits else 0.0,
        "recall": hits / (hits + misses) if hits else 0.0,
        "f1": 2 * hits / (2 * hits + false_alarms + misses) if hits else 0.0,
    }


def halves(member: Bools, seed: int, groups: Groups = None) -> Bools:
    """A random half of the candidates, stratified by membership.

    Args:
        member: bool [n].
        seed: of the draw.
        groups: int [n], whose records they are; each stays in one half.

    Returns:
        Mask bool [n]; an odd example goes to the other half.
    """
    first = np.zeros(len(member), dtype=np.bool_)
    rng = np.random.default_rng(seed)
    for side in (member, ~member):
        first[halved(groups, np.flatnonzero(side), rng)] = True
    return first


def halves_of_pairs(member: Bools, seed: int, groups: Groups = None) -> Bools | None:
    """``halves`` where each holds two of each kind at least.

    Args:
        member: bool [n].
        seed: of the draw.
        groups: int [n], whose records they are; each stays in one half.

    Returns:
        Mask bool [n]; None where a half would hold fewer than two members or non-members.
    """
    first = halves(member, seed, groups)
    counts = [(side & half).sum() for side in (member, ~member) for half in (first, ~first)]
    return first if min(counts) > 1 else None


def epsilon_lower_bound(
    scores: npt.ArrayLike, member: npt.ArrayLike, seed: int = 0, delta: float = 0.0, alpha: float = ALPHA
) -> float:
    """Empirical lower bound on the epsilon of (epsilon, delta)-differential privacy.

    Any such training has TPR <= e^epsilon FPR + delta and TNR <= e^epsilon FNR + delta (Kairouz et al. 2015). Threshold and
    direction are chosen on a random half of the data. The other half gives Clopper-Pearson bounds of the two rates, so the
    choice does not inflate the result. n examples of each kind can show at most about ln(n / 7.4).

    Args:
        scores: float [n], finite.
        member: bool [n].
        seed: of the random half.
        delta: of the guarantee, in [0, 1).
        alpha: 1 minus the confidence.

    Returns:
        The bound, 0 or more; 0 with fewer than two members or non-members.

    Raises:
        UserError: for scores that are not finite, and where one kind is missing.
    """
    s, m = checked(scores, member)
    if min(m.sum(), (~m).sum()) < 2:
        return 0.0
    first = halves(m, seed)
    thresholds = np.unique(s[first])
    if len(thresholds) > 512:
        # Tails matter most: ranks on a geometric grid from both ends.
        rank = np.geomspace(1, len(thresholds), 256).astype(int)
        thresholds = thresholds[np.unique(np.concatenate([rank - 1, len(thresholds) - rank]))]
    picked = _epsilons(s, m, first, thresholds, delta, alpha)
    direction, best = np.unravel_index(np.argmax(picked), picked.shape)
    return max(0.0, float(_epsilons(s, m, ~first, thresholds[best : best + 1], delta, alpha)[direction, 0]))


def _epsilons(s: Floats, m: Bools, part: Bools, thresholds: Floats, delta: float, alpha: float) -> Floats:
    """Lower bounds [2, thresholds] of epsilon on one part of the data: positives' direction, negatives' direction."""
    positive, negative = np.sort(s[part & m]), np.sort(s[part & ~m])
    fn = np.searchsorted(positive, thresholds).astype(np.float64)
    tn = np.searchsorted(negative, thresholds).astype(np.float64)
    p, n = len(positive), len(negative)
    bounds = []
    for hits, of_hits, alarms, of_alarms in ((p - fn, p, n - tn, n), (tn, n, fn, p)):
        low, _ = _clopper_pearson(hits, of_hits, alpha)
        _, high = _clopper_pearson(alarms, of_alarms, alpha)
        # The floor keeps the logarithm finite where no hit was seen; such a bound is far below zero.
        bounds.append(np.log(np.maximum(low - delta, 1e-300)) - np.log(high))
    return np.stack(bounds)
