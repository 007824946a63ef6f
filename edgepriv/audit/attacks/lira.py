"""Likelihood ratio attack (Carlini et al. 2022, Algorithm 1): how an example's confidence differs with and without it.

For each candidate the log-odds over reference models are taken as Gaussian around mean_in over the models trained on it,
and around mean_out over the others. Four variances:

``shrunk`` (the default) is each candidate's own variance, drawn towards that of all candidates, which counts for ``STRENGTH``
degrees of freedom beside its own: a conjugate prior of the variance. A new log-odds then follows Student's t, which also
allows for the mean being that of a few models. With few models it is close to ``fixed``, with many to ``per-example``.

``bayesian`` is BaVarIA-t (Brännvall 2026): a normal-inverse-gamma prior of mean and variance together, and the Student's t
that it predicts. Of k models with mean m and sum of squares S the posterior has kappa = k0 + k, mean (k0 m0 + k m) / kappa,
nu = nu0 + k and sum of squares nu0 s0^2 + S + k0 k (m - m0)^2 / kappa; the prediction is Student's t with nu degrees of
freedom around that mean, with scale^2 = sum of squares / nu * (1 + 1 / kappa). The numbers of
the prior are ours: m0 and s0^2 from all candidates of the same side, nu0 = ``STRENGTH`` and k0 = ``MEAN_STRENGTH``.

``fixed`` pools the spread around each candidate's own mean over all candidates, the paper's choice below about 64 models;
``per-example`` estimates it for each candidate alone.

Where published code differs, and how to get its numbers. Ours are the paper's means, and spreads that divide by the
degrees of freedom (n - 1 for each candidate), so that few models do not look more alike than they are.
tensorflow-empirical-privacy takes medians and divides by the count: ``centre="median", ddof=0`` gives its
``compute_score_lira(option="both")`` up to the sign, which there is low for members (tests/oracles/test_lira_oracle.py).
Its ``option="out"`` is the density at the target's log-odds, so that an example far *below* its usual confidence counts
as a member too; the paper's offline test, and ours, is one-sided. The authors' first script has, for ``fixed``, one
spread around the mean of all candidates for both sides, which mixes in how much candidates differ from each other.

Thin evidence. A candidate without an OUT (IN) model takes the mean of its IN (OUT) models less (plus) the average gap
between both; offline, where no IN model may be used, it takes the average candidate's mean. Where some candidate has
fewer than two IN models, since the target has few members, ``shrunk`` and ``bayesian`` take mean_out plus the average gap,
and one spread around it, for all candidates alike: who has IN models must not show in the scores.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm, t

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.trained_answers import References

Variance = Literal["shrunk", "bayesian", "fixed", "per-example"]

# One model cannot show a spread; and a variance of its own needs many (Carlini et al. 2022).
MINIMUM = {"shrunk": 2, "bayesian": 2, "fixed": 2, "per-example": 16}
OWN_IN_MODELS = 2
# Log-odds that differ by less are equal: keeps scores finite where reference models never disagree.
SMALLEST_SPREAD = 1e-6
# Degrees of freedom that the usual variance counts for. 2, 4 and the strength that fits the candidates' own variances best
# (Smyth 2004) find about as much on Location-30, CIFAR-10 and Fashion-MNIST, with 4, 8 and 16 models.
STRENGTH = 4.0
# Models that the usual mean counts for. Candidates differ more than models do: 1 and more lose a third of the members found
# at 0.1% false alarms with 4 models of Location-30, 0.1 and less find about as many.
MEAN_STRENGTH = 0.1


@dataclass(frozen=True)
class _Side:
    """Models on one side (IN or OUT) of each candidate: how many [n], their mean [n] (NaN for none), the spread [n] of one
    more model's log-odds around it, and the degrees of freedom [n] of its Student's t; None: Gaussian."""

    count: Floats
    mean: Floats
    spread: Floats
    freedom: Floats | None = None

    def log_density(self, observed: Floats, mean: Floats) -> Floats:
        if self.freedom is None:
            return np.asarray(norm.logpdf(observed, mean, self.spread))
        return np.asarray(t.logpdf(observed, self.freedom, mean, self.spread))


def lira_offline(evidence: Evidence, variance: Variance = "shrunk", centre: str = "mean", ddof: int = 1) -> Floats:
    """LiRA offline (Carlini et al. 2022): how far the target's log-odds lie above those of the OUT models.

    The paper's score 1 - P[N(mean_out, s_out^2) > log-odds] is the normal distribution function of this number, which
    gives the same ranking but saturates at 1.

    Args:
        evidence: with reference models.
        variance: "shrunk", "bayesian", "fixed" or "per-example".
        centre: "mean" or "median" of the models, for "fixed" and "per-example".
        ddof: 1 or 0; the variance divides by the number of models less this, for "fixed" and "per-example".

    Returns:
        float64 [n], in standard deviations; higher for members.

    Raises:
        Unavailable: without reference models, or with too few for ``variance``.
    """
    references = _references(evidence)
    out = _side(references, references.out, "OUT", variance, centre, ddof)
    mean = np.where(out.count > 0, out.mean, np.nanmean(out.mean))
    return (evidence.target.confidence - mean) / out.spread


def lira_online(evidence: Evidence, variance: Variance = "shrunk", centre: str = "mean", ddof: int = 1) -> Floats:
    """LiRA online (Carlini et al. 2022): log-likelihood ratio of IN against OUT models at the target's log-odds.

    Args:
        evidence: with reference models.
        variance: as for ``lira_offline``.
        centre: as for ``lira_offline``.
        ddof: as for ``lira_offline``.

    Returns:
        float64 [n], in nats; higher for members.

    Raises:
        Unavailable: without reference models, or without a candidate that has both IN and OUT models.
    """
    references, observed = _references(evidence), evidence.target.confidence
    out = _side(references, references.out, "OUT", variance, centre, ddof)
    if variance in ("shrunk", "bayesian") and references.inside.sum(axis=0).min() < OWN_IN_MODELS:
        inside = _all_alike(references, out)
    else:
        inside = _side(references, references.inside, "IN", variance, centre, ddof)
    both = (inside.count > 0) & (out.count > 0)
    if not both.any():
        raise Unavailable("no candidate has both a reference model trained with it and one trained without it")
    gap = float((inside.mean - out.mean)[both].mean())
    mean_in = np.where(inside.count > 0, inside.mean, out.mean + gap)
    mean_out = np.where(out.count > 0, out.mean, inside.mean - gap)
    return inside.log_density(observed, mean_in) - out.log_density(observed, mean_out)


def _references(evidence: Evidence) -> References:
    if evidence.references is None:
        raise Unavailable("needs reference models")
    return evidence.references


def _side(references: References, chosen: Bools, side: str, variance: Variance, centre: str, ddof: int) -> _Side:
    """Moments over the chosen models [R, n] of each candidate."""
    minimum = MINIMUM[variance]
    count = chosen.sum(axis=0).astype(np.float64)
    enough = count.min() if variance == "per-example" else count.max()
    if enough < minimum:
        which = "every candidate" if variance == "per-example" else "a candidate"
        raise Unavailable(f"needs {which} with {minimum} or more {side} reference models, found {enough:.0f}")
    middle = {"mean": _mean, "median": _median}[centre](references.confidence, chosen, count)
    apart = np.where(chosen, references.confidence - middle, 0.0)
    # Deviations are from the centre; what a median leaves of their average is no spread. A mean leaves nothing.
    squares, left = (apart**2).sum(axis=0), apart.sum(axis=0)
    if variance == "shrunk":
        return _shrunk(count, middle, squares)
    if variance == "bayesian":
        return _bayesian(count, middle, squares)
    freedom = np.maximum(count - ddof, 0)
    if variance == "fixed":
        total = squares.sum() - left.sum() ** 2 / count.sum()
        squares, freedom = np.full(len(count), total), np.full(len(count), freedom.sum())
    else:
        squares = squares - left**2 / count
    spread = np.sqrt(np.maximum(squares, 0.0) / freedom)
    return _Side(count, middle, np.maximum(spread, SMALLEST_SPREAD))


def _shrunk(count: Floats, mean: Floats, squares: Floats) -> _Side:
    """Student's t of one more model, from the sums of squares [n] around the means of ``count`` models."""
    own = np.maximum(count - 1, 0)
    usual = squares.sum() / own.sum()
    variance = (STRENGTH * usual + squares) / (STRENGTH + own)
    spread = np.sqrt(variance * (1 + 1 / np.maximum(count, 1)))
    return _Side(count, mean, np.maximum(spread, SMALLEST_SPREAD), STRENGTH + own)


