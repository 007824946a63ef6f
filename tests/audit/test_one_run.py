"""Epsilon from one training: published code's numbers, coins that are fair, and a proof that is spent but kept."""

import importlib
import math
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom, norm

from edgepriv.audit import one_run
from edgepriv.audit.dp_guarantee import compare_with_guarantee
from edgepriv.audit.epsilon import epsilon_part, why_not_drawn
from edgepriv.data import Dataset


@pytest.mark.parametrize(
    ("records", "guesses", "right", "alpha", "delta", "steinke", "gaussian"),
    [
        (1000, 100, 95, 0.05, 1e-5, 2.1651757, 3.3233004),
        (1000, 1000, 700, 0.05, 1e-5, 0.7317406, 1.3719800),
        (500, 50, 50, 0.001, 1e-6, 1.8933257, 2.8443163),
        (5000, 500, 420, 0.01, 1e-3, 0.0, 1.1740094),
        (200, 20, 16, 0.05, 1e-2, 0.0, 0.1810030),
    ],
)
def test_bounds_are_those_of_jax_privacy(records, guesses, right, alpha, delta, steinke, gaussian):
    """``_epsilon_one_run`` and ``_epsilon_one_run_fdp`` of jax_privacy/auditing.py, run on the same counts."""
    assert one_run.steinke(records, guesses, right, alpha, delta) == pytest.approx(steinke, abs=1e-5)
    assert one_run.gaussian(records, guesses, right, alpha, delta) == pytest.approx(gaussian, abs=1e-5)


def p_value_of_the_theorem(records, guesses, right, epsilon, delta):
    """Corollary 5.4 of Steinke et al. 2023 from exact binomial coefficients, summed term by term."""
    chance = [1 / (1 + math.exp(epsilon)), 1 / (1 + math.exp(-epsilon))]
    logs = [math.log(one) for one in chance]
    mass = [
        math.exp(math.log(math.comb(guesses, k)) + k * logs[1] + (guesses - k) * logs[0]) for k in range(guesses + 1)
    ]
    fewer = accumulate(reversed(mass[:right]))  # P[right > Binomial >= right - i], for i = 1, 2, ...
    steepest = max((total / i for i, total in enumerate(fewer, 1)), default=0.0)
    return min(1.0, math.fsum(mass[right:]) + 2 * records * delta * steepest)


@pytest.mark.parametrize("delta", [0.0, 1e-6, 1e-4, 1e-3])
@pytest.mark.parametrize(("records", "guesses"), [(20, 20), (100, 60), (1000, 100), (1000, 400), (20_000, 40)])
def test_p_values_and_bounds_are_those_of_the_theorem(records, guesses, delta):
    """At an epsilon next above the bound the p-value exceeds the significance, and next below it does not."""
    for share in (0.0, 0.5, 0.6, 0.75, 0.9, 1.0):
        right = round(share * guesses)
        for epsilon in (0.0, 0.3, 1.0, 2.5, 6.0):
            expected = p_value_of_the_theorem(records, guesses, right, epsilon, delta)
            ours = one_run.p_value(records, guesses, right, epsilon, delta)
            assert ours == pytest.approx(expected, rel=1e-8, abs=1e-14)
        for significance in (0.05, 0.001):
            bound = one_run.steinke(records, guesses, right, significance, delta)
            assert p_value_of_the_theorem(records, guesses, right, bound + 1e-5, delta) > significance
            if bound > 0:
                assert p_value_of_the_theorem(records, guesses, right, bound - 1e-5, delta) <= significance


@pytest.mark.parametrize(
    ("records", "guesses", "right", "delta", "printed"),
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.675)],
)
def test_the_paper_prints_these_bounds(records, guesses, right, delta, printed):
    """Steinke et al. 2023, appendix D and section 7, at 95%: one is rounded, the other cut after its third digit."""
    assert one_run.steinke(records, guesses, right, 0.05, delta) == pytest.approx(printed, abs=1e-3)


