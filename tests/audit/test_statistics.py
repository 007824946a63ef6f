import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support, roc_auc_score, roc_curve

from edgepriv.audit import statistics
from edgepriv.errors import UserError


def two_normals(rng, members, non_members, area):
    """Scores whose true AUC is ``area``, and their membership."""
    shift = math.sqrt(2) * norm.ppf(area)
    scores = np.concatenate([rng.normal(shift, 1, members), rng.normal(0, 1, non_members)])
    return scores, np.arange(len(scores)) < members


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_roc_and_auc_agree_with_scikit_learn_with_and_without_ties(decimals):
    scores, member = two_normals(np.random.default_rng(0), 300, 500, 0.8)
    scores = scores.round(decimals)
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    curve = statistics.roc(scores, member)
    np.testing.assert_array_equal(curve.fpr, fpr)
    np.testing.assert_array_equal(curve.tpr, tpr)
    assert statistics.auc(scores, member)[0] == pytest.approx(roc_auc_score(member, scores), abs=1e-12)


def test_constant_scores_are_chance():
    scores, member = np.full(400, 3.0), np.arange(400) < 200
    area, (low, high) = statistics.auc(scores, member)
    assert area == 0.5
    assert 0.4 < low < 0.5 < high < 0.6
    assert statistics.tpr_at_fpr(scores, member, 0.01)["value"] == 0
    assert statistics.epsilon_lower_bound(scores, member) == 0
    assert (
        statistics.at_threshold(scores, member, statistics.best_threshold(scores, member))["balanced_accuracy"] == 0.5
    )


def test_auc_interval_equals_the_stratified_bootstrap():
    rng = np.random.default_rng(1)
    scores, member = two_normals(rng, 400, 600, 0.8)
    positive, negative = scores[member], scores[~member]
    areas = [
        roc_auc_score(member, np.concatenate([rng.choice(positive, 400), rng.choice(negative, 600)]))
        for _ in range(1000)
    ]
    np.testing.assert_allclose(statistics.auc(scores, member)[1], np.quantile(areas, [0.025, 0.975]), atol=0.005)


@pytest.mark.parametrize(
    ("members", "non_members", "area", "at_most"),
    [
        (500, 500, 0.5, 0.98),
        (500, 500, 0.7, 0.98),
        (500, 500, 0.97, 0.98),
        (100, 1000, 0.999, 1),
        (500, 500, 0.9995, 1),
    ],
)
def test_auc_interval_covers_the_truth_as_often_as_it_says(members, non_members, area, at_most):
    rng, runs, covered = np.random.default_rng(2), 500, 0
    for _ in range(runs):
        _, (low, high) = statistics.auc(*two_normals(rng, members, non_members, area))
        covered += low <= area <= high
    assert 0.93 <= covered / runs <= at_most


def test_perfect_separation_has_an_interval_that_admits_less():
    area, (low, high) = statistics.auc(np.arange(200.0), np.arange(200) >= 100)
    assert area == high == 1
    assert low == pytest.approx(0.025 ** (1 / 100))


def test_clopper_pearson_agrees_with_scipy():
    for k, n in [(0, 10), (10, 10), (3, 10), (17, 1000), (1, 1)]:
        exact = binomtest(k, n).proportion_ci(method="exact")
        np.testing.assert_allclose(statistics.clopper_pearson(k, n), (exact.low, exact.high), atol=1e-12)


def test_wilson_agrees_with_scipy():
    for k, n in [(0, 10), (10, 10), (3, 10), (17, 1000), (1, 1)]:
        exact = binomtest(k, n).proportion_ci(method="wilson")
        np.testing.assert_allclose(statistics.wilson(k, n), (exact.low, exact.high), atol=1e-12)


@pytest.mark.parametrize("fpr", [0.001, 0.01, 0.1, 1.0])
def test_tpr_at_fpr_is_the_best_over_all_observed_thresholds(fpr):
    scores, member = two_normals(np.random.default_rng(3), 700, 1000, 0.9)
    scores = scores.round(1)
    curve = statistics.roc(scores, member)
    found = statistics.tpr_at_fpr(scores, member, fpr)
    assert found["value"] == curve.tpr[curve.fpr <= fpr].max()
    assert found["ci"][0] <= found["value"] <= found["ci"][1]


def test_a_rate_below_one_non_member_is_not_resolvable():
    scores, member = two_normals(np.random.default_rng(4), 500, 999, 0.9)
    found = statistics.tpr_at_fpr(scores, member, 0.001)
    assert found == {"value": None, "ci": None, "note": "not resolvable with 999 non-members"}
    assert statistics.tpr_at_fpr(*two_normals(np.random.default_rng(4), 500, 1000, 0.9), 0.001)["value"] > 0


def test_binary_rounding_does_not_cost_a_false_positive():
    """0.29 of 100 non-members are 29 of them, though 100 * 0.29 is 28.999999999999996."""
    scores, member = np.append(np.arange(100.0), 70.5), np.arange(101) == 100
    assert statistics.tpr_at_fpr(scores, member, 0.29)["value"] == 1
    assert statistics.tpr_at_fpr(scores, member, 0.28)["value"] == 0