def _bayesian(count: Floats, mean: Floats, squares: Floats) -> _Side:
    """What a normal-inverse-gamma prior predicts of one more model, as ``_shrunk``."""
    usual = squares.sum() / np.maximum(count - 1, 0).sum()
    known = count > 0
    middle, own = mean[known].mean(), np.where(known, mean, 0.0)
    kappa, freedom = MEAN_STRENGTH + count, STRENGTH + count
    drawn = (MEAN_STRENGTH * middle + count * own) / kappa
    total = STRENGTH * usual + squares + MEAN_STRENGTH * count * (own - middle) ** 2 / kappa
    spread = np.sqrt(total / freedom * (1 + 1 / kappa))
    return _Side(count, np.where(known, drawn, np.nan), np.maximum(spread, SMALLEST_SPREAD), freedom)


def _all_alike(references: References, out: _Side) -> _Side:
    """IN models as one gap above each candidate's OUT models, with one spread, from whatever IN models there are."""
    known = references.inside & (out.count > 0)
    if not known.any():
        missing = "found 0" if not references.inside.any() else "and as many OUT"
        raise Unavailable(f"needs candidates with IN reference models, {missing}")
    apart = (references.confidence - out.mean)[known]
    alike = np.ones(len(out.mean))
    mean = np.where(out.count > 0, out.mean, np.nanmean(out.mean)) + apart.mean()
    return _Side(alike, mean, max(apart.std(), SMALLEST_SPREAD) * alike, STRENGTH * alike)


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
