import numpy as np
import pytest

from edgepriv.tuning.budgets import budgets_of
from edgepriv.tuning.candidates import Candidate, accuracy_figures
from edgepriv.tuning.frontier import choose, frontier, score
from edgepriv.tuning.plan import Plan

N = 2000
FLOATING = np.arange(N) >= 200


def candidate(size: int, lost: int, quantizer: str = "minmax", epochs: int = 12, bits: str = "*=4") -> Candidate:
    """``lost``: records, of 2,000, that only the float file is right about."""
    right = np.arange(N) >= 200 + lost
    figures = {"size_bytes": size, "float_bytes": 1000, "seconds": 1.0, **accuracy_figures(FLOATING, right, None)}
    return Candidate(Plan(bits, quantizer, "channel"), epochs, figures, right)


def test_the_smallest_that_keeps_the_budget_wins():
    best = choose([candidate(140, 0), candidate(90, 5), candidate(80, 100)], budgets_of(None, 1.0, None, None))
    assert best.winner.size == 90
    assert best.within
    assert not best.ties


def test_of_files_as_small_the_simplest_is_taken_and_the_tie_is_said():
    learned, plain = candidate(100, 0, "lsq"), candidate(100, 1, "minmax")
    best = choose([learned, plain], budgets_of(None, 1.0, None, None))
    assert best.winner is plain
    assert best.ties == (learned,)


def test_a_tie_is_not_one_where_the_other_is_better_beyond_noise():
    learned, plain = candidate(100, 0, "lsq"), candidate(100, 15, "minmax")
    assert choose([learned, plain], budgets_of(None, 2.0, None, None)).winner is learned


def test_with_a_size_the_most_accurate_wins_and_of_equals_the_smallest():
    large, small, alike, worse = candidate(140, 0), candidate(100, 0), candidate(95, 2), candidate(90, 60)
    best = choose([large, alike, small, worse], budgets_of("0.15x", None, None, None))
    assert best.winner is small
    assert best.ties == (large, alike)  # within noise, and said; but a file that loses more is not taken for that


def test_with_a_size_a_byte_does_not_decide_between_equals():
    plain, learned = candidate(101, 0, "minmax"), candidate(100, 0, "lsq")
    assert choose([learned, plain], budgets_of("0.15x", None, None, None)).winner is plain


def test_where_none_keeps_the_budgets_the_nearest_is_chosen():
    near, far = candidate(110, 0), candidate(300, 0)
    best = choose([far, near], budgets_of("0.1x", 1.0, None, None))
    assert best.winner is near
    assert not best.within


def test_a_candidate_on_a_low_rung_may_still_improve():
    early = candidate(100, 40, epochs=1)
    asked = budgets_of(None, 1.5, None, None)
    assert score(early, asked) > 1
    assert score(early, asked, final=False) == pytest.approx(0.1)


def test_what_misses_a_low_rung_within_noise_goes_on_and_is_not_chosen():
    asked = budgets_of(None, 1.0, None, None)
    early = candidate(100, 73, epochs=1)  # 3.65 points [+-0.43], where 3.46 are the budget of one epoch of twelve
    assert score(early, asked, final=False) == pytest.approx(0.1)
    assert score(candidate(100, 80, epochs=1), asked, final=False) > 1
    assert not choose([candidate(100, 19)], asked).within  # 0.95 points are too near to 1 to be sure


def test_the_frontier_holds_what_nobody_beats():
    small, middle, beaten, large = candidate(80, 50), candidate(100, 10), candidate(120, 20), candidate(140, 0)
    assert frontier([large, beaten, small, middle]) == [small, middle, large]
