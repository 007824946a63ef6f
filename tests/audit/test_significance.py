"""An attack is better than guessing only beyond chance, and beyond the number of tries."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from edgepriv.audit.significance import COUNTED, REVERSED, STATED, higher, holm, p_value, rank_sum

FPRS = (0.01, 0.001)


def test_p_values_of_guesses_are_below_alpha_no_more_often_than_alpha():
    """Also where true-positive rates are read at a threshold that the non-members themselves set."""
    generator = np.random.default_rng(0)
    member = np.arange(600) < 300
    found = np.array([p_value(generator.normal(size=600), member, (0.01,))[0] for _ in range(1000)])
    for alpha in (0.01, 0.05, 0.2):
        assert (found < alpha).mean() <= alpha + 2 * np.sqrt(alpha / 1000)
    assert (found < 0.5).mean() > 0.2, "so conservative that it would find nothing"


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_tied_guesses_are_no_finding(levels):
    generator = np.random.default_rng(levels)
    member = np.arange(2000) < 1000
    found = [p_value(generator.integers(0, levels, 2000), member, FPRS)[0] for _ in range(100)]
    assert np.mean(np.array(found) < 0.05) <= 0.1


@pytest.mark.parametrize("scores", [np.arange(9.0), np.array([0, 0, 0, 1, 1, 2, 2, 2, 5.0]), np.zeros(9)])
def test_few_examples_are_counted_one_membership_at_a_time(scores):
    member = np.isin(np.arange(9), (2, 5, 6, 8))
    ranks = np.array([(scores < value).sum() + ((scores == value).sum() + 1) / 2 for value in scores])
    sums = [ranks[list(chosen)].sum() for chosen in combinations(range(9), 4)]
    assert rank_sum(scores, member) == pytest.approx(np.mean(np.array(sums) >= ranks[member].sum() - 1e-9))


@pytest.mark.parametrize(("members", "others", "shift"), [(40, 40, 0.9), (8, 80, 2.2), (30, 60, 1.0)])
def test_the_tail_of_more_examples_is_the_counted_one(members, others, shift):
    """Where scores are not tied; the common approximation is off there by more than the bound below."""
    generator = np.random.default_rng(members)
    member = np.arange(members + others) < members
    scores = generator.normal(size=len(member)) + shift * member
    found = rank_sum(scores, member)
    exact = mannwhitneyu(scores[member], scores[~member], alternative="greater", method="exact").pvalue
    assert len(member) > COUNTED
    assert 1e-9 < exact < 0.01
    assert exact * 0.97 <= found <= exact * 1.25


def test_rare_ties_among_few_members_are_not_taken_for_certainty():
    """Ten of 1,100 score high, five of them among the 100 members: skewed, and no case for a normal distribution."""
    scores, member = np.zeros(1100), np.arange(1100) < 100
    scores[[1, 2, 3, 4, 200, 201, 202, 203]], scores[[5, 204]] = 2, 1
    drawn = np.random.default_rng(0).multivariate_hypergeometric([1090, 2, 8], 100, size=200_000)
    rank = np.array([1090 + 1, 2 * 1090 + 2 + 1, 2 * 1092 + 8 + 1])
    chance = (drawn @ rank >= np.array([95, 1, 4]) @ rank).mean()
    assert chance <= rank_sum(scores, member) < 3 * chance
    claimed = mannwhitneyu(scores[member], scores[~member], alternative="greater", method="asymptotic").pvalue
    assert claimed < chance / 20


def test_perfect_separation_is_beyond_chance_at_any_size():
    for members, others in ((3, 4), (5, 90), (200, 2000)):
        member = np.arange(members + others) < members
        assert rank_sum(member.astype(float) + np.linspace(0, 0.5, len(member)), member) < 0.03
        assert rank_sum(-member.astype(float), member) == pytest.approx(1)


def test_either_direction_is_found_at_the_price_of_both():
    member = np.arange(600) < 300
    scores = np.random.default_rng(3).normal(size=600) + 0.3 * member
    upwards = higher(scores, member, FPRS)
    assert p_value(scores, member, FPRS) == (pytest.approx(2 * upwards), STATED)
    assert p_value(-scores, member, FPRS) == (pytest.approx(2 * upwards), REVERSED)


def test_a_direction_that_was_learnt_costs_next_to_nothing_and_does_not_blind():
    member = np.arange(600) < 300
    scores = np.random.default_rng(3).normal(size=600) + 0.5 * member
    upwards = higher(scores, member, FPRS)
    assert p_value(scores, member, FPRS, learnt=STATED) == (pytest.approx(upwards / 0.95), STATED)
    assert p_value(scores, member, FPRS, learnt=REVERSED) == (pytest.approx(upwards / 0.05), STATED)


def test_a_leak_of_few_members_shows_in_the_rate_and_not_in_the_area():
    scores = np.random.default_rng(1).normal(size=4000)
    member = np.arange(4000) < 2000
    scores[:40] += 10
    assert higher(scores, member, ()) > 0.05
    assert higher(scores, member, FPRS) < 1e-4
    assert p_value(-scores, member, FPRS)[1] == REVERSED, "and so it does among the lowest scores"


def test_the_rate_s_probability_is_that_of_shuffled_membership():
    generator = np.random.default_rng(2)
    member = np.arange(400) < 200
    scores = generator.normal(size=400)
    scores[:7] += 9  # seven members beyond every non-member, at two allowed false positives
    cut = np.sort(scores[~member])[::-1][2]
    hits = (scores[member] > cut).sum()
    shuffled = [generator.permutation(member) for _ in range(20_000)]
    as_many = [(scores[m] > np.sort(scores[~m])[::-1][2]).sum() >= hits for m in shuffled]
    exact = higher(scores, member, (0.01,)) / 2  # Bonferroni over the area and one rate
    assert exact == pytest.approx(np.mean(as_many), rel=0.35)


def test_holm_s_adjustment():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
