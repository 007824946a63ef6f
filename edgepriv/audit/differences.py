"""How far two versions of a model differ in a figure, with an interval that says what the draw of the records may do to it.

Leakage is what the strongest attack finds, and it may be another attack in each version. So the figure is the largest of
all attacks, and the records are drawn anew for all attacks at once (bootstrap): the same draw for both versions where they
were asked about the same records, so that what is hard about a record falls out of the difference. A draw moves the
threshold of a true-positive rate as well. Where counts are too small for that, and where only the JSON of an audit is left,
the intervals of the two figures are joined instead (MOVER: Newcombe 1998; Zou & Donner 2008), as if they had nothing in common.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, norm

from edgepriv.audit import statistics
from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.clustered import Groups, persons_in
from edgepriv.audit.statistics import Interval

DRAWS, AT_ONCE = 400, 100
RUNNING = 8
"""Attacks, by each figure, that may be the strongest in a draw: those behind them are so in next to none."""
RARE_HITS = 5


class Measured(NamedTuple):
    """A figure and its interval."""

    value: float
    ci: Interval


@dataclass(frozen=True)
class Scored:
    """One attack: float64 [n], higher for members; ``place`` int64 [n], which of the candidates it was run on."""

    name: str
    scores: Floats
    place: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """Attacks on one version, and whom they were run on: bool [N] and, where it is known, whose records int64 [N] they are."""

    attacks: Sequence[Scored]
    member: Bools
    groups: Groups = None


class Difference(NamedTuple):
    """``after`` less ``before``, each the largest of all attacks, and which attack gave it."""

    before: float
    after: float
    ci: Interval
    by_before: str
    by_after: str


def joined(before: Measured, after: Measured, correlation: float = 0.0) -> Interval:
    """The interval of a difference from the intervals of the two figures (MOVER).

    Args:
        before: of the one version.
        after: of the other.
        correlation: of their errors, in [-1, 1]; 0 is on the safe side for figures of the same records, which go together.

    Returns:
        (low, high) of after - before, at the confidence of the two.
    """
    gap = after.value - before.value

    def reach(one: float, other: float) -> float:
        return sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    low = reach(after.value - after.ci[0], before.ci[1] - before.value)
    high = reach(after.ci[1] - after.value, before.value - before.ci[0])
    return gap - low, gap + high


def rate_at(curve: tuple[Floats, Floats], members: float, others: float, fpr: float, alpha: float) -> Measured:
    """A true-positive rate with an interval that counts the choice of the threshold, too.

    Of n non-members, those above the threshold with the true false-positive rate are binomial. The interval goes from the
    lower bound at the fewest that these may be to the upper bound at the most, each at a quarter of ``alpha``.

    Args:
        curve: false- and true-positive rates of a ROC curve, from (0, 0) to (1, 1).
        members: their number.
        others: number of non-members, at least 1 / ``fpr``.
        fpr: false-positive rate in (0, 1).
        alpha: 1 minus the confidence.

    Returns:
        The rate at ``fpr`` and its interval.
    """
    at, reached = (np.asarray(side) for side in curve)
    fewest, most = binom.ppf(alpha / 4, others, fpr) / others, binom.isf(alpha / 4, others, fpr) / others

    def below(rate: float) -> float:
        return float(reached[np.searchsorted(at, rate + 1e-12, side="right") - 1])

    above = float(reached[min(int(np.searchsorted(at, most - 1e-12)), len(at) - 1)])
    above = max(above, below(most))
    low, _ = statistics.clopper_pearson(below(fewest) * members, members, alpha / 2)
    _, high = statistics.clopper_pearson(above * members, members, alpha / 2)
    return Measured(below(int(others * fpr + 1e-9) / others), (low, high))


def strongest_difference(
    before: Side, after: Side, fprs: Sequence[float], *, paired: bool, seed: int, alpha: float
) -> list[Difference]:
    """How far the largest AUC, and the largest true-positive rates, of two versions differ.

    Args:
        before: attacks on the one version.
        after: the same attacks on the other, in the same order, or other attacks.
        fprs: false-positive rates that can be resolved on both sides.
        paired: whether both were run on the same records, in the same order.
        seed: of the draws.
        alpha: 1 minus the confidence.

    Returns:
        One for the AUC, then one for each of ``fprs``.
    """
    observed = [_figures(side, fprs) for side in (before, after)]
    same = [one.name for one in before.attacks] == [one.name for one in after.attacks]
    running = [_running(observed if same else [values]) for values in observed]
    kept = [
        Side([side.attacks[row] for row in rows], side.member, side.groups)
        for side, rows in zip((before, after), running, strict=True)
    ]
    rngs = [np.random.default_rng([seed, 61]), np.random.default_rng([seed, 61 if paired else 62])]
    drawn = [_largest_drawn(side, fprs, rng) for side, rng in zip(kept, rngs, strict=True)]
    gaps, results = drawn[1] - drawn[0], []
    for place, fpr in enumerate((None, *fprs)):
        rows = [int(values[:, place].argmax()) for values in observed]
        values = [float(table[row, place]) for table, row in zip(observed, rows, strict=True)]
        gap = values[1] - values[0]
        # The spread of the draws, and not their quantiles: the largest of many attacks lies higher in a draw than in the figure
        # itself, so that intervals made of quantiles are off (one in ten excluded no change where there was none).
        reach = float(norm.isf(alpha / 2) * gaps[:, place].std())
        interval = (gap - reach, gap + reach)
        scored = [side.attacks[row] for side, row in zip((before, after), rows, strict=True)]
        alone = [_alone(one, side, fpr, alpha) for one, side in zip(scored, (before, after), strict=True)]
        if any(rare for _, rare in alone):
            wide = joined(alone[0][0], alone[1][0])
            interval = min(interval[0], wide[0]), max(interval[1], wide[1])
        results.append(Difference(values[0], values[1], interval, scored[0].name, scored[1].name))
    return results


def _running(observed: Sequence[Floats]) -> list[int]:
    """Attacks that may be the strongest in a draw, by the figures of one version or of both."""
    return sorted({int(row) for values in observed for column in values.T for row in np.argsort(-column)[:RUNNING]})


def _alone(attack: Scored, side: Side, fpr: float | None, alpha: float) -> tuple[Measured, bool]:
    """A figure with an interval that needs no large counts, and whether the counts are too small for anything else."""
    member = side.member[attack.place]
    groups = None if side.groups is None else side.groups[attack.place]
    members, others = persons_in(member, groups), persons_in(~member, groups)
    if fpr is None:
        area, pairs = statistics.auc(attack.scores, member)[0], min(members, others)
        return (
            Measured(area, statistics.clopper_pearson(area * pairs, pairs, alpha)),
            min(area, 1 - area) * pairs < statistics.RARE,
        )
    curve = statistics.roc(attack.scores, member)
    measured = rate_at((curve.fpr, curve.tpr), members, others, fpr, alpha)
    return measured, min(measured.value, 1 - measured.value) * members < RARE_HITS


def _figures(side: Side, fprs: Sequence[float]) -> Floats:
    """AUC and rates of every attack, float64 [K, 1 + len(fprs)]."""
    whole = np.ones((1, len(side.member)), dtype=np.float32)
    return np.concatenate([_resampled(attack, side.member, whole, fprs) for attack in side.attacks])


def _largest_drawn(side: Side, fprs: Sequence[float], rng: np.random.Generator) -> Floats:
    """The largest AUC and rates of all attacks in each draw, float64 [DRAWS, 1 + len(fprs)]."""
    return np.concatenate(
        [
            np.max([_resampled(attack, side.member, weights, fprs) for attack in side.attacks], axis=0)
            for weights in _draws(side, rng)
        ]
    )


def _draws(side: Side, rng: np.random.Generator) -> Iterator[npt.NDArray[np.float32]]:
    """How often each record is drawn, float32 [AT_ONCE, N], members and non-members apart, persons as a whole."""
    persons = np.arange(len(side.member)) if side.groups is None else side.groups
    sides = []
    for kind in (side.member, ~side.member):
        names, of = np.unique(persons[kind], return_inverse=True)
        sides.append((kind, len(names), of.reshape(-1)))
    for _ in range(DRAWS // AT_ONCE):
        weights = np.empty((AT_ONCE, len(side.member)), dtype=np.float32)
        for kind, count, of in sides:
            weights[:, kind] = rng.multinomial(count, np.full(count, 1 / count), size=AT_ONCE)[:, of]
        yield weights


def _resampled(attack: Scored, member: Bools, weights: npt.NDArray[np.float32], fprs: Sequence[float]) -> Floats:
    """AUC and true-positive rates of weighted records, float64 [draws, 1 + len(fprs)]; tied scores move together."""
    order = np.argsort(-attack.scores, kind="stable")
    ordered, place = attack.scores[order], attack.place[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    drawn, inside = weights[:, place], member[place]
    hits = np.add.reduceat(drawn * inside, starts, axis=1, dtype=np.float64)
    alarms = np.add.reduceat(drawn * ~inside, starts, axis=1, dtype=np.float64)
    above = np.cumsum(alarms, axis=1)
    members, others = hits.sum(axis=1), above[:, -1]
    # A draw of persons may miss one kind of a part of the candidates altogether.
    pairs = np.maximum(members * others, 1)
    area = (hits * (others[:, None] - above + alarms / 2)).sum(axis=1) / pairs
    rates = [
        (hits * (above <= np.floor(others * fpr + 1e-9)[:, None])).sum(axis=1) / np.maximum(members, 1) for fpr in fprs
    ]
    return np.stack([area, *rates], axis=1)
