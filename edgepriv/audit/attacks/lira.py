"""Likelihood ratio attack (Carlini et al. 2022, Algorithm 1): how an example's confidence differs with and without it.

For each candidate the log-odds over reference models are taken as Gaussian: N(mean_in, s_in^2) over the models trained
on it, N(mean_out, s_out^2) over the others. Two variances: ``fixed`` pools the spread around each candidate's own mean
over all candidates, which is the better choice below about 64 models; ``per-example`` estimates it for each candidate.

Where published code differs, and how to get its numbers. Ours are the paper's means, and spreads that divide by the
degrees of freedom (n - 1 for each candidate), so that few models do not look more alike than they are.
tensorflow-empirical-privacy takes medians and divides by the count: ``centre="median", ddof=0`` gives its
``compute_score_lira(option="both")`` up to the sign, which there is low for members (tests/oracles/test_lira_oracle.py).
Its ``option="out"`` is the density at the target's log-odds, so that an example far *below* its usual confidence counts
as a member too; the paper's offline test, and ours, is one-sided. The authors' first script has, for ``fixed``, one
spread around the mean of all candidates for both sides, which mixes in how much candidates differ from each other.

Thin evidence. A candidate without an OUT (IN) model takes the mean of its IN (OUT) models less (plus) the average gap
between both; offline, where no IN model may be used, it takes the average candidate's mean.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.evidence import Bools, Evidence, Floats, References

# One model cannot show a spread; and a variance of its own needs many (Carlini et al. 2022).
FIXED_MINIMUM = 2
PER_EXAMPLE_MINIMUM = 16
# Log-odds that differ by less are equal: keeps scores finite where reference models never disagree.
SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True)
class _Side:
    """Models on one side (IN or OUT) of each candidate: how many [n], their mean [n] (NaN for none), spread [n]."""

    count: Floats
    mean: Floats
    spread: Floats


def lira_offline(evidence: Evidence, variance: str = "fixed", centre: str = "mean", ddof: int = 1) -> Floats:
    """How many spreads the target's log-odds lie above the OUT models' mean, float64 [n].

    The paper's score 1 - P[N(mean_out, s_out^2) > log-odds] is the normal distribution function of this number, which
    ranks alike but saturates at 1. ``variance``: "fixed" or "per-example"; ``centre``: "mean" or "median" of the
    models; a spread divides by the number of models less ``ddof`` (1 or 0) for each candidate.
    """
    references = _references(evidence)
    out = _side(references, ~references.member, "OUT", variance, centre, ddof)
    mean = np.where(out.count > 0, out.mean, np.nanmean(out.mean))
    return (evidence.target.confidence - mean) / out.spread


def lira_online(evidence: Evidence, variance: str = "fixed", centre: str = "mean", ddof: int = 1) -> Floats:
    """Log-likelihood ratio of IN against OUT at the target's log-odds, float64 [n]; options as for ``lira_offline``."""
    references, observed = _references(evidence), evidence.target.confidence
    inside = _side(references, references.member, "IN", variance, centre, ddof)
    out = _side(references, ~references.member, "OUT", variance, centre, ddof)
    both = (inside.count > 0) & (out.count > 0)
    if not both.any():
        raise Unavailable("no candidate has both a reference model trained with it and one trained without it")
    gap = float((inside.mean - out.mean)[both].mean())
    mean_in = np.where(inside.count > 0, inside.mean, out.mean + gap)
    mean_out = np.where(out.count > 0, out.mean, inside.mean - gap)
    return np.asarray(norm.logpdf(observed, mean_in, inside.spread) - norm.logpdf(observed, mean_out, out.spread))


def _references(evidence: Evidence) -> References:
    if evidence.references is None:
        raise Unavailable("needs reference models")
    return evidence.references


def _side(references: References, chosen: Bools, side: str, variance: str, centre: str, ddof: int) -> _Side:
    """Moments over the chosen models [R, n] of each candidate."""
    minimum = {"fixed": FIXED_MINIMUM, "per-example": PER_EXAMPLE_MINIMUM}[variance]
    count = chosen.sum(axis=0).astype(np.float64)
    enough = count.max() if variance == "fixed" else count.min()
    if enough < minimum:
        which = "a candidate" if variance == "fixed" else "every candidate"
        raise Unavailable(f"needs {which} with {minimum} or more {side} reference models, found {enough:.0f}")
    middle = {"mean": _mean, "median": _median}[centre](references.confidence, chosen, count)
    apart = np.where(chosen, references.confidence - middle, 0.0)
    # Deviations are from the centre; what a median leaves of their average is no spread. A mean leaves nothing.
    squares, left = (apart**2).sum(axis=0), apart.sum(axis=0)
    freedom = np.maximum(count - ddof, 0)
    if variance == "fixed":
        total = squares.sum() - left.sum() ** 2 / count.sum()
        squares, freedom = np.full(len(count), total), np.full(len(count), freedom.sum())
    else:
        squares = squares - left**2 / count
    spread = np.sqrt(np.maximum(squares, 0.0) / freedom)
    return _Side(count, middle, np.maximum(spread, SMALLEST_SPREAD))


def _mean(confidence: Floats, chosen: Bools, count: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(chosen, confidence, 0.0).sum(axis=0) / count
    return mean


def _median(confidence: Floats, chosen: Bools, count: Floats) -> Floats:
    """Of a sorted column the chosen come first: the middle one of them, or the mean of the two."""
    ordered = np.sort(np.where(chosen, confidence, np.inf), axis=0)
    upper = np.clip(count // 2, 0, len(ordered) - 1).astype(int)
    lower = np.maximum((count - 1) // 2, 0).astype(int)
    columns = np.arange(ordered.shape[1])
    return np.where(count > 0, (ordered[lower, columns] + ordered[upper, columns]) / 2, np.nan)
