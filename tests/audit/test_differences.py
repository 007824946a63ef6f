"""How far two versions differ, and what the draw of the records may do to the difference."""

import numpy as np
import pytest

from edgepriv.audit import statistics
from edgepriv.audit.differences import Measured, Scored, Side, _figures, joined, rate_at, strongest_difference

N = 400
MEMBER = np.arange(2 * N) < N
EVERYONE = np.arange(2 * N)


def side(effects, seed, shared=0.0, hard=None):
    """Attacks whose scores are normal, members ``effects`` higher; ``shared``: of the variance, what records have in common."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=2 * N) if hard is None else hard
    scores = [
        np.sqrt(shared) * hard + np.sqrt(1 - shared) * rng.normal(size=2 * N) + effect * MEMBER for effect in effects
    ]
    return Side([Scored(f"a{place}", each, EVERYONE) for place, each in enumerate(scores)], MEMBER)


def test_intervals_are_joined_as_newcombe_does():
    """Newcombe 1998, method 10, his first example: 56/70 and 48/80."""
    one, other = (Measured(k / n, statistics.wilson(k, n)) for k, n in ((48, 80), (56, 70)))
    assert joined(one, other) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_errors_that_go_together_make_a_difference_surer():
    one, other = Measured(0.5, (0.4, 0.6)), Measured(0.6, (0.5, 0.7))
    assert joined(one, other, 0.9)[0] > 0 > joined(one, other)[0]
    assert joined(one, other, 1.0) == pytest.approx((0.1, 0.1))


def test_figures_are_those_of_the_audit_with_ties_too():
    tied = Side([Scored("a", np.round(side([0.8], 1).attacks[0].scores), EVERYONE)], MEMBER)
    for attacks in (tied, side([0.3, 1.0], 2)):
        for row, attack in zip(_figures(attacks, (0.05, 0.01)), attacks.attacks, strict=True):
            expected = [statistics.auc(attack.scores, MEMBER)[0]]
            expected += [statistics.tpr_at_fpr(attack.scores, MEMBER, fpr)["value"] for fpr in (0.05, 0.01)]
            assert row == pytest.approx(expected, abs=1e-12)


def test_the_same_version_differs_in_nothing():
    both = side([0.3, 0.6], 3)
    for found in strongest_difference(both, both, (0.05,), paired=True, seed=0, alpha=0.05):
        assert (found.before, found.ci) == (found.after, (0.0, 0.0))


def test_what_records_have_in_common_falls_out_of_the_difference():
    hard = np.random.default_rng(9).normal(size=2 * N)
    before, after = side([0.5], 4, 0.9, hard), side([0.7], 5, 0.9, hard)
    widths = {
        paired: np.ptp(strongest_difference(before, after, (), paired=paired, seed=0, alpha=0.05)[0].ci)
        for paired in (True, False)
    }
    assert widths[True] < 0.6 * widths[False]
    assert strongest_difference(before, after, (), paired=True, seed=0, alpha=0.05)[0].ci[0] > 0


def test_the_strongest_of_many_is_judged_as_chosen():
    """Two versions alike, four attacks each: no change lies outside a 95% interval in few of 30 pairs."""
    few = np.flatnonzero(EVERYONE % 4 == 0)
    outside = 0
    for seed in range(30):
        hard = np.random.default_rng([seed, 1]).normal(size=2 * N)
        pair = [side([0.4] * 4, 100 * seed + place, 0.7, hard) for place in range(2)]
        pair = [
            Side([Scored(each.name, each.scores[few], np.arange(len(few))) for each in whole.attacks], MEMBER[few])
            for whole in pair
        ]
        low, high = strongest_difference(*pair, (), paired=True, seed=seed, alpha=0.05)[0].ci
        outside += not low <= 0 <= high
    assert outside <= 4  # 5 or more of 30 at 5%: one time in seventy


def test_perfect_separation_leaves_room_for_rare_errors():
    apart = Side([Scored("a", MEMBER.astype(float), EVERYONE)], MEMBER)
    (found,) = strongest_difference(apart, apart, (), paired=False, seed=0, alpha=0.05)
    assert found.after == 1.0
    assert found.ci[0] < -0.005


def test_a_rate_counts_the_choice_of_its_threshold():
    curve = statistics.roc(side([1.0], 6).attacks[0].scores, MEMBER)
    measured = rate_at((curve.fpr, curve.tpr), N, N, 0.05, 0.05)
    at_the_threshold = statistics.clopper_pearson(measured.value * N, N)
    assert measured.ci[0] < at_the_threshold[0] < measured.value < at_the_threshold[1] < measured.ci[1]
