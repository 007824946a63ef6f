"""How far a right answer is from changing, when only labels can be asked for (Choquette-Choo et al. 2021; Li & Zhang 2021).

``labels_of``: float32 [n, ...] in [0, 1] -> int labels [n]. Every question is asked about all examples at once. Random
directions are drawn once and shared by all of them, so that their order means nothing.

Two ways: search for the boundary, or see how much random noise the answer survives. Measured on networks that had
memorised part of their data, the noise told members apart as well with a fraction of the questions.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from edgepriv.audit.answers import Bools, Floats

Inputs = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer]
Labels = Callable[[Inputs], Integers]
Changed = Callable[[Inputs], Bools]

ROUNDS, PROBES = 3, 25
HALVINGS, STEPS = 9, 4
# Length of a probe as a share of the distance: it must see beyond what the bisection leaves open, distance / 2^HALVINGS.
REACH = 0.1

NOISE = np.geomspace(0.02, 1.0, 8)
"""Standard deviations of the noise, in input units."""
NOISE_SAMPLES = 12
NOISE_QUERIES = len(NOISE) * NOISE_SAMPLES
_DISTANCES = np.geomspace(NOISE[0] / 4, NOISE[-1] * 4, 200)


def boundary_queries(rounds: int = ROUNDS, probes: int = PROBES) -> int:
    """The most queries that ``boundary_distance`` makes for one example.

    Args:
        rounds: as for ``boundary_distance``.
        probes: as for ``boundary_distance``.

    Returns:
        Their number.
    """
    return 1 + HALVINGS + sum(_probes(probes, turn) + STEPS + HALVINGS for turn in range(1, rounds + 1))


def boundary_distance(
    labels_of: Labels,
    x: Inputs,
    y: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    rounds: int = ROUNDS,
    probes: int = PROBES,
) -> Floats:
    """Distance from each example to the decision boundary, by labels alone.

    As HopSkipJump (Chen, Jordan & Wainwright 2020) with few queries: bisect towards an example of another label; then, in
    each round, estimate the boundary's normal there from random probes, step along it and bisect back. The start is the
    nearest of ``x`` with another answer, which costs no query. The result is an upper bound; more rounds and probes tighten
    it. Where all answers are the same no boundary is known, and the distance is the diagonal of the unit cube.

    Args:
        labels_of: float32 [m, ...] -> integers [m].
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.
        seed: of the probes.
        rounds: 0 or more.
        probes: of the first round; later rounds use more.

    Returns:
        L2 distance float64 [n] in input units; 0 for a wrong answer.
    """
    flat = x.reshape(len(x), -1)
    right, known, point = _walked(labels_of, x, y, seed=seed, rounds=rounds, probes=probes)
    distance: Floats = np.sqrt(flat.shape[1]) * right
    distance[known] = _length(point - flat[known])
    return distance


def boundary_points(
    labels_of: Labels,
    x: Inputs,
    y: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    rounds: int = ROUNDS,
    probes: int = PROBES,
) -> tuple[npt.NDArray[np.intp], Inputs]:
    """As ``boundary_distance``, the points themselves.

    Args:
        labels_of: float32 [m, ...] -> integers [m].
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.
        seed: of the directions.
        rounds: as for ``boundary_distance``.
        probes: as for ``boundary_distance``.

    Returns:
        Positions [m] of the right answers for which one is known, and the nearest inputs [m, features] that are answered
        otherwise.
    """
    return _walked(labels_of, x, y, seed=seed, rounds=rounds, probes=probes)[1:]


def _walked(
    labels_of: Labels, x: Inputs, y: npt.NDArray[np.int64], *, seed: int, rounds: int, probes: int
) -> tuple[Bools, npt.NDArray[np.intp], Inputs]:
    """Which answers are right, bool [n], then as ``boundary_points``."""
    flat = x.reshape(len(x), -1)
    answered = labels_of(x)
    correct = np.asarray(answered == y)
    right = np.flatnonzero(correct)
    start = _nearest_other(flat, answered, right)
    right, start = right[start >= 0], start[start >= 0]
    if not len(right):
        return correct, right, flat[right]
    home, label = flat[right], y[right]

    def changed(points: Inputs) -> Bools:
        return np.asarray(labels_of(points.reshape(-1, *x.shape[1:])) != label)

    rng = np.random.default_rng(seed)
    point = _bisected(changed, home, flat[start])
    for turn in range(1, rounds + 1):
        away = _length(point - home)
        normal = _normal(changed, point, REACH * away, _directions(_probes(probes, turn), flat.shape[1], rng))
        nearer = _bisected(changed, home, _stepped(changed, point, normal, away / np.sqrt(turn)))
        point = np.where((_length(nearer - home) < away)[:, None], nearer, point)
    return correct, right, point


def noise_survival(labels_of: Labels, x: Inputs, y: npt.NDArray[np.int64], *, seed: int = 0) -> Floats:
    """How often the right answer survives Gaussian noise of each strength in ``NOISE``.

    Args:
        labels_of: float32 [m, ...] -> integers [m].
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.
        seed: of the noise.

    Returns:
        Shares float64 [n, 1 + len(NOISE)] of right answers; the first column is without noise.
    """
    rng = np.random.default_rng(seed)
    right = [(labels_of(x) == y).astype(np.float64)]
    for strength in NOISE:
        surviving = np.zeros(len(x))
        for _ in range(NOISE_SAMPLES):
            noise = np.float32(strength) * rng.standard_normal(x.shape[1:], dtype=np.float32)
            surviving += labels_of(np.clip(x + noise, 0, 1)) == y
        right.append(surviving / NOISE_SAMPLES)
    return np.stack(right, axis=1)


def noise_distance(survival: Floats) -> Floats:
    """Distance that explains ``noise_survival`` best.

    Behind a flat boundary at distance d an answer survives noise of strength s with probability Phi(d / s); d maximises the
    likelihood of the shares seen.

    Args:
        survival: float64 [n, 1 + strengths], of ``noise_survival``.

    Returns:
        float64 [n], in input units; 0 for a wrong answer to x itself.
    """
    surviving = np.clip(ndtr(_DISTANCES[:, None] / NOISE), 1e-3, 1 - 1e-3)
    shares = survival[:, 1:]
    likelihood = shares @ np.log(surviving).T + (1 - shares) @ np.log(1 - surviving).T
    return np.where(survival[:, 0] > 0, _DISTANCES[likelihood.argmax(axis=1)], 0.0)


def _probes(probes: int, turn: int) -> int:
    return int(probes * np.sqrt(turn))


def _length(change: Inputs) -> Floats:
    return np.asarray(np.linalg.norm(change.astype(np.float64), axis=1))


def _nearest_other(flat: Inputs, answered: Integers, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """For each example chosen, the index of the nearest one that is answered differently; -1 where there is none."""
    squares = (flat**2).sum(axis=1)
    nearest = np.full(len(chosen), -1)
    for row, i in enumerate(chosen):
        other = np.flatnonzero(answered != answered[i])
        if len(other):
            nearest[row] = other[np.argmin(squares[other] - 2 * (flat[other] @ flat[i]))]
    return nearest


def _bisected(changed: Changed, home: Inputs, far: Inputs) -> Inputs:
    """The point nearest to ``home`` that is known to change the label, on the straight way to ``far``, which changes it."""
    low, high = np.zeros((len(home), 1), np.float32), np.ones((len(home), 1), np.float32)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        out = changed(home + middle * (far - home))[:, None]
        low, high = np.where(out, low, middle), np.where(out, middle, high)
    return home + high * (far - home)


def _directions(count: int, size: int, rng: np.random.Generator) -> Inputs:
    directions = rng.standard_normal((count, size), dtype=np.float32)
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _normal(changed: Changed, point: Inputs, reach: Floats, directions: Inputs) -> Inputs:
    """Unit vectors towards the changed side: directions added up by whether they lead there, less the average vote."""
    reach32 = reach[:, None].astype(np.float32)
    votes = [
        np.where(changed(np.clip(point + reach32 * direction, 0, 1)), 1, -1).astype(np.float32)
        for direction in directions
    ]
    ballot = np.stack(votes)
    mean = ballot.mean(axis=0)
    normal = (ballot - np.where(np.abs(mean) < 1, mean, 0)).T @ directions
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12))


def _stepped(changed: Changed, point: Inputs, normal: Inputs, length: Floats) -> Inputs:
    """The longest of ``length``, half of it, ... along the normal that still changes the label, else ``point``."""
    moved, waiting = point.copy(), np.ones(len(point), dtype=np.bool_)
    step: Inputs = length[:, None].astype(np.float32)
    for _ in range(STEPS):
        tried = np.clip(point + step * normal, 0, 1)
        reached = changed(tried) & waiting
        moved[reached] = tried[reached]
        waiting &= ~reached
        step = np.float32(0.5) * step
    return moved
