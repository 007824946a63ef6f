"""Two audits of two versions: what got better or worse, what cannot be compared, and the gate over time."""

import json

import numpy as np
import pytest

from edgepriv.audit import gate, statistics
from edgepriv.audit.assess import roc_points
from edgepriv.audit.baseline import Baseline, judged_against
from edgepriv.audit.change.versions import Version
from edgepriv.audit.evasion.rows import outcomes_in, outcomes_of
from edgepriv.audit.regression import compared
from edgepriv.errors import UserError

N = 600
MEMBER = np.arange(2 * N) < N
HARD = np.random.default_rng(1).normal(size=2 * N)


def version(name, effect, draw=2, names=("loss", "lira-online"), robust=0.6, right=0.9, **changes):
    """An audit, and its scores, of a model that leaks by ``effect``; what is hard about a record is the same for all."""
    rng = np.random.default_rng(draw)
    scores = {"member": MEMBER, "index": np.arange(2 * N)}
    rows = []
    for place, attack in enumerate(names):
        values = HARD + 0.5 * rng.normal(size=2 * N) + (effect + 0.2 * place) * MEMBER
        scores[f"adaptive/{attack}"] = values
        area, interval = statistics.auc(values, MEMBER)
        rows.append(
            {
                "name": attack,
                "threat_model": "adaptive",
                "queries": "clean",
                "n_members": N,
                "n_non_members": N,
                "auc": area,
                "auc_ci": list(interval),
                "tpr_at_fpr": {},
                "roc": roc_points(values, MEMBER),
            }
        )
    held = HARD[:200] < np.quantile(HARD[:200], robust)
    audit = {
        "format": 1,
        "model": name,
        "network": "cnn",
        "sha256": name,
        "seed": 0,
        "references": 4,
        "attacks": rows,
        "data": {"name": "digits", "sha256": "d", "split": {"sha256": {"members": "m", "non_members": "n"}}},
        "settings": {"adversary": {"norm": "linf", "eps": 0.1}},
        "utility": {
            "n_members": N,
            "n_non_members": N,
            "non_member_accuracy": right,
            "non_member_accuracy_ci": list(statistics.wilson(right * N, N)),
        },
        "robustness": {
            **{"norm": "linf", "eps": 0.1, "level": "quick", "steps": 20, "n": 200, "examples_sha256": "e"},
            "worst_case_accuracy": float(held.mean()),
            "ci": list(statistics.wilson(held.sum(), 200)),
            "outcomes": outcomes_of(held, held),
        },
    }
    return Version(name, audit | changes, scores)


def verdicts(before, after):
    return compared(before, after)["verdicts"]


def test_versions_alike_are_within_noise():
    told = compared(version("v1", 0.5), version("v2", 0.5, draw=3))
    assert told["verdicts"] == {"leakage": "within noise", "accuracy": "within noise", "robustness": "within noise"}
    assert [row["paired"] for row in told["figures"] if row["topic"] == "leakage"] == [True, True]


def test_a_leak_that_grew_is_worse_and_one_that_shrank_better():
    low, high = version("v1", 0.4), version("v2", 0.8, draw=3)
    assert verdicts(low, high)["leakage"] == "worse"
    assert verdicts(high, low)["leakage"] == "better"


def test_without_scores_the_records_count_as_others():
    low, high = version("v1", 0.2), version("v2", 1.2, draw=3)
    told = compared(Version("v1", low.audit), high)
    area = told["figures"][0]
    assert (area["figure"], area["paired"], area["verdict"]) == ("AUC of the strongest attack", False, "worse")
    paired = compared(low, high)["figures"][0]
    assert np.ptp(paired["ci"]) < np.ptp(area["ci"])


def test_scores_of_another_audit_are_not_taken():
    low, high = version("v1", 0.4), version("v2", 0.4, draw=3)
    assert compared(Version("v1", low.audit, high.scores), high)["figures"][0]["paired"] is False


def test_robustness_is_compared_example_by_example():
    told = compared(version("v1", 0.5), version("v2", 0.5, draw=3, robust=0.55))
    row = next(row for row in told["figures"] if row["topic"] == "robustness")
    assert (row["paired"], row["verdict"]) == (True, "worse")
    other = version("v2", 0.5, draw=3, robust=0.55)
    other.audit["robustness"]["examples_sha256"] = "others"
    told = compared(version("v1", 0.5), other)
    assert [row["verdict"] for row in told["figures"] if row["topic"] == "robustness"] == ["within noise"]


