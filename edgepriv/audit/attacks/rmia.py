"""Robust membership inference attack (Zarifzadeh, Liu & Shokri 2024): is x more likely under the target than usual?

With ratio(x) = p(x | target) / p(x), p(x | model) the model's probability of x's true label and p(x) its average over
models, the paper scores x by the share of population examples z with ratio(x) / ratio(z) >= gamma. That share depends
on x through ratio(x) alone and never falls as ratio(x) grows: counting over z ranks candidates as the raw ratio does
and only adds ties. So the raw ratio is the score, and no table of n times m numbers exists. Online it is also the score
of BASE (Lassila, Östman & Ngo 2025).

What z is still good for: ratios of two differently trained targets are not on one scale. Where a population is given,
the median of log ratio(z) is subtracted, so that a threshold learnt by attacking a reference model fits the target.

p(x) online is the mean of IN and OUT models' averages. Offline there are no IN models: with p_in = a p_out + (1 - a)
the mean becomes p(x) = ((1 + a) p_out + 1 - a) / 2 (the paper's approximation).

Probabilities are taken at a temperature of the softmax. At 1 a network that is sure of its members gives all of them 1,
and the ratio cannot tell one from another; at 2 or 3 it can. Where networks are less sure, a temperature above 1 throws
away what tells most. So the temperature, and ``a`` offline, are chosen by attacking reference models, whose members are
known (``choose_online``, ``choose_offline``), by the rates of members found at few false alarms, their geometric mean over
``trials.RATES``, in the scores of all of them together: by AUC another temperature would win.

Thin evidence. Where some candidate has no IN model, p_in = a p_out + 1 - a stands for all of them, as offline: who has IN
models must not show in the scores. A candidate without an OUT model takes the average p_out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.trials import measure, tried_in_turn
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.tempered import HOTTER, TEMPERATURES, Tempered
from edgepriv.audit.trained_answers import References

DEFAULT_TEMPERATURE, DEFAULT_A = 2.0, 0.3
GRID = tuple(round(0.1 * step, 1) for step in range(11))
"""Of ``a``."""


def rmia_offline(evidence: Evidence, temperature: float | None = None, a: float | None = None) -> Floats:
    """RMIA offline (Zarifzadeh et al. 2024): log ratio with OUT models only.

    Args:
        evidence: with reference models.
        temperature: of ``TEMPERATURES``; None chooses it and ``a`` on the reference models.
        a: in [0, 1], of p_in = a p_out + (1 - a); None as for ``temperature``.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: without reference models, or where answers at ``temperature`` are not known.
    """
    chosen = choose_offline(evidence) if temperature is None else {"temperature": temperature}
    return _score(evidence, chosen["temperature"], chosen.get("a", DEFAULT_A) if a is None else a, online=False)


def rmia_online(evidence: Evidence, temperature: float | None = None, a: float | None = None) -> Floats:
    """RMIA online (Zarifzadeh et al. 2024): log ratio with IN and OUT models.

    Args:
        evidence: with reference models.
        temperature: of ``TEMPERATURES``; None chooses it on the reference models.
        a: in [0, 1]; used where some candidate has no IN model.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: without reference models, or where answers at ``temperature`` are not known.
    """
    chosen = choose_online(evidence) if temperature is None else {"temperature": temperature}
    return _score(evidence, chosen["temperature"], chosen.get("a", DEFAULT_A) if a is None else a, online=True)


def choose_offline(evidence: Evidence) -> dict[str, Any]:
    """The parameters of the offline attack that find most members of reference models.

    Args:
        evidence: with reference models.

    Returns:
        ``temperature`` and ``a``, and ``by`` what measure they were chosen.

    Raises:
        Unavailable: without reference models.
    """
    return _chosen(evidence, online=False, grid=GRID)


def choose_online(evidence: Evidence) -> dict[str, Any]:
    """The parameters of the online attack that find most members of reference models.

    Args:
        evidence: with reference models.

    Returns:
        ``temperature``, and ``by`` what measure it was chosen; with ``a`` as for the offline attack where some candidate has
        no IN model.

    Raises:
        Unavailable: without reference models, or where none was trained on a candidate.
    """
    references = _references(evidence)
    if not references.inside.any():
        raise Unavailable("no reference model was trained on a candidate")
    if not references.inside.any(axis=0).all():
        return choose_offline(evidence)
    chosen = _chosen(evidence, online=True, grid=(DEFAULT_A,))
    return {"temperature": chosen["temperature"], "by": chosen["by"]}


def _chosen(evidence: Evidence, *, online: bool, grid: Sequence[float]) -> dict[str, Any]:
    """The best of all temperatures and of ``grid`` on the pooled scores of reference models, each attacked by the others."""
    trials = _trials(_references(evidence), online)
    if not trials:
        default = DEFAULT_TEMPERATURE if _tempered(evidence) else 1.0
        return {
            "temperature": default,
            "a": DEFAULT_A,
            "by": "default, since no reference model can be attacked by others",
        }
    member = np.concatenate([_references(evidence).member[trial.target] for trial in trials])
    by, objective = measure(member)
    best, temperature, a = -np.inf, DEFAULT_TEMPERATURE, DEFAULT_A
    for tried in TEMPERATURES if _tempered(evidence) else TEMPERATURES[:1]:
        ratios = _ratios(evidence, trials, tried, online)
        for share in grid:
            value = objective(np.concatenate([ratio.score(share) for ratio in ratios]))
            if value > best:
                best, temperature, a = value, tried, share
    return {"temperature": temperature, "a": a, "by": f"{by}, {len(trials)} reference models attacked in turn"}


@dataclass(frozen=True, eq=False)
class _Trial:
    """Reference model ``target``, attacked by those of the others that ``inside`` and ``out`` (bool [R, n]) ask."""

    target: int
    inside: Bools
    out: Bools


@dataclass(frozen=True, eq=False)
class _Ratio:
    """What the score is made of: the target's log-probabilities of the candidates [n] and of the population [m], and the
    usual probabilities of OUT models and, online, of IN models [n]."""

    observed: Floats
    out: Floats
    inside: Floats | None
    observed_z: Floats
    out_z: Floats

    def score(self, a: float) -> Floats:
        """log ratio(x), less the median log ratio(z) if there is a population."""
        usual = _interpolated(self.out, a) if self.inside is None else (self.inside + self.out) / 2
        score = self.observed - np.log(usual)
        if not len(self.observed_z):
            return score
        return score - np.median(self.observed_z - np.log(_interpolated(self.out_z, a)))


def _score(evidence: Evidence, temperature: float, a: float, *, online: bool) -> Floats:
    references, population = _references(evidence), evidence.population
    if online and not references.inside.any():
        raise Unavailable("no reference model was trained on a candidate")
    probability = np.exp(_log_probability(_at(references.confidence, references.tempered, temperature)))
    use_inside = online and bool(references.inside.any(axis=0).all())
    observed_z = out_z = np.empty(0)
    if population is not None:
        observed_z = _log_probability(_at(population.target, population.tempered_target, temperature))
        of_models = _at(population.references, population.tempered_references, temperature)
        out_z = np.exp(_log_probability(of_models)).mean(axis=0)
    target = evidence.target
    hot = None if references.tempered is None else target.tempered
    return _Ratio(
        _log_probability(_at(target.confidence, hot, temperature)),
        _mean_out(probability, references.out),
        _mean(probability, references.inside) if use_inside else None,
        observed_z,
        out_z,
    ).score(a)


def _ratios(evidence: Evidence, trials: Sequence[_Trial], temperature: float, online: bool) -> list[_Ratio]:
    references, population = _references(evidence), evidence.population
    observed = _log_probability(_at(references.confidence, references.tempered, temperature))
    probability = np.exp(observed)
    observed_z = np.empty((len(observed), 0))
    if population is not None:
        observed_z = _log_probability(_at(population.references, population.tempered_references, temperature))
    probability_z = np.exp(observed_z)
    return [
        _Ratio(
            observed[trial.target],
            _mean(probability, trial.out),
            _mean(probability, trial.inside) if online else None,
            observed_z[trial.target],
            # The sum of all less the target's own would lose probabilities that are tiny beside it.
            np.delete(probability_z, trial.target, axis=0).mean(axis=0),
        )
        for trial in trials
    ]


def _trials(references: References, online: bool) -> list[_Trial]:
    """Those reference models that the others can attack with OUT models, and online with IN models, of every candidate."""
    trials = []
    for r in tried_in_turn(references):
        inside, out = references.asked_without(r)
        if out.any(axis=0).all() and (not online or inside.any(axis=0).all()):
            trials.append(_Trial(r, inside, out))
    return trials


def _references(evidence: Evidence) -> References:
    if evidence.references is None:
        raise Unavailable("needs reference models")
    return evidence.references


def _tempered(evidence: Evidence) -> bool:
    """Whether all that the attack reads is known at other temperatures."""
    population = evidence.population
    known = population is None or population.tempered_references is not None
    return known and _references(evidence).tempered is not None


def _at(confidence: Floats, tempered: Tempered | None, temperature: float) -> Floats:
    """Log-odds at ``temperature``."""
    if temperature == TEMPERATURES[0]:
        return confidence
    if tempered is None:
        raise Unavailable(f"the answers of the reference models are not known at temperature {temperature:g}")
    log_odds: Floats = tempered[HOTTER.index(temperature)].astype(np.float64)
    return log_odds


def _log_probability(log_odds: Floats) -> Floats:
    return -np.logaddexp(0.0, -log_odds)


def _mean(probability: Floats, chosen: Bools) -> Floats:
    """Average over the chosen models [R, n] of each candidate, [n]."""
    mean: Floats = np.where(chosen, probability, 0.0).sum(axis=0) / np.maximum(chosen.sum(axis=0), 1)
    return mean


def _mean_out(probability: Floats, out: Bools) -> Floats:
    """Average probability of each candidate's label over its OUT models, [n]."""
    known = out.any(axis=0)
    if not known.any():
        raise Unavailable("every reference model was trained on every candidate")
    mean = _mean(probability, out)
    return np.where(known, mean, mean[known].mean())


def _interpolated(out: Floats, a: float) -> Floats:
    return ((1 + a) * out + (1 - a)) / 2
