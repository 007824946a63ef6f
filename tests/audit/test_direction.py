"""A leak in the other direction is a leak; a guess in the other direction is none."""

from dataclasses import replace

import numpy as np
import pytest
from simulated import simulate
from sklearn.metrics import roc_auc_score

from edgepriv.audit.assess import assess, corrected
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.gate import exceeded, judged, parse_limit
from edgepriv.audit.trained_answers import Shadow

QUICK = ("confidence", "entropy", "loss")


def turned(evidence, membership):
    """The target leaks the other way round: its members were the others."""
    return evidence, ~membership


def audited(evidence, membership, names=QUICK):
    part = assess(evidence, membership, attacks=names, threat_model="none")
    corrected([part])
    return part


def test_members_that_score_low_are_found_as_well_as_members_that_score_high():
    evidence, membership = simulate(2.0, n=600, references=2)
    plain = Evidence(evidence.target)
    stated, other = audited(plain, membership), audited(plain, ~membership)
    for before, after in zip(stated.attacks, other.attacks, strict=True):
        assert (before["direction"], after["direction"]) == ("as stated", "reversed")
        assert after["auc"] == pytest.approx(before["auc"])
        assert after["auc_as_stated"] == pytest.approx(1 - before["auc"])
        assert after["p_adjusted"] == pytest.approx(before["p_adjusted"], rel=1e-6) or after["p_adjusted"] < 1e-12
        scores = other.scores[after["name"]]
        assert roc_auc_score(~membership, scores) == pytest.approx(after["auc"])
        assert np.trapezoid(after["roc"]["tpr"], after["roc"]["fpr"]) == pytest.approx(after["auc"], abs=0.01)
        assert after["balanced_accuracy"] > 0.6


def test_the_gate_judges_a_reversed_attack_by_what_it_tells():
    evidence, membership = simulate(2.0, n=600, references=2)
    audit = {"attacks": audited(Evidence(evidence.target), ~membership).attacks}
    [sentence] = exceeded(judged([parse_limit("auc>0.6")], audit))
    assert ", reversed, asks for answers)" in sentence


def test_a_guess_is_never_reversed():
    """Of many guesses one lies beyond its own 5%; only beyond the correction is it called reversed, and its figures turned."""
    evidence, membership = simulate(0.0, n=200, references=2)
    seen = 0
    for seed in range(60):
        shuffled = np.random.default_rng(seed).permutation(membership)
        part = assess(Evidence(evidence.target), shuffled, attacks=QUICK, threat_model="none")
        seen += bool(part.as_stated)
        corrected([part])
        for row in part.attacks:
            assert (row["direction"] == "reversed") <= (row["p_adjusted"] < 0.05)
            assert roc_auc_score(shuffled, part.scores[row["name"]]) == pytest.approx(row["auc"])
            assert row["auc"] == row["auc_as_stated"] or row["direction"] == "reversed"
    assert seen, "no guess was beyond its own 5%: the test has tested nothing"


def test_the_direction_is_learnt_on_the_models_of_the_attacker():
    evidence, membership = simulate(2.0, n=600, references=8)
    names = ("loss", "confidence-classwise", "lira-online")
    for row in audited(evidence, membership, names).attacks:
        assert row["direction_learnt"] == "as stated"
    references = replace(evidence.references, member=~evidence.references.member)
    shadow = Shadow(evidence.shadow.outputs, ~evidence.shadow.member)
    rows = {
        row["name"]: row
        for row in audited(replace(evidence, references=references, shadow=shadow), ~membership, names).attacks
    }
    assert rows["loss"]["direction_learnt"] == rows["loss"]["direction"] == "reversed"
    assert rows["loss"]["threshold_source"] == "shadow model"
    assert rows["loss"]["balanced_accuracy"] > 0.6
    # LiRA was told that its IN models were OUT, for the target as for the rehearsal: what it states is right again.
    assert rows["lira-online"]["direction_learnt"] == rows["lira-online"]["direction"] == "as stated"


def test_a_target_that_contradicts_the_attacker_s_models_is_not_passed_over():
    evidence, membership = simulate(2.0, n=600, references=8)
    for row in audited(*turned(evidence, membership), ("loss", "lira-online")).attacks:
        assert (row["direction_learnt"], row["direction"]) == ("as stated", "reversed")
        assert row["auc"] > 0.6