def test_outcomes_come_back_as_they_were():
    held = HARD[:13] > 0
    assert np.array_equal(outcomes_in(outcomes_of(held, ~held)["clean"], 13), held)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"references": 16}, "reference models: 4 of v1, 16 of v2"),
        ({"seed": 5}, "seed of the audit: 0 of v1, 5 of v2"),
        ({"data": {"sha256": "other"}}, "the data sets differ: what differs may be the data, not the model"),
        (
            {"data": {"sha256": "d", "split": {}}},
            "members or non-members differ: records are compared as two separate draws",
        ),
    ],
)
def test_in_what_audits_differ_is_said(changes, sentence):
    assert sentence in compared(version("v1", 0.5), version("v2", 0.5, **changes))["differs"]


def test_attacks_with_other_numbers_of_references_are_not_compared():
    told = compared(version("v1", 0.5), version("v2", 0.5, references=16))
    assert "1 attack: 4 reference models of v1, 16 of v2" in told["not_compared"]
    assert told["figures"][0]["by_after"].startswith("loss")
    assert any(line.startswith("the strongest attack on v2: lira-online") for line in told["not_compared"])


def test_nothing_in_common_is_not_compared():
    told = compared(version("v1", 0.5, names=["loss"]), version("v2", 0.5, names=["entropy"]))
    assert told["verdicts"]["leakage"] == "not compared"
    assert "1 attack was run on v1 alone, and not on v2: loss (adaptive)" in told["differs"]


def test_attacks_that_are_weaker_do_not_stand_for_the_strongest():
    told = compared(version("v1", 0.5, names=["loss"]), version("v2", 0.5, draw=3, references=16))
    assert told["figures"][0]["verdict"] == "within noise"
    assert told["verdicts"]["leakage"] == "not compared"
    worse = compared(version("v1", 0.2, names=["loss"]), version("v2", 1.2, draw=3, references=16))
    assert worse["verdicts"]["leakage"] == "worse"


def test_an_attack_that_finds_most_members_decides_too():
    before = version("v1", 0.5)
    before.audit["attacks"][0]["tpr_at_fpr"] = {"0.01": {"value": 0.3, "ci": [0.2, 0.4]}}
    told = compared(before, version("v2", 0.5, draw=3, names=["lira-online"]))
    line = next(line for line in told["not_compared"] if line.startswith("the strongest attack on v1"))
    assert "loss" in line
    assert "30.0% of members at 1% false positives" in line


def canaries(found, **changes):
    rate = {"value": found, "ci": [max(0, found - 0.05), min(1, found + 0.05)]}
    row = {"name": "lira-online", "threat_model": "adaptive", "file": None}
    row["canaries"] = {"tpr_at_fpr": {"0.001": {"value": None, "note": "few"}, "0.01": rate}}
    known = {"kind": "mislabelled", "members": 50, "non_members": 50, "threat_model": "adaptive", "reference_models": 4}
    return {"canaries": known | {"attacks": [row]} | changes}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "rare"}, "canaries: of another kind (mislabelled and rare)"),
        ({"reference_models": 16}, "canaries: another number of reference models (4 and 16)"),
        ({"attacks": []}, "canaries: no attack on them was run on both that resolves a false-positive rate of 1%"),
    ],
)
def test_canaries_of_another_kind_are_not_compared(changes, reason):
    told = compared(version("v1", 0.5, **canaries(0.9)), version("v2", 0.5, draw=3, **canaries(0.1, **changes)))
    assert reason in told["not_compared"]
    assert not any(row["figure"].startswith("canaries") for row in told["figures"])


def test_canaries_share_the_error_of_the_other_figures():
    told = compared(version("v1", 0.5, **canaries(0.5)), version("v2", 0.5, draw=3, **canaries(0.1)))
    row = next(row for row in told["figures"] if row["figure"].startswith("canaries"))
    assert row["verdict"] == "better"
    assert np.ptp(row["ci"]) > np.hypot(0.1, 0.1) * 1.1  # wider than the two intervals of 95% joined
    alone = compared(version("v1", 0.5), version("v2", 0.5, draw=3, **canaries(0.1)))
    assert "canaries: only one of the two models was trained with them" in alone["not_compared"]