def test_best_threshold_is_the_best_and_lies_between_scores():
    scores, member = two_normals(np.random.default_rng(5), 60, 40, 0.75)
    scores = scores.round(1)
    threshold = statistics.best_threshold(scores, member)
    reached = statistics.at_threshold(scores, member, threshold)["balanced_accuracy"]
    candidates = np.append(np.unique(scores), np.inf)
    assert reached == pytest.approx(max(balanced_accuracy_score(member, scores >= t) for t in candidates))
    assert threshold not in scores


@pytest.mark.parametrize("scores", [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, np.nextafter(1.0, 2.0)]])
def test_best_threshold_is_finite_and_splits_even_neighbouring_numbers(scores):
    member = np.array([False, True])
    threshold = statistics.best_threshold(scores, member)
    assert np.isfinite(threshold)
    assert balanced_accuracy_score(member, np.array(scores) >= threshold) == (1.0 if scores[1] > scores[0] else 0.5)


def test_precision_recall_f1_and_counts_agree_with_scikit_learn():
    scores, member = two_normals(np.random.default_rng(6), 300, 200, 0.7)
    found = statistics.at_threshold(scores, member, 0.3)
    precision, recall, f1, support = precision_recall_fscore_support(member, scores >= 0.3)
    for name, i in (("non_member", 0), ("member", 1)):
        assert found[name] == pytest.approx({"precision": precision[i], "recall": recall[i], "f1": f1[i]})
    assert found["confusion"]["tp"] + found["confusion"]["fn"] == support[1] == 300
    assert found["confusion"]["tn"] + found["confusion"]["fp"] == support[0] == 200
    assert found["balanced_accuracy"] == pytest.approx(recall.mean())


def test_ratios_without_a_case_are_zero():
    nobody = statistics.at_threshold([0.0, 1.0], np.array([True, False]), 2.0)
    assert nobody["member"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert nobody["balanced_accuracy"] == 0.5


def test_epsilon_bound_is_below_the_epsilon_of_randomised_response_but_not_far():
    rng, epsilon, runs = np.random.default_rng(7), 1.0, 100
    member = np.arange(4000) < 2000
    bounds = []
    for seed in range(runs):
        honest = rng.random(4000) < np.exp(epsilon) / (1 + np.exp(epsilon))
        bounds.append(statistics.epsilon_lower_bound(np.where(honest, member, ~member).astype(float), member, seed))
    assert np.mean(np.array(bounds) > epsilon) <= 0.05
    assert np.median(bounds) > 0.8


@pytest.mark.parametrize("tail", ["members found", "non-members found"])
def test_epsilon_bound_looks_in_both_directions(tail):
    member = np.arange(4000) < 2000
    scores = np.random.default_rng(8).normal(size=4000)
    if tail == "members found":
        scores[:200] = 10
    else:
        scores[2000:2200] = -10
    assert statistics.epsilon_lower_bound(scores, member) > 2


def test_epsilon_bound_is_measured_on_the_half_that_did_not_choose_the_threshold():
    member, scores = np.arange(2000) < 1000, np.random.default_rng(8).normal(size=2000)
    first = statistics.halves(member, 5)
    scores[first & member] += 10
    assert statistics.epsilon_lower_bound(scores, member, seed=5) == 0


def test_epsilon_bound_on_noise_is_zero_nearly_always():
    rng, scores = np.random.default_rng(9), np.random.default_rng(9).normal(size=1000)
    found = [statistics.epsilon_lower_bound(scores, rng.permutation(1000) < 500, seed) for seed in range(200)]
    assert np.mean(np.array(found) > 0) <= 0.05


def test_halves_are_stratified_and_depend_on_the_seed():
    member = np.arange(101) < 31
    first = statistics.halves(member, 0)
    assert (first & member).sum() == 15
    assert (first & ~member).sum() == 35
    assert np.array_equal(first, statistics.halves(member, 0))
    assert not np.array_equal(first, statistics.halves(member, 1))


@pytest.mark.parametrize("function", [statistics.roc, statistics.auc, statistics.epsilon_lower_bound])
@pytest.mark.parametrize(
    ("scores", "member", "message"),
    [
        ([0.0, np.nan], [True, False], "1 of 2 attack scores are NaN or infinite"),
        ([0.0, -np.inf], [True, False], "1 of 2 attack scores are NaN or infinite"),
        ([0.0, 1.0], [True, True], "needs members and non-members, got 2 and 0"),
        ([0.0, 1.0], [True], r"got \(2,\) and bool \(1,\)"),
        ([0.0, 1.0], [1, 0], "bool membership"),
    ],
)
def test_bad_input_is_named(function, scores, member, message):
    with pytest.raises(UserError, match=message):
        function(scores, np.array(member))
