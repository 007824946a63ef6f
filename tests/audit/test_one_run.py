"""Epsilon from one training: published code's numbers, coins that are fair, and a proof that is spent but kept."""

import importlib
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