def test_perturbations_of_other_columns_are_not_compared():
    settings = {"adversary": {"norm": "linf", "eps": 0.1}, "audit": {"perturb": "age"}}
    told = compared(version("v1", 0.5), version("v2", 0.5, draw=3, settings=settings))
    assert "robustness: perturbations by other columns (None and age)" in told["not_compared"]


def kept(tmp_path, of, **changes):
    path = tmp_path / "old.audit.json"
    path.write_text(json.dumps(of.audit | changes))
    np.savez(path.with_suffix(".npz"), **of.scores)
    return path


def outcome(baseline, of):
    limit = judged_against(baseline, of.audit, of.scores)["limit"]
    return limit["outcome"], limit["sentence"]


def test_the_gate_fails_on_a_regression_beyond_noise_alone(tmp_path):
    baseline = Baseline.read(kept(tmp_path, version("v1", 0.4)))
    worse, sentence = outcome(baseline, version("v2", 0.9, draw=3))
    assert worse == "exceeded"
    assert "beyond noise: AUC of the strongest attack 0." in sentence
    assert outcome(baseline, version("v2", 0.4, draw=3))[0] == "met"
    assert outcome(baseline, version("v2", 0.0, draw=3))[0] == "met"


def test_what_could_not_be_compared_is_no_pass(tmp_path):
    baseline = Baseline.read(kept(tmp_path, version("v1", 0.4)))
    for changes in (
        {"references": 1},
        {"robustness": None},
        {"attacks": version("v2", 0.4, names=["entropy"]).audit["attacks"]},
    ):
        of = version("v2", 0.4, draw=3, **changes)
        limit = judged_against(baseline, of.audit, of.scores)["limit"]
        assert limit["outcome"] == "not measured"
        with pytest.raises(UserError, match=r"--baseline .*old\.audit\.json: no regression"):
            gate.exceeded([limit])


def test_baselines_that_say_nothing_about_this_model_are_refused(tmp_path):
    old = version("v1", 0.4)
    without = {key: value for key, value in old.audit.items() if key != "format"}
    (tmp_path / "early.audit.json").write_text(json.dumps(without))
    with pytest.raises(UserError, match="an audit of an earlier version, and this edgepriv compares format 1"):
        Baseline.read(tmp_path / "early.audit.json")
    with pytest.raises(UserError, match="an audit of format 7"):
        Baseline.read(kept(tmp_path, old, format=7))
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(UserError, match="this is no audit"):
        Baseline.read(tmp_path / "bench.json")
    baseline = Baseline.read(kept(tmp_path, old))
    baseline.refuse_other_data("d")
    with pytest.raises(UserError, match=r"an audit on another data set \(digits\)"):
        baseline.refuse_other_data("e")


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("attacks", 0, "auc"), 1.4, "attacks.0.auc is 1.4, and must be less than or equal to 1"),
        (("attacks", 0, "auc_ci"), [0.9, 0.2], "the interval of the AUC is [0.9, 0.2]"),
        (("attacks", 0, "auc_ci"), [0.0, 0.001], "outside its own interval"),
        (("attacks", 1, "n_members"), 0, "attacks.1.n_members is 0"),
        (("attacks", 0, "tpr_at_fpr"), {"0.01": {"value": -0.2, "ci": [0, 1]}}, "tpr_at_fpr.0.01.value is -0.2"),
        (("attacks", 0, "roc"), {"fpr": [0, 0.5, 0.2], "tpr": [0, 1, 1]}, "which no ROC does"),
        (("utility", "non_member_accuracy"), float("nan"), "utility.non_member_accuracy is nan"),
        (("utility", "n_non_members"), "600", "n_non_members is '600', which is no number"),
        (("robustness", "clean_accuracy"), 0.1, "is above that without one"),
    ],
)
def test_a_baseline_whose_figures_cannot_be_is_refused(tmp_path, place, value, reason):
    path = kept(tmp_path, version("v1", 0.4))
    content = json.loads(path.read_text())
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as refused:
        Baseline.read(path)
    assert reason in str(refused.value)


def test_a_baseline_of_another_network_is_refused(tmp_path, monkeypatch):
    baseline = Baseline.read(kept(tmp_path, version("v1", 0.4)))
    for own, refused in (("cnn", False), (None, False), ("mlp", True)):
        monkeypatch.setattr("edgepriv.audit.baseline.network_of", lambda model, own=own: own)
        if refused:
            with pytest.raises(UserError, match=r"another network \(cnn, and this one is mlp\)"):
                baseline.refuse_other_network(None)
        else:
            baseline.refuse_other_network(None)
