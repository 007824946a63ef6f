"""Likelihood ratio attack (Carlini et al. 2022, Algorithm 1): how an example's confidence differs with and without it.

For each candidate the log-odds over reference models are taken as Gaussian: N(mean_in, s_in^2) over the models trained
on it, N(mean_out, s_out^2) over the others. Two variances: ``fixed`` pools the spread around each candidate's own mean
over all candidates, which is the better choice below about 64 models; ``per-example`` estimates it for each candidate.
(The authors' code takes medians for means and, for ``fixed``, one spread around the mean of all candidates for both sides,
which mixes in how much candidates differ from each other.)

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


def lira_offline(evidence: Evidence, variance: str = "fixed") -> Floats:
    """How many spreads the target's log-odds lie above the OUT models' mean, float64 [n].

    The paper's score 1 - P[N(mean_out, s_out^2) > log-odds] is the normal distribution function of this number, which
    ranks alike but saturates at 1.
    """
    references = _references(evidence)
    out = _side(references, ~references.member, "OUT", variance)
    mean = np.where(out.count > 0, out.mean, np.nanmean(out.mean))
    return (evidence.target.confidence - mean) / out.spread


def lira_online(evidence: Evidence, variance: str = "fixed") -> Floats:
    """Log-likelihood ratio of IN against OUT at the target's log-odds, float64 [n]."""
    references, observed = _references(evidence), evidence.target.confidence
    inside = _side(references, references.member, "IN", variance)
    out = _side(references, ~references.member, "OUT", variance)
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


def _side(references: References, chosen: Bools, side: str, variance: str) -> _Side:
    """Moments over the chosen models [R, n] of each candidate."""
    minimum = {"fixed": FIXED_MINIMUM, "per-example": PER_EXAMPLE_MINIMUM}[variance]
    count = chosen.sum(axis=0).astype(np.float64)
    enough = count.max() if variance == "fixed" else count.min()
    if enough < minimum:
        which = "a candidate" if variance == "fixed" else "every candidate"
        raise Unavailable(f"needs {which} with {minimum} or more {side} reference models, found {enough:.0f}")
    with np.errstate(invalid="ignore"):
        mean = np.where(chosen, references.confidence, 0.0).sum(axis=0) / count
    squares = np.where(chosen, (references.confidence - mean) ** 2, 0.0).sum(axis=0)
    if variance == "fixed":
        squares, freedom = np.full(len(count), squares.sum()), np.maximum(count - 1, 0).sum()
    else:
        freedom = count - 1
    return _Side(count, mean, np.maximum(np.sqrt(squares / freedom), SMALLEST_SPREAD))
