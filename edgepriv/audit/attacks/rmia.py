"""Robust membership inference attack (Zarifzadeh, Liu & Shokri 2024): is x more likely under the target than usual?

With ratio(x) = p(x | target) / p(x), p(x | model) the model's probability of x's true label and p(x) its average over
models, the paper scores x by the share of population examples z with ratio(x) / ratio(z) >= gamma. That share depends
on x through ratio(x) alone and never falls as ratio(x) grows: counting over z ranks candidates as the raw ratio does
and only adds ties. So the raw ratio is the score, and no table of n times m numbers exists.

What z is still good for: ratios of two differently trained targets are not on one scale. Where a population is given,
the median of log ratio(z) is subtracted, so that a threshold learnt by attacking a reference model fits the target.

p(x) online is the mean of IN and OUT models' averages. Offline there are no IN models: with p_in = a p_out + (1 - a)
the mean becomes p(x) = ((1 + a) p_out + 1 - a) / 2 (the paper's approximation). As there, ``a`` is the value in
0, 0.1, ..., 1 with the best AUC when reference models are attacked, and 0.3 if none can be.

Thin evidence. A candidate without an IN model takes a p_out + 1 - a for it; without an OUT model, the average p_out.
"""

import numpy as np

from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.evidence import Evidence, Floats, References
from edgepriv.audit.statistics import auc

DEFAULT_A = 0.3
GRID = np.linspace(0.0, 1.0, 11)
# Reference models attacked to choose ``a``; the AUC is flat around its best value, so two are enough.
TRIALS = 2


def rmia_offline(evidence: Evidence, a: float | None = None) -> Floats:
    """Log ratio with OUT models only, float64 [n]; ``a`` in [0, 1], None: chosen on the reference models."""
    references = _references(evidence)
    a = choose_a(evidence) if a is None else a
    return _centred(evidence, _interpolated(_mean_out(references), a), a)


def rmia_online(evidence: Evidence, a: float | None = None) -> Floats:
    """Log ratio with IN and OUT models, float64 [n]; ``a`` fills in for candidates without IN models."""
    references = _references(evidence)
    if not references.member.any():
        raise Unavailable("no reference model was trained on a candidate")
    a = choose_a(evidence) if a is None else a
    out, trained = _mean_out(references), references.member.sum(axis=0)
    inside = np.where(references.member, _probability(references.confidence), 0.0).sum(axis=0)
    inside = np.where(trained > 0, inside / np.maximum(trained, 1), a * out + (1 - a))
    return _centred(evidence, (inside + out) / 2, a)


def choose_a(evidence: Evidence) -> float:
    """The grid's ``a`` with the highest summed AUC of the offline attack on reference models of known membership."""
    references = _references(evidence)
    total, usable = np.zeros(len(GRID)), 0
    for r in np.flatnonzero(references.member.any(axis=1) & ~references.member.all(axis=1)):
        if usable == TRIALS or len(references.member) < 2:
            break
        trial, member = evidence.with_reference_as_target(int(r))
        rest = _references(trial)
        if rest.member.all():
            continue
        out, observed = _mean_out(rest), _log_probability(trial.target.confidence)
        total += [auc(observed - np.log(_interpolated(out, a)), member)[0] for a in GRID]
        usable += 1
    return float(GRID[total.argmax()]) if usable else DEFAULT_A


def _references(evidence: Evidence) -> References:
    if evidence.references is None:
        raise Unavailable("needs reference models")
    return evidence.references


def _probability(log_odds: Floats) -> Floats:
    return np.exp(_log_probability(log_odds))


def _log_probability(log_odds: Floats) -> Floats:
    return -np.logaddexp(0.0, -log_odds)


def _mean_out(references: References) -> Floats:
    """Average probability of each candidate's label over its OUT models, [n]."""
    out = ~references.member
    count = out.sum(axis=0)
    if not count.any():
        raise Unavailable("every reference model was trained on every candidate")
    mean = np.where(out, _probability(references.confidence), 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(count > 0, mean, mean[count > 0].mean())


def _interpolated(out: Floats, a: float) -> Floats:
    return ((1 + a) * out + (1 - a)) / 2


def _centred(evidence: Evidence, usual: Floats, a: float) -> Floats:
    """log ratio(x), less the median log ratio(z) if there is a population; ``usual`` is p(x) [n]."""
    score = _log_probability(evidence.target.confidence) - np.log(usual)
    if evidence.population is None:
        return score
    usual_z = _interpolated(_probability(evidence.population.references).mean(axis=0), a)
    return score - np.median(_log_probability(evidence.population.target) - np.log(usual_z))
