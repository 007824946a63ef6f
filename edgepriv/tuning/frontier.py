"""Which candidate wins, which are as good within noise, which is the nearest, and the frontier of size and accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepriv.paired import loss
from edgepriv.tuning.budgets import Budgets, judged
from edgepriv.tuning.candidates import Candidate
from edgepriv.tuning.plan import DEFENCES
from edgepriv.tuning.risks import complete
from edgepriv.tuning.space import EPOCHS, GRANULARITIES, QUANTIZERS, VARIANTS

MARGIN = 1.0
"""Standard errors by which a figure must keep its budget to be chosen: the other half of the records then rarely disagrees."""
ALIKE = 0.01
"""Sizes that differ by less than this share are equal, as in ``edgepriv compare``."""


@dataclass(frozen=True)
class Chosen:
    """``winner``; ``ties``: candidates that are as good within noise, of which it is the smallest or simplest; ``within``:
    whether it keeps every budget on the half that it was chosen by (else it is the nearest)."""

    winner: Candidate
    ties: tuple[Candidate, ...]
    within: bool


def violation(candidate: Candidate, budgets: Budgets, *, final: bool = True) -> float:
    """By how much a candidate misses its budgets.

    Args:
        candidate: that was measured.
        budgets: that were asked for.
        final: whether it was trained in full: a figure must keep its budget by ``MARGIN`` standard errors then. On a lower rung
            accuracy may still come: its budget is widened by the square root of the share of the epochs that were run, and
            what may keep it within so many standard errors goes on.

    Returns:
        The sum of what each is missed by, as shares of the limits; 0 where all are kept.
    """
    margin, slack = (MARGIN, 1.0) if final else (-MARGIN, (EPOCHS[-1] / candidate.epochs) ** 0.5)
    return sum(max(0.0, row.excess) for row in judged(budgets, candidate.figures, margin=margin, slack=slack))


def score(candidate: Candidate, budgets: Budgets, *, final: bool = True) -> float:
    """One number for the search, less is better: below 1 for a file that keeps its budgets.

    Args:
        candidate: that was measured.
        budgets: that were asked for.
        final: whether it was trained in full, as for ``violation``.

    Returns:
        The goal, in [0, 1]; 1 and the violation, where there is one.
    """
    missed = violation(candidate, budgets, final=final)
    if missed > 0:
        return 1 + missed
    return min(1.0, candidate.ratio if budgets.goal == "size" else 1 - float(candidate.figures["accuracy"]))


def choose(candidates: Sequence[Candidate], budgets: Budgets, groups: np.ndarray | None = None) -> Chosen:
    """The best candidate on the half by which files are chosen.

    Of those that keep all budgets the one that is best at the goal. Size: of those within 1% of it that are not less accurate
    beyond noise (the 95% interval of the difference, record by record, holds 0) the simplest. Accuracy: the highest, and of
    equals the simplest within 1% of the smallest. Others that are as accurate within noise are named as ties and not taken:
    where records are few that interval is wide, and a file that loses many points may lie in it. Where none keeps the
    budgets, the one that misses them by least.

    Args:
        candidates: that were measured, at least one.
        budgets: that were asked for.
        groups: int64 [n], whose records the half is of; None where each is by itself.

    Returns:
        The winner, and what it tied with.
    """
    candidates = [each for each in candidates if complete(each.figures, budgets)] or candidates
    within = [each for each in candidates if violation(each, budgets) <= 0 and complete(each.figures, budgets)]
    if not within:
        return Chosen(min(candidates, key=lambda each: (violation(each, budgets), each.size)), (), False)
    best = min(within, key=lambda each: (score(each, budgets), simplicity(each)))
    if budgets.goal == "size":
        alike = [each for each in within if each.size <= best.size * (1 + ALIKE)]
        alike = [each for each in alike if not _worse(each, _most_accurate(alike), groups)]
        ranked = sorted(alike, key=lambda each: (simplicity(each), each.size))
    else:
        alike = [each for each in within if not _worse(each, best, groups)]
        ranked = sorted(alike, key=lambda each: (-each.figures["accuracy"], each.size, simplicity(each)))
        same = [each for each in ranked if each.figures["accuracy"] == ranked[0].figures["accuracy"]]
        simplest = min((each for each in same if each.size <= same[0].size * (1 + ALIKE)), key=simplicity)
        ranked = [simplest, *(each for each in ranked if each is not simplest)]
    return Chosen(ranked[0], tuple(ranked[1:]), True)


def frontier(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other one beats in both size and accuracy.

    Args:
        candidates: that were measured.

    Returns:
        The smallest first.
    """
    kept: list[Candidate] = []
    for each in sorted(candidates, key=lambda one: (one.size, -one.figures["accuracy"])):
        if not kept or each.figures["accuracy"] > kept[-1].figures["accuracy"]:
            kept.append(each)
    return kept


def simplicity(candidate: Candidate) -> tuple[int, ...]:
    """What makes one of two equals the simpler: less is simpler.

    Args:
        candidate: any.

    Returns:
        Places of layout, quantizer, granularity and defence among the known ones, whether the learning rate is another than the
        recipe's, number of rules, epochs.
    """
    plan = candidate.plan
    layouts = [tuple(each.values()) for each in VARIANTS]
    return (
        0 if plan.layout is None else layouts.index(plan.layout),
        QUANTIZERS.index(plan.quantizer),
        GRANULARITIES.index(plan.granularity),
        list(DEFENCES).index(plan.defence),
        plan.lr is not None,
        plan.bits.count("="),
        candidate.epochs + plan.robust_epochs,
    )


def _most_accurate(candidates: Sequence[Candidate]) -> Candidate:
    return max(candidates, key=lambda each: float(each.figures["accuracy"]))


def _worse(one: Candidate, other: Candidate, groups: np.ndarray | None) -> bool:
    """Whether one is less accurate than another beyond noise."""
    return bool(loss(other.right, one.right, groups)["ci"][0] > 0)
