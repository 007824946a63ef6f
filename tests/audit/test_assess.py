import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from simulated import simulate
from sklearn.metrics import roc_auc_score

from edgepriv.audit import assess as module
from edgepriv.audit.answers import Outputs
from edgepriv.audit.assess import assess, histogram, roc_points, select, utility
from edgepriv.audit.attacks import ATTACKS, Attack
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.trained_answers import Population, References, Shadow
from edgepriv.errors import UserError

KEYS = {
    "name", "title", "paper", "threat_model", "auc", "auc_ci", "threshold_source", "balanced_accuracy", "accuracy",
    "queries", "queries_per_example", "n_members", "n_non_members", "member", "non_member", "confusion", "tpr_at_fpr",
    "p_value", "chosen", "direction", "direction_learnt", "auc_as_stated",
    "epsilon_lower_bound", "roc", "histogram",
}  # fmt: skip
PLAIN = [name for name, attack in ATTACKS.items() if attack.asks == "clean" and "releases" not in attack.needs]
# What these need, no shadow model can stand in for: their thresholds come from a half of the candidates.
UNREHEARSED = [name for name in PLAIN if not ATTACKS[name].needs <= {"labels", "shadow", "references"}]


@pytest.fixture(scope="module")
def leaky():
    return simulate(2.0, n=1000)


@pytest.fixture(scope="module")
def assessed(leaky):
    evidence, membership = leaky
    return assess(evidence, membership, attacks=PLAIN, threat_model="adaptive", seed=1)


def test_every_attack_is_reported_as_valid_json(leaky, assessed):
    assert [result["name"] for result in assessed.attacks] == PLAIN
    assert assessed.left_out == []
    for result in json.loads(json.dumps(assessed.attacks, allow_nan=False)):
        assert set(result) == KEYS
        assert result["threat_model"] == "adaptive"
        assert result["auc_ci"][0] <= result["auc"] <= result["auc_ci"][1]
        assert result["auc"] == pytest.approx(roc_auc_score(leaky[1], assessed.scores[result["name"]]))
        assert set(result["tpr_at_fpr"]) == {"0.01", "0.001"}
        assert result["tpr_at_fpr"]["0.001"]["note"] == "not resolvable with 500 non-members"
        assert (result["n_members"], result["n_non_members"], result["queries"]) == (500, 500, "clean")
        assert sum(result["confusion"].values()) == (500 if result["name"] in UNREHEARSED else 1000)


def test_thresholds_come_from_other_data_and_are_nearly_the_best(leaky, assessed):
    for result in assessed.attacks:
        if result["name"] in UNREHEARSED:
            assert result["threshold_source"].startswith("random half")
            continue
        source = "reference models" if "references" in ATTACKS[result["name"]].needs else "shadow model"
        assert result["threshold_source"] == source
        scores = assessed.scores[result["name"]]
        curve = module.statistics.roc(scores, leaky[1])
        best = (1 + (curve.tpr - curve.fpr).max()) / 2
        assert best - 0.06 < result["balanced_accuracy"] <= best + 1e-12


def test_the_thresholds_do_not_depend_on_the_evaluated_membership(leaky, assessed):
    """With another truth, the same examples are called members."""
    evidence, membership = leaky
    other = assess(evidence, np.random.default_rng(0).permutation(membership), attacks=PLAIN, threat_model="", seed=1)
    for before, after in zip(assessed.attacks, other.attacks, strict=True):
        if before["name"] in UNREHEARSED:
            continue
        called = [result["confusion"]["tp"] + result["confusion"]["fp"] for result in (before, after)]
        assert called[0] == called[1]


def test_a_foreign_model_gets_its_threshold_from_a_random_half(leaky):
    evidence, membership = leaky
    found = assess(Evidence(evidence.target), membership, attacks=select("all"), threat_model="adaptive")
    assert [result["name"] for result in found.attacks] == select("quick")
    for result in found.attacks:
        assert result["threshold_source"] == "random half of the candidates, judged on the other half"
        assert sum(result["confusion"].values()) == 500
    reasons = {entry["name"]: entry["reason"] for entry in found.left_out}
    assert reasons["shadow-mlp"] == "needs a shadow model"
    assert reasons["lira-online"] == reasons["rmia-offline"] == "needs reference models"
    assert len(reasons) + len(found.attacks) == len(ATTACKS)


def test_one_reference_model_leaves_lira_out_and_keeps_rmia(leaky):
    evidence, membership = leaky
    one = References(evidence.references.confidence[:1], evidence.references.member[:1])
    population = Population(evidence.population.target, evidence.population.references[:1])
    found = assess(
        replace(evidence, references=one, population=population),
        membership,
        attacks=["lira-offline", "lira-online", "rmia-offline"],
        threat_model="adaptive",
    )
    assert [entry["name"] for entry in found.left_out] == ["lira-offline", "lira-online"]
    assert found.attacks[0]["auc"] > 0.6
    assert found.attacks[0]["threshold_source"].startswith("random half")


