"""ROC, AUC, true-positive rates and epsilon against scikit-learn, ART and jax-privacy."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score, roc_curve

from edgepriv.audit import statistics

N = 400


@pytest.fixture(params=["continuous", "tied", "weak", "strong"])
def scored(request):
    """Scores of 400 members and 400 non-members, and who is which."""
    rng = np.random.default_rng(5)
    member = rng.permutation(2 * N) < N
    shift = {"continuous": 1.0, "tied": 1.0, "weak": 0.1, "strong": 4.0}[request.param]
    scores = rng.normal(size=2 * N) + shift * member
    return (np.round(scores) if request.param == "tied" else scores), member


@pytest.fixture(scope="module")
def auditing():
    """jax-privacy's one module on scores, which needs no jax; its accountant serves a bound that is not compared."""
    found = importlib.util.find_spec("jax_privacy")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("jax-privacy is not installed: make oracles")
    path = f"{found.submodule_search_locations[0]}/auditing.py"
    spec = importlib.util.spec_from_file_location("jax_privacy_auditing", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "dp_accounting", ModuleType("dp_accounting"))
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def test_roc_and_auc_are_scikit_learns(scored):
    scores, member = scored
    for ours, theirs in zip(
        statistics.roc(scores, member), roc_curve(member, scores, drop_intermediate=False), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert statistics.auc(scores, member)[0] == pytest.approx(roc_auc_score(member, scores), abs=1e-12)


def test_rates_at_a_threshold_are_scikit_learns(scored):
    scores, member = scored
    found = statistics.at_threshold(scores, member, 0.5)
    precision, recall, f1, _ = precision_recall_fscore_support(member, scores >= 0.5, labels=[True, False])
    for place, side in enumerate(("member", "non_member")):
        assert found[side] == pytest.approx({"precision": precision[place], "recall": recall[place], "f1": f1[place]})


@pytest.mark.parametrize("fpr", [0.005, 0.01, 0.1])
def test_true_positive_rates_are_arts(scored, fpr):
    worst_case = pytest.importorskip(
        "art.metrics.privacy.worst_case_mia_score",
        reason="adversarial-robustness-toolbox is not installed: make oracles",
    )
    scores, member = scored
    [(reached, tpr, _)] = worst_case.get_roc_for_fpr(scores, member.astype(int), targeted_fpr=fpr)
    assert reached <= fpr
    assert statistics.tpr_at_fpr(scores, member, fpr)["value"] == pytest.approx(tpr, abs=1e-12)


def test_true_positive_rates_reach_jax_privacys_at_the_corners_of_its_hull(auditing, scored):
    """Theirs lets the attacker toss a coin between two thresholds (the convex hull): never lower, equal at corners."""
    scores, member = scored
    theirs = auditing.CanaryScoreAuditor(scores[member], scores[~member])
    for fpr in (0.01, 0.05, 0.2):
        assert statistics.tpr_at_fpr(scores, member, fpr)["value"] <= theirs.tpr_at_given_fpr(fpr) + 1e-12
    hull = [count / N for count in np.unique(theirs._get_fp_counts())[1:-1]]
    assert hull
    for fpr in hull:
        ours = statistics.tpr_at_fpr(scores, member, fpr)["value"]
        assert ours == pytest.approx(theirs.tpr_at_given_fpr(fpr), abs=1e-9)


def test_epsilon_is_jax_privacys_clopper_pearson_bound(auditing, scored):
    """Ours, told by their functions: the best threshold and direction of one half, judged on the other."""
    scores, member = scored
    first = statistics.halves(member, seed=7)

    def theirs(part, threshold, forward):
        inside, out = scores[part & member], scores[part & ~member]
        if not forward:
            # "Non-member when score < t" in words of their "member when score >= t".
            inside, out, threshold = -out, -inside, -np.nextafter(threshold, -np.inf)
        return auditing.CanaryScoreAuditor(inside, out).epsilon_clopper_pearson(
            statistics.ALPHA, threshold_strategy=auditing.Explicit(threshold)
        )

    tried = [(theirs(first, t, forward), forward, t) for forward in (True, False) for t in np.unique(scores[first])]
    best, forward, threshold = max(tried, key=lambda one: one[0])
    assert best > 0  # else every threshold is as good as any
    ours = statistics.epsilon_lower_bound(scores, member, seed=7)
    assert ours == pytest.approx(theirs(~first, threshold, forward), abs=1e-9)


def test_without_any_leak_no_threshold_is_worth_an_epsilon(auditing):
    """On noise ours stays at 0 about as often as promised; a maximum over all thresholds would not."""
    rng = np.random.default_rng(0)
    member = np.arange(2 * N) < N
    positive = uncorrected = 0
    for seed in range(40):
        noise = rng.normal(size=2 * N)
        positive += statistics.epsilon_lower_bound(noise, member, seed) > 0
        auditor = auditing.CanaryScoreAuditor(noise[member], noise[~member])
        uncorrected += any(
            auditor.epsilon_clopper_pearson(0.05, one_sided=False, threshold_strategy=auditing.Explicit(t)) > 0
            for t in np.quantile(noise, np.linspace(0.01, 0.99, 60))
        )
    assert positive <= 6
    assert uncorrected > positive