def test_without_delta_it_is_the_binomial_tail():
    found = one_run.steinke(1000, 100, 80, 0.05, 0.0)
    assert binom.sf(79, 100, expit(found)) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 1e-5), (1.0, 1e-5), (8.0, 1e-6)])
def test_the_gaussian_mechanism_spends_its_delta(epsilon, delta):
    """Balle & Wang 2018: delta of a Gaussian mechanism, in closed form."""
    mu = one_run.gaussian_mu(epsilon, delta)
    assert norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) == pytest.approx(delta)


def of(scores, member, delta=0.0, seed=0):
    records = {"a": one_run.Records(np.asarray(scores, float), np.arange(len(member)))}
    return one_run.one_run_part(records, member, alpha=0.05, delta=delta, seed=seed)


def test_an_attack_that_knows_all_shows_what_so_many_records_can():
    """Half of 400 records judge: 200 right guesses, and a p-value divided by the chance of 100 heads."""
    member = np.arange(400) < 200
    found = of(member, member)["one_run"]
    assert (found["records"], found["guesses"], found["right"]) == (200, 200, 200)
    significance = 0.05 * binom.pmf(100, 200, 0.5)
    chance = significance ** (1 / 200)
    assert found["lower_bound"] == pytest.approx(np.log(chance / (1 - chance)), abs=1e-5)


def test_low_scores_tell_as_much_as_high_ones():
    member = np.arange(400) < 200
    assert of(-1.0 * member, member)["one_run"] == of(1.0 * member, member)["one_run"]


def test_equal_scores_tell_nothing_though_members_stand_first():
    member = np.arange(2000) < 1000
    assert of(np.zeros(2000), member, delta=1e-5)["one_run"]["attack"] is None


def test_the_larger_side_is_drawn_from():
    member = np.arange(1100) < 100
    assert of(member, member)["one_run"]["records"] == 100


@pytest.fixture(scope="module")
def spent():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        module = importlib.import_module("violation_audit")
        patch.setattr(module, "ATTACKS", 10)
        yield module


def test_a_proof_that_is_kept_is_seldom_called_violated_and_a_false_one_is(spent):
    """Of randomised response, which spends its epsilon. Ten of 60 come once in 1,500 times if the share is 5%."""
    found = spent.shares(2.0, 0.0, 400, 60)
    assert binom.sf(9, 60, 0.05) < 1 / 1000
    assert found["warned"] * 60 < 10
    assert found["one_run"] * 60 < 10
    assert found["control"] > 0.9


def test_the_warning_names_the_attack_of_the_larger_bound():
    """With few records the two rates show more than guesses that are divided by the chance of half heads."""
    member = np.arange(400) < 200
    scores, rows = {"member": member, "none/a": member + 0.0}, [{"name": "a", "threat_model": "none"}]
    plain = compare_with_guarantee({"epsilon": 0.1, "delta": 0.0}, rows, scores, 0)
    both = compare_with_guarantee({"epsilon": 0.1, "delta": 0.0}, rows, scores, 0, drawn=True)
    assert plain["warning"]
    assert both["warning"]
    assert of(member, member)["one_run"]["lower_bound"] > both["lower_bound"] > plain["lower_bound"]


def dataset(**known):
    x = np.zeros((4, 2), np.float32)
    return Dataset("d", x, np.zeros(4, np.int64), ("a", "b"), **known)


def test_chance_decides_in_one_pool_and_nowhere_else():
    assert why_not_drawn(dataset()) is None
    assert "files say who was a member" in why_not_drawn(dataset(known_members=2))
    assert "training part of d" in why_not_drawn(dataset(parts=np.array(["train", "train", "test", "test"])))
    assert "whole persons" in why_not_drawn(dataset(groups=np.array([0, 0, 1, 1])))
    part = epsilon_part([], {"member": np.arange(4) < 2}, "for a reason", delta=None, seed=0)
    assert part == {"drawn": False, "not_run": "a bound from one training needs members drawn by chance: for a reason"}
