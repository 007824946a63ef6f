"""Scores of several releases around each candidate: their moments, coordinates without correlation, and their density."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.lira import STRENGTH
from edgepriv.audit.trained_answers import References

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
        half = times(np.swapaxes(self.scatter, 1, 2), basis)
        return Moments(self.count, times(self.mean[:, None], basis)[:, 0], times(np.swapaxes(half, 1, 2), basis))


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


def uncorrelated(inside: Moments, out: Moments) -> Floats:
    """Coordinates in which the scores around their means, of all candidates together, have variance one and are not correlated.

    Args:
        inside: moments of d releases' scores of IN models.
        out: of OUT models.

    Returns:
        float64 [d, k], without the directions in which models do not differ.
    """
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


def all_alike(inside: Bools, scores: Floats, out: Moments) -> Moments:
    """IN models as one gap above each candidate's OUT models, with one scatter for all candidates.

    Args:
        inside: bool [R, n], the IN models of each candidate.
        scores: float64 [R, n, d].
        out: moments of the OUT models.

    Returns:
        Moments of IN models; ``count`` is that of one model each.

    Raises:
        Unavailable: where no candidate has both IN and OUT models.
    """
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


def fixed(side: Moments) -> tuple[Floats, Floats]:
    """The scatter itself for a scale matrix, with the degrees of freedom of ``lira``'s one spread.

    Args:
        side: moments of n candidates' d scores.

    Returns:
        float64 [n, d, d] and float64 [n].
    """
    return side.scatter + FLOOR * np.eye(side.mean.shape[1]), np.full(len(side.count), STRENGTH)


def shrunk(side: Moments) -> tuple[Floats, Floats]:
    """Scale matrix and degrees of freedom of one more model's scores (an inverse Wishart prior).

    Args:
        side: moments of n candidates' d scores.

    Returns:
        float64 [n, d, d] and float64 [n].
    """
    usual = side.scatter.sum(axis=0) / side.freedom.sum()
    freedom = STRENGTH + side.freedom
    scale = (STRENGTH * usual + side.scatter) / freedom[:, None, None]
    scale = scale * (1 + 1 / np.maximum(side.count, 1))[:, None, None]
    return scale + FLOOR * np.eye(len(usual)), freedom


def times(rows: Floats, basis: Floats) -> Floats:
    """``rows @ basis``; equal rows give equal numbers wherever they stand, which BLAS does not promise.

    Args:
        rows: float64 [..., d].
        basis: float64 [d, k].

    Returns:
        float64 [..., k].
    """
    return np.asarray(sum(rows[..., place, None] * basis[place] for place in range(len(basis))))
