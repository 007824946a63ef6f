import numpy as np
import pytest

from edgepriv.audit.statistics import tpr_at_fpr
from edgepriv.report.verdict import GUESSING, cost, findings, headline, leakage, like_guessing, robustness, verdict


def test_guessing_is_said_only_if_every_interval_contains_it(tight_audit):
    assert GUESSING in leakage(tight_audit).sentence
    tight_audit["attacks"][3]["auc_ci"] = [0.501, 0.54]
    assert GUESSING not in leakage(tight_audit).sentence


def test_a_rate_above_its_fpr_is_not_guessing(tight_audit):
    tight_audit["attacks"][0]["tpr_at_fpr"]["0.01"]["ci"] = [0.011, 0.03]
    assert not like_guessing(tight_audit["attacks"][0])
    assert "can partly be told from others" in leakage(tight_audit).sentence


def test_of_many_attacks_one_beyond_its_own_interval_is_chance(tight_audit):
    """Of 75 attacks on a model that leaks nothing, some intervals exclude 0.5."""
    for row in tight_audit["attacks"]:
        row["p_adjusted"] = 0.4
    tight_audit["attacks"][3]["auc_ci"] = [0.501, 0.54]
    assert GUESSING in leakage(tight_audit).sentence
    tight_audit["attacks"][3]["p_adjusted"] = 0.04
    assert "can partly be told from others" in leakage(tight_audit).sentence


def test_ties_are_no_leak(tight_audit):
    """An attack of two scores, right and wrong, names nobody at 1% false alarms."""
    scores, member = np.tile([0.0, 1.0, 1.0], 400), np.arange(1200) < 600
    found = tpr_at_fpr(scores, member, 0.01)
    assert found["ci"][1] < 0.01
    tight_audit["attacks"][0]["tpr_at_fpr"]["0.01"] = found
    assert like_guessing(tight_audit["attacks"][0])
    assert GUESSING in leakage(tight_audit).sentence


def test_a_claim_names_an_attack_whose_interval_supports_it(tight_audit):
    """The largest AUC may be chance on few candidates."""
    tight_audit["attacks"][0] |= {"auc": 0.58, "auc_ci": [0.43, 0.72]}
    tight_audit["attacks"][3] |= {"auc": 0.55, "auc_ci": [0.51, 0.59]}
    found = leakage(tight_audit)
    assert found.short == "membership can partly be told (AUC 0.550 [0.510, 0.590])"
    assert "1 of 16 attacks is beyond guessing, corrected for that many tries" in found.sentence
    assert f"the strongest of them ({tight_audit['attacks'][3]['name']}, " in found.sentence
    assert "0.580" not in found.sentence


def test_a_reversed_attack_is_named_with_its_auc_as_stated(tight_audit):
    turned = {"direction": "reversed", "auc": 0.86, "auc_ci": [0.84, 0.88], "auc_as_stated": 0.14, "p_adjusted": 1e-9}
    tight_audit["attacks"][3] |= turned
    found = leakage(tight_audit)
    assert found.short == "membership can partly be told (AUC 0.860 [0.840, 0.880])"
    assert f"({tight_audit['attacks'][3]['name']} (reversed), by one who" in found.sentence
    assert "as stated, its AUC is 0.140" in found.sentence


SHIFT = {"found": True, "auc": 0.9, "auc_ci": [0.88, 0.92], "seen": "their inputs"}


def test_where_members_differ_in_themselves_no_leak_is_claimed(tight_audit):
    assert "Members and non-members differ in themselves" in leakage(tight_audit | {"shift": SHIFT}).sentence
    tight_audit["attacks"][3] |= {"auc": 0.7, "auc_ci": [0.68, 0.72], "p_adjusted": 1e-9}
    found = leakage(tight_audit | {"shift": SHIFT})
    assert "it shows shift, not leak" in found.sentence
    assert found.short == (
        "members and non-members differ in themselves (AUC 0.900 [0.880, 0.920]): the attacks show shift, not leak "
        "(AUC 0.700 [0.680, 0.720])"
    )
    weaker = SHIFT | {"auc": 0.6, "auc_ci": [0.58, 0.62]}
    found = leakage(tight_audit | {"shift": weaker})
    assert "more than that: the model leaks, or they differ in more than a simple classifier sees" in found.sentence
    for shift in (SHIFT, weaker):
        assert "can partly be told" not in verdict(tight_audit | {"shift": shift}, None)
    assert "can partly be told" in verdict(tight_audit | {"shift": SHIFT | {"found": False}}, None)