def test_threshold_rehearsals_never_score_what_the_attack_learnt_from(leaky, monkeypatch):
    evidence, membership = leaky
    shared = []

    def learner(evidence):
        known = set(map(bytes, evidence.shadow.outputs.probabilities))
        shared.append(sum(bytes(row) in known for row in evidence.target.probabilities))
        return evidence.target.confidence

    monkeypatch.setitem(ATTACKS, "learner", Attack("learner", "", "", frozenset({"shadow"}), learner))
    found = assess(evidence, membership, attacks=["learner"], threat_model="adaptive").attacks[0]
    assert found["threshold_source"] == "shadow model"
    assert shared == [0, 0]


def test_broken_scores_are_an_error_not_a_number(leaky, monkeypatch):
    evidence, membership = leaky
    broken = Attack("broken", "", "", frozenset(), lambda evidence: np.full(1000, np.nan))
    monkeypatch.setitem(ATTACKS, "broken", broken)
    with pytest.raises(UserError, match="1000 of 1000 attack scores are NaN"):
        assess(evidence, membership, attacks=["broken"], threat_model="adaptive")


def test_too_few_members_is_named(leaky):
    evidence, _ = leaky
    with pytest.raises(UserError, match="at least two members and two non-members"):
        assess(evidence, np.arange(1000) < 1, attacks=["loss"], threat_model="adaptive")
    with pytest.raises(UserError, match="needs members and non-members, got 0 and 1000"):
        assess(evidence, np.zeros(1000, dtype=bool), attacks=["loss"], threat_model="adaptive")


def test_attacks_are_selected_by_name():
    assert select("all") == list(ATTACKS)
    assert {"correctness", "loss"} <= set(select("quick"))
    assert all(ATTACKS[name].needs <= {"labels", "scores"} and ATTACKS[name].queries == 1 for name in select("quick"))
    assert select(" rmia-online, loss,loss") == ["loss", "rmia-online"]
    both = select("quick,lira-online")
    assert both == [name for name in ATTACKS if name in {*select("quick"), "lira-online"}]
    with pytest.raises(UserError, match=r"unknown attack lyra, rmya: choose all, quick, or some of correctness,"):
        select("loss,rmya,lyra")
    with pytest.raises(UserError, match="no attack named"):
        select(" , ")


def test_utility_counts_right_answers_on_both_sides():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    found = utility(Outputs(p, np.array([0, 1, 0, 0])), np.array([True, True, False, False]))
    assert found["member_accuracy"] == 1
    assert found["non_member_accuracy"] == found["generalisation_gap"] == 0.5
    assert (found["n_members"], found["n_non_members"]) == (2, 2)
    json.dumps(found, allow_nan=False)


def test_roc_points_are_few_exact_and_reach_down_to_the_first_false_positive(leaky, assessed):
    curve = module.statistics.roc(assessed.scores["lira-online"], leaky[1])
    exact = set(zip(curve.fpr.tolist(), curve.tpr.tolist(), strict=True))
    points = roc_points(assessed.scores["lira-online"], leaky[1])
    pairs = list(zip(points["fpr"], points["tpr"], strict=True))
    assert len(pairs) <= 300
    assert set(pairs) <= exact
    assert pairs == sorted(pairs)
    assert pairs[0] == (0, 0)
    assert pairs[-1] == (1, 1)
    assert {1 / 500, 2 / 500, 5 / 500} <= set(points["fpr"])
    # The straight lines between the points lose nearly nothing of the area.
    assert np.trapezoid(points["tpr"], points["fpr"]) == pytest.approx(np.trapezoid(curve.tpr, curve.fpr), abs=0.003)


@pytest.mark.parametrize("scores", [np.arange(100.0), np.zeros(100), np.r_[np.zeros(99), 1e9], np.full(100, 1e12)])
def test_histograms_count_everyone_once(scores):
    found = histogram(scores, np.arange(100) < 30)
    assert len(found["edges"]) - 1 == len(found["members"]) == len(found["non_members"]) <= 60
    assert sum(found["members"]) == 30
    assert sum(found["non_members"]) == 70
    assert (np.diff(found["edges"]) > 0).all()


def test_thirty_thousand_candidates_and_64_references_take_less_than_2_gib():
    rng, n, references = np.random.default_rng(0), 30_000, 64
    probabilities = rng.dirichlet(np.ones(10), size=n).astype(np.float32)
    member = rng.permutation(n) < n // 2
    target = Outputs(probabilities, rng.integers(10, size=n))
    trained_on = rng.random((references, n)) < 0.5
    evidence = Evidence(
        target,
        shadow=Shadow(target, member),
        references=References(rng.normal(size=(references, n)), trained_on),
        population=Population(rng.normal(size=5000), rng.normal(size=(references, 5000))),
    )
    tracemalloc.start()
    for name in ("lira-offline", "lira-online", "rmia-offline", "rmia-online"):
        assert np.isfinite(ATTACKS[name].run(evidence)).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**30
