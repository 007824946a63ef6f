"""Several releases of one model, combined by a likelihood ratio.

Whoever holds two releases asks both about a record. Releases of one training (float and 4 bits, or two hardened from one
checkpoint) make the same mistakes: their scores hardly differ, and what one of them tells must not count twice. Reference
models were brought through the chains of both, so their scores come in pairs; LiRA then fits one Gaussian of all scores
together around the mean of IN and of OUT models, with a covariance in place of a variance. It is shrunk as the variance of
``lira`` is, towards that of all candidates, which counts for ``STRENGTH`` degrees of freedom: a new vector of scores follows
the multivariate Student's t. Of one release it is that attack to the letter.

Scores of releases that are nearly one and the same have a nearly singular covariance. Directions in which the reference models
do not differ at all, by less than 1e-4 of their spread, hold rounding alone and are left out; what remains is scaled to a
covariance of one over all candidates, so that small differences between releases, which can tell as much as large ones, do
not drown. A release that is the audited file itself then adds nothing.

Releases of separate trainings on the same members are independent given whether the record was one of them: their
log-likelihood ratios are summed.

Offline there are no IN models, and no direction is known in which members lie. They are taken to lie as many standard
deviations above the OUT models in each release: the mean of these deviations, over its own standard deviation, by training,
and over trainings their sum. RMIA has no density of which a joint one could be made: the logarithms of its ratios are averaged
over the releases of a training, so that one training does not count twice, and summed over trainings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.special import gammaln

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.lira import MINIMUM, OWN_IN_MODELS, STRENGTH, lira_offline, lira_online
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.trained_answers import References

Covariance = Literal["shrunk", "per-example"]

SAME = 1e-8
"""Share of the largest variance, of standardised scores, below which a direction is rounding."""
FLOOR = 1e-12
"""Added to variances in units of that of all candidates: keeps scores finite where the models of a side never disagree."""


@dataclass(frozen=True)
class Moments:
    """Models on one side (IN or OUT) of each candidate, by their scores from d releases. count: float64 [n]. mean: float64
    [n, d], NaN for no models. scatter: float64 [n, d, d], products of deviations, summed over models."""

    count: Floats
    mean: Floats
    scatter: Floats

    @property
    def freedom(self) -> Floats:
        """Degrees of freedom of the scatter, float64 [n]."""
        return np.maximum(self.count - 1, 0)

    def along(self, basis: Floats) -> "Moments":
        """The same in other coordinates.

        Args:
            basis: float64 [d, k].

        Returns:
            Moments of k coordinates.
        """
        half = _times(np.swapaxes(self.scatter, 1, 2), basis)
        return Moments(self.count, _times(self.mean[:, None], basis)[:, 0], _times(np.swapaxes(half, 1, 2), basis))


def lira_online_of_all(evidence: Evidence, covariance: Covariance = "shrunk") -> Floats:
    """LiRA online on all releases together: log-likelihood ratio of IN against OUT models at the scores of all.

    Args:
        evidence: with reference models, and with releases.
        covariance: "shrunk", or "per-example" for each candidate's own covariance and a Gaussian.

    Returns:
        float64 [n], in nats; higher for members.

    Raises:
        Unavailable: without releases, and as ``lira_online``.
    """
    scores: Floats = np.sum([_joint_online(group, covariance) for group in by_training(evidence)], axis=0)
    return scores


def lira_offline_of_all(evidence: Evidence) -> Floats:
    """LiRA offline on all releases together: how far the scores lie above those of the OUT models.

    Args:
        evidence: with reference models, and with releases.

    Returns:
        float64 [n], in standard deviations; higher for members.

    Raises:
        Unavailable: without releases, and as ``lira_offline``.
    """
    groups = by_training(evidence)
    scores: Floats = np.sum([_joint_offline(group) for group in groups], axis=0) / np.sqrt(len(groups))
    return scores


def rmia_of_all(run: Callable[..., Floats]) -> Callable[..., Floats]:
    """RMIA on all releases together.

    Args:
        run: ``rmia_online`` or ``rmia_offline``.

    Returns:
        The attack, Evidence -> float64 [n]; it takes the parameters that ``choose_of_all`` gives. It raises Unavailable without
        releases, and where ``run`` does.
    """

    def of_all(evidence: Evidence, **parameters: Any) -> Floats:
        by_release = [
            run(
                release,
                **{name: parameters[name + ending] for name in ("temperature", "a") if name + ending in parameters},
            )
            for release, ending in zip(releases_in(evidence), _endings(evidence), strict=True)
        ]
        by_group = [np.mean([by_release[place] for place in group], axis=0) for group in _places(evidence)]
        scores: Floats = np.sum(by_group, axis=0)
        return scores

    return of_all


def choose_of_all(choose: Callable[[Evidence], dict[str, Any]]) -> Callable[[Evidence], dict[str, Any]]:
    """The parameters of RMIA for each release.

    Args:
        choose: for one release.

    Returns:
        Evidence -> ``temperature`` and ``a`` of the audited file, ``temperature_2`` and ``a_2`` of the first other release, and
        so on, and ``by`` what measure they were chosen. It raises Unavailable where ``choose`` does.
    """

    def of_all(evidence: Evidence) -> dict[str, Any]:
        chosen, by = dict[str, Any](), ""
        for release, ending in zip(releases_in(evidence), _endings(evidence), strict=True):
            own = choose(release)
            by = by or own["by"]
            chosen |= {name + ending: value for name, value in own.items() if name != "by"}
        return chosen | {"by": by}

    return of_all


def _endings(evidence: Evidence) -> list[str]:
    return [f"_{place + 1}" if place else "" for place in range(1 + len(evidence.releases))]


def releases_in(evidence: Evidence) -> list[Evidence]:
    """What is known of each release.

    Args:
        evidence: with releases.

    Returns:
        The evidence on each alone, the audited file first.

    Raises:
        Unavailable: without releases.
    """
    if not evidence.releases:
        raise Unavailable(evidence.lacks.get("releases", "no other release of the model was named (--also)"))
    return [
        replace(release, releases=(), trainings=(), shadow=None, generated=None, inputs=None, queried={})
        for release in (evidence, *evidence.releases)
    ]


def by_training(evidence: Evidence) -> list[list[Evidence]]:
    """The releases that come from one training, together.

    Args:
        evidence: with releases.

    Returns:
        Groups of evidence on one release each; that of the audited file first.

    Raises:
        Unavailable: without releases.
    """
    releases = releases_in(evidence)
    return [[releases[place] for place in group] for group in _places(evidence)]


def _places(evidence: Evidence) -> list[list[int]]:
    """Which releases come from each training, the audited file being 0."""
    trainings = evidence.trainings
    return [[place for place, own in enumerate(trainings) if own == training] for training in dict.fromkeys(trainings)]


def moments(scores: Floats, chosen: Bools) -> Moments:
    """Mean and scatter of some models around each candidate.

    Args:
        scores: float64 [R, n, d], of d releases of each of R models.
        chosen: bool [R, n], the models of each candidate.

    Returns:
        The moments.
    """
    count = chosen.sum(axis=0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        mean = np.where(chosen[..., None], scores, 0.0).sum(axis=0) / count[:, None]
    apart = np.where(chosen[..., None], scores - mean, 0.0)
    size = scores.shape[2]
    scatter = np.empty((len(count), size, size))
    for one in range(size):
        for other in range(one + 1):
            scatter[:, one, other] = scatter[:, other, one] = (apart[..., one] * apart[..., other]).sum(axis=0)
    return Moments(count, mean, scatter)


def correlation(one: References, other: References) -> tuple[float, float]:
    """How alike two releases of reference models score the same record.

    Args:
        one: the models' answers from one release.
        other: from the other, trained on the same records.

    Returns:
        Correlation of the scores around each candidate's mean, pooled over candidates, of IN and of OUT models; NaN where one
        of them does not vary.
    """
    scores = np.stack([one.confidence, other.confidence], axis=2)
    pooled = [moments(scores, side).scatter.sum(axis=0) for side in (one.inside, one.out)]
    with np.errstate(invalid="ignore", divide="ignore"):
        inside, out = (float(each[0, 1] / np.sqrt(each[0, 0] * each[1, 1])) for each in pooled)
    return inside, out


def log_density(observed: Floats, mean: Floats, covariance: Floats, freedom: Floats | None) -> Floats:
    """Of a multivariate Gaussian, or of a multivariate Student's t.

    Args:
        observed: float64 [n, d].
        mean: float64 [n, d].
        covariance: float64 [n, d, d], positive definite; of Student's t its scale matrix.
        freedom: float64 [n], degrees of freedom; None for a Gaussian.

    Returns:
        float64 [n].
    """
    apart, size = observed - mean, observed.shape[1]
    distance = (apart * np.linalg.solve(covariance, apart[..., None])[..., 0]).sum(axis=1)
    volume = np.linalg.slogdet(covariance)[1]
    if freedom is None:
        gaussian: Floats = -(size * np.log(2 * np.pi) + volume + distance) / 2
        return gaussian
    half = (freedom + size) / 2
    constant = gammaln(half) - gammaln(freedom / 2) - size * np.log(freedom * np.pi) / 2
    density: Floats = constant - volume / 2 - half * np.log1p(distance / freedom)
    return density


def _joint_online(group: Sequence[Evidence], covariance: Covariance) -> Floats:
    """The log-likelihood ratio of the releases of one training."""
    if len(group) == 1:
        return lira_online(group[0], covariance)
    references = _references(group)
    scores = np.stack([each.confidence for each in references], axis=2)
    observed = np.stack([release.target.confidence for release in group], axis=1)
    inside, out = (moments(scores, side) for side in (references[0].inside, references[0].out))
    _refuse_few(inside, out, covariance)
    basis = _uncorrelated(inside, out)
    observed, inside, out = _times(observed[:, None], basis)[:, 0], inside.along(basis), out.along(basis)
    both = (inside.count > 0) & (out.count > 0)
    if not both.any():
        raise Unavailable("no candidate has both a reference model trained with it and one trained without it")
    gap = (inside.mean - out.mean)[both].mean(axis=0)
    few = covariance == "shrunk" and bool(inside.count.min() < OWN_IN_MODELS)
    if few:
        # Who has IN models must not show in the scores: one gap and one spread for all candidates, as of one release.
        inside = _all_alike(references[0].inside, _times(scores, basis), out)
    mean_in = np.where((inside.count > 0)[:, None], inside.mean, out.mean + gap)
    mean_out = np.where((out.count > 0)[:, None], out.mean, inside.mean - gap)
    if covariance == "per-example":
        densities = [
            log_density(observed, mean, side.scatter / side.freedom[:, None, None], None)
            for mean, side in ((mean_in, inside), (mean_out, out))
        ]
        return densities[0] - densities[1]
    of_in = log_density(observed, mean_in, *(_fixed(inside) if few else _shrunk(inside)))
    return of_in - log_density(observed, mean_out, *_shrunk(out))


def _joint_offline(group: Sequence[Evidence]) -> Floats:
    """How far the releases of one training lie above their OUT models, in standard deviations of the mean of them."""
    if len(group) == 1:
        return lira_offline(group[0])
    references = _references(group)
    apart = np.mean([lira_offline(release) for release in group], axis=0)
    scores = np.stack([each.confidence for each in references], axis=2)
    pooled = moments(scores, references[0].out).scatter.sum(axis=0)
    spread = np.sqrt(np.diag(pooled))
    if not spread.all():
        return np.asarray(apart)
    return np.asarray(apart / np.sqrt((pooled / np.outer(spread, spread)).mean()))


def _references(group: Sequence[Evidence]) -> list[References]:
    known = [release.references for release in group if release.references is not None]
    if len(known) < len(group):
        raise Unavailable("needs reference models of every release")
    return known


def _refuse_few(inside: Moments, out: Moments, covariance: Covariance) -> None:
    minimum = MINIMUM[covariance]
    for side, which in ((out, "OUT"), (inside, "IN")):
        enough = side.count.min() if covariance == "per-example" else side.count.max()
        few = which == "IN" and covariance == "shrunk" and side.count.min() < OWN_IN_MODELS
        if enough < minimum and not few:
            raise Unavailable(f"needs a candidate with {minimum} or more {which} reference models, found {enough:.0f}")


def _uncorrelated(inside: Moments, out: Moments) -> Floats:
    """Coordinates [d, k] in which the scores around their means, of all candidates together, have variance one each and are not
    correlated; without those in which models do not differ."""
    freedom = inside.freedom.sum() + out.freedom.sum()
    pooled = (inside.scatter.sum(axis=0) + out.scatter.sum(axis=0)) / max(freedom, 1.0)
    spread = np.sqrt(np.diag(pooled))
    if not spread.any():
        return np.full((len(spread), 1), 1 / len(spread))
    known = spread > 0
    units = np.where(known, spread, 1.0)
    values, vectors = np.linalg.eigh(pooled / np.outer(units, units))
    kept = values > SAME * values.max()
    basis: Floats = vectors[:, kept] / np.sqrt(values[kept]) / units[:, None]
    return basis


def _all_alike(inside: Bools, scores: Floats, out: Moments) -> Moments:
    """IN models as one gap above each candidate's OUT models, with one scatter; ``count`` is that of one model each."""
    known = inside & (out.count > 0)
    if not known.any():
        missing = "found 0" if not inside.any() else "and as many OUT"
        raise Unavailable(f"needs candidates with IN reference models, {missing}")
    apart = (scores - out.mean)[known]
    gap, size = apart.mean(axis=0), scores.shape[2]
    middle = np.where((out.count > 0)[:, None], out.mean, np.nanmean(out.mean, axis=0))
    scatter = (apart - gap).T @ (apart - gap) / len(apart)
    count = len(out.count)
    return Moments(np.ones(count), middle + gap, np.broadcast_to(scatter, (count, size, size)))


def _fixed(side: Moments) -> tuple[Floats, Floats]:
    """The scatter itself for a scale matrix [n, d, d], with the degrees of freedom [n] of ``lira``'s one spread."""
    return side.scatter + FLOOR * np.eye(side.mean.shape[1]), np.full(len(side.count), STRENGTH)


def _shrunk(side: Moments) -> tuple[Floats, Floats]:
    """Scale matrix [n, d, d] and degrees of freedom [n] of one more model's scores (an inverse Wishart prior)."""
    usual = side.scatter.sum(axis=0) / side.freedom.sum()
    freedom = STRENGTH + side.freedom
    scale = (STRENGTH * usual + side.scatter) / freedom[:, None, None]
    scale = scale * (1 + 1 / np.maximum(side.count, 1))[:, None, None]
    return scale + FLOOR * np.eye(len(usual)), freedom


def _times(rows: Floats, basis: Floats) -> Floats:
    """``rows @ basis``, [..., d] and [d, k]; equal rows give equal numbers wherever they stand, which BLAS does not promise."""
    return np.asarray(sum(rows[..., place, None] * basis[place] for place in range(len(basis))))