def test_how_much_shift_explains_is_said_of_the_strongest_attack(tight_audit):
    best = tight_audit["attacks"][3]
    best |= {"auc": 0.7, "auc_ci": [0.68, 0.72], "p_adjusted": 1e-9}
    left = {"auc": 0.56, "auc_ci": [0.53, 0.59], "explained": 0.14, "explained_ci": [0.11, 0.17]}
    sentence = leakage(tight_audit | {"shift": SHIFT, "attacks": [best | {"beyond_shift": left}]}).sentence
    assert "that attack has AUC 0.560 [0.530, 0.590]: the difference explains at least 0.140 [0.110, 0.170]" in sentence
    none = left | {"explained": -0.01, "explained_ci": [-0.04, 0.02]}
    sentence = leakage(tight_audit | {"shift": SHIFT, "attacks": [best | {"beyond_shift": none}]}).sentence
    assert "that the difference explains any of its AUC is not shown (-0.010 [-0.040, 0.020])" in sentence
    shift = SHIFT | {"overlap": 0.02}
    sentence = leakage(tight_audit | {"shift": shift, "attacks": [best | {"beyond_shift": None}]}).sentence
    assert "only 2.00% of members and non-members are alike enough" in sentence


def test_an_oblivious_attack_counts_if_it_is_the_strongest(tight_audit):
    tight_audit["attacks"][-1] |= {"name": "lira-online", "auc": 0.7, "auc_ci": [0.68, 0.72]}
    sentence = leakage(tight_audit).sentence
    assert "knows the training, not the defence" in sentence
    assert "AUC 0.700 [0.680, 0.720]" in sentence


def test_the_float_twin_is_compared_by_intervals(audit):
    assert leakage(audit).sentence.endswith("the hardened one leaks less.")
    assert "the hardened one is more robust." in robustness(audit).sentence
    for half in (audit, audit["float"]):
        for found in half["attacks"]:
            found |= {"auc": 0.6, "auc_ci": [0.57, 0.63]}
        half["robustness"]["ci"] = [0.1, 0.9]
    assert "shows no difference" in leakage(audit).sentence
    assert "shows no difference" in robustness(audit).sentence


def test_robustness_under_another_budget_is_not_compared(audit):
    audit["float"]["robustness"]["eps"] = 0.05
    assert "undefended" not in robustness(audit).sentence


def test_without_gradients_the_reason_is_told(audit):
    audit["robustness"] |= {
        "worst_case_accuracy": None,
        "ci": None,
        "attacks": [],
        "curve": [],
        "warnings": ["the gradients of this graph cannot be computed: LSTM"],
    }
    finding = robustness(audit)
    assert finding.short == ""
    assert "was not measured: the gradients of this graph cannot be computed: LSTM." in finding.sentence


@pytest.mark.parametrize(
    ("rounds", "words"),
    [([0.9, 1.0, 1.1], "as fast as float within the noise"), ([0.7, 0.8, 0.9], "faster"), ([1.1, 1.2, 1.3], "slower")],
)
def test_speed_is_judged_by_the_rounds(bench, rounds, words):
    bench["ratios"][0]["latency_rounds"] = rounds
    assert words in cost(bench).sentence


def test_the_headline_is_the_model_even_if_it_is_the_reference(bench):
    peers = {**bench, "reference": "model", "ratios": []}
    peers["variants"] = [
        {**row, "name": {"float": "model", "hardened": "peer"}[row["name"]]} for row in bench["variants"]
    ]
    row, ratio = headline(peers)
    assert (row["name"], ratio) == ("model", None)
    assert cost(peers).short == "the file has 246 kB and an inference takes 0.200 ms"


def test_the_verdict_is_one_sentence(audit, bench, tight_audit):
    assert verdict(tight_audit, bench) == (
        "The file has 34.5 kB (7.14 times smaller) and an inference takes 0.204 ms (as fast as float within the "
        "noise); 61.0% [58.0%, 64.0%] of the inputs keep the right label under attack (linf eps 0.1), and attacks on "
        "membership are indistinguishable from guessing at this sample size (AUC 0.510 [0.480, 0.540])."
    )
    assert "membership can partly be told" in verdict(audit, None)


def test_nothing_measured_is_said_so():
    assert verdict(None, None) == "Nothing was measured."
    assert all(
        "not measured" in found.sentence or "nothing is known" in found.sentence for found in findings(None, None)
    )
