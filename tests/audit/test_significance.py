"""An attack is better than guessing only beyond chance, and beyond the number of tries."""

import numpy as np
import pytest

from edgepriv.audit.significance import holm, p_value

FPRS = (0.01, 0.001)


def test_p_values_of_guesses_are_below_alpha_no_more_often_than_alpha():
    """Also where true-positive rates are read at a threshold that the non-members themselves set."""
    generator = np.random.default_rng(0)
    member = np.arange(600) < 300
    found = np.array([p_value(generator.normal(size=600), member, (0.01,)) for _ in range(1000)])
    for alpha in (0.01, 0.05, 0.2):
        assert (found < alpha).mean() <= alpha + 2 * np.sqrt(alpha / 1000)
    assert (found < 0.5).mean() > 0.2, "so conservative that it would find nothing"


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_tied_guesses_are_no_finding(levels):
    generator = np.random.default_rng(levels)
    member = np.arange(2000) < 1000
    found = [p_value(generator.integers(0, levels, 2000), member, FPRS) for _ in range(100)]
    assert np.mean(np.array(found) < 0.05) <= 0.1


def test_a_leak_of_few_members_shows_in_the_rate_and_not_in_the_area():
    scores = np.random.default_rng(1).normal(size=4000)
    member = np.arange(4000) < 2000
    scores[:40] += 10
    assert p_value(scores, member, ()) > 0.05
    assert p_value(scores, member, FPRS) < 1e-4


def test_the_rate_s_probability_is_that_of_shuffled_membership():
    generator = np.random.default_rng(2)
    member = np.arange(400) < 200
    scores = generator.normal(size=400)
    scores[:7] += 9  # seven members beyond every non-member, at two allowed false positives
    cut = np.sort(scores[~member])[::-1][2]
    hits = (scores[member] > cut).sum()
    shuffled = [generator.permutation(member) for _ in range(20_000)]
    as_many = [(scores[m] > np.sort(scores[~m])[::-1][2]).sum() >= hits for m in shuffled]
    exact = p_value(scores, member, (0.01,)) / 2  # Bonferroni over the area and one rate
    assert exact == pytest.approx(np.mean(as_many), rel=0.35)


def test_holm_s_adjustment():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
