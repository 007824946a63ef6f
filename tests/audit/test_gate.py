"""Limits for a release pipeline: read, compared, and named when exceeded."""

import pytest

from edgepriv.audit.gate import exceeded, judged, parse_limit
from edgepriv.errors import UserError


def attack(name, auc, at_1, at_01, threat_model="adaptive"):
    rates = {fpr: {"value": value, "ci": [0, 1]} for fpr, value in (("0.01", at_1), ("0.001", at_01))}
    for rate in rates.values():
        if rate["value"] is None:
            rate |= {"ci": None, "note": "not resolvable with 100 non-members"}
    return {
        "name": name,
        "threat_model": threat_model,
        "auc": auc,
        "auc_ci": [auc - 0.1, auc + 0.1],
        "tpr_at_fpr": rates,
    }


AUDIT = {
    "attacks": [
        attack("confidence", 0.55, 0.02, None),
        attack("lira-online", 0.62, 0.04, 0.012),
        attack("rmia-online", 0.61, 0.05, 0.011, "oblivious"),
    ],
    "robustness": {"norm": "linf", "eps": 0.1, "clean_accuracy": 0.9, "worst_case_accuracy": 0.7},
    "left_out": [{"name": "lira-offline", "reason": "needs reference models"}],
    "settings": {"audit": {"attacks": "all"}},
}


def verdicts(*limits, audit=AUDIT):
    return exceeded(judged([parse_limit(limit) for limit in limits], audit))


@pytest.mark.parametrize(
    ("text", "measure", "fpr", "sign", "value"),
    [
        ("auc>0.55", "auc", None, ">", 0.55),
        (" tpr@0.001 > .03 ", "tpr", 0.001, ">", 0.03),
        ("robust_accuracy<0.6", "robust_accuracy", None, "<", 0.6),
        ("clean_accuracy<1", "clean_accuracy", None, "<", 1.0),
    ],
)
def test_limits_are_read(text, measure, fpr, sign, value):
    limit = parse_limit(text)
    assert (limit.text, limit.measure, limit.fpr, limit.sign, limit.value) == (text, measure, fpr, sign, value)


def test_a_limit_in_percent_is_refused():
    """It would be met by every model."""
    with pytest.raises(UserError, match=r"'auc>55': the limit is a share from 0 to 1"):
        parse_limit("auc>55")


def test_an_attack_that_was_asked_for_and_left_out_is_not_passed_over():
    assert verdicts("auc>0.7") == []
    named = AUDIT | {"settings": {"audit": {"attacks": "confidence, lira-offline"}}}
    for limit in ("auc>0.7", "tpr@0.01>0.5"):
        with pytest.raises(UserError, match=r"asked for, and left out: lira-offline \(needs reference models\)"):
            verdicts(limit, audit=named)
    assert verdicts("robust_accuracy<0.5", audit=named) == []
    assert verdicts("auc>0.6", audit=named)[0].startswith("auc>0.6 is exceeded")


def test_an_exceeded_limit_is_named_beside_one_that_was_not_measured():
    unmeasured = AUDIT | {"robustness": AUDIT["robustness"] | {"worst_case_accuracy": None}}
    first, second = verdicts("robust_accuracy<0.5", "auc>0.6", audit=unmeasured)
    assert first.startswith("auc>0.6 is exceeded: 0.6200")
    assert second == "--fail-if 'robust_accuracy<0.5': this audit did not measure it"


@pytest.mark.parametrize(
    "text",
    ["", "auc", "auc=0.5", "auc>=0.5", "auc>high", "auc>55%", "auc>0.5.5", "auc>.", "tpr>0.1", "loss>1", "tpr@.>1"],
)
def test_what_is_no_limit_is_named(text):
    with pytest.raises(UserError, match="--fail-if") as error:
        parse_limit(text)
    assert repr(text) in str(error.value)


def test_the_worst_attack_is_named_with_its_threat_model():
    assert verdicts("auc>0.6") == ["auc>0.6 is exceeded: 0.6200 [0.5200, 0.7200] (lira-online, knows the training)"]
    oblivious = "rmia-online, knows the training, not the defence"
    assert verdicts("tpr@0.01>0.03") == [f"tpr@0.01>0.03 is exceeded: 0.0500 [0.0000, 1.0000] ({oblivious})"]
    assert verdicts("auc<0.56") == ["auc<0.56 is exceeded: 0.5500 [0.4500, 0.6500] (confidence, asks for answers)"]


def test_a_limit_that_is_met_says_nothing():
    assert verdicts("auc>0.65", "tpr@0.01>0.06", "robust_accuracy<0.6", "clean_accuracy<0.9") == []


def test_a_limit_is_exceeded_beyond_it_and_not_at_it():
    assert verdicts("auc>0.62", "robust_accuracy<0.7") == []


def test_accuracies_name_the_perturbation():
    assert verdicts("robust_accuracy<0.75") == ["robust_accuracy<0.75 is exceeded: 0.7000 (linf eps 0.1)"]
    assert verdicts("clean_accuracy<0.95", "auc>0.6") == [
        "clean_accuracy<0.95 is exceeded: 0.9000 (linf eps 0.1)",
        "auc>0.6 is exceeded: 0.6200 [0.5200, 0.7200] (lira-online, knows the training)",
    ]


def test_rates_that_some_attack_could_not_resolve_count_from_the_others():
    [sentence] = verdicts("tpr@0.001>0.01")
    assert sentence.startswith("tpr@0.001>0.01 is exceeded: 0.0120")
    assert sentence.endswith("(lira-online, knows the training)")


def test_an_attack_that_could_not_be_judged_is_named_when_the_others_pass():
    [found] = judged([parse_limit("tpr@0.001>0.02")], AUDIT)
    assert found["outcome"] == "met"
    assert found["sentence"] == (
        "tpr@0.001>0.02 is not exceeded: at most 0.0120 [0.0000, 1.0000] (lira-online, knows the training); "
        "not judged: confidence, asks for answers (not resolvable with 100 non-members)"
    )


def test_attacks_on_a_part_of_the_candidates_count_like_the_others():
    part = attack("adversarial/lira-online", 0.7, 0.2, None) | {"queries": "adversarial", "n_non_members": 100}
    more = AUDIT | {"attacks": [*AUDIT["attacks"], part]}
    assert verdicts("auc>0.65", audit=more) == [
        "auc>0.65 is exceeded: 0.7000 [0.6000, 0.8000] (adversarial/lira-online, knows the training)"
    ]


def test_a_rate_that_no_audit_measures_is_refused_before_the_audit():
    with pytest.raises(UserError, match=r"'tpr@0\.05>0\.1': known are tpr@0\.01, tpr@0\.001"):
        parse_limit("tpr@0.05>0.1")


def test_what_was_not_measured_is_recorded_as_such():
    [found] = judged([parse_limit("tpr@0.001>0.1")], AUDIT | {"attacks": AUDIT["attacks"][:1]})
    assert found == {
        "limit": "tpr@0.001>0.1",
        "outcome": "not measured",
        "sentence": "this audit did not measure it; confidence, asks for answers (not resolvable with 100 non-members)",
    }


@pytest.mark.parametrize(
    ("limit", "audit"),
    [
        ("tpr@0.001>0.1", AUDIT | {"attacks": AUDIT["attacks"][:1]}),
        ("auc>0.5", AUDIT | {"attacks": []}),
        ("robust_accuracy<0.5", AUDIT | {"robustness": AUDIT["robustness"] | {"worst_case_accuracy": None}}),
    ],
)
def test_a_gate_on_something_that_was_not_measured_does_not_pass_in_silence(limit, audit):
    with pytest.raises(UserError, match="this audit did not measure it"):
        verdicts(limit, audit=audit)


def shifted(auc, low, high):
    return AUDIT | {"shift": {"found": True, "seen": "their inputs", "auc": auc, "auc_ci": [low, high]}}


@pytest.mark.parametrize("limit", ["auc>0.55", "auc>0.9", "tpr@0.01>0.03"])
def test_where_members_and_others_differ_in_themselves_attacks_decide_nothing(limit):
    """Neither exceeded nor kept, whatever the limit."""
    with pytest.raises(UserError, match=r"differ in themselves.*neither kept nor exceeded"):
        verdicts(limit, audit=shifted(0.9, 0.88, 0.92))
    assert verdicts("robust_accuracy<0.6", audit=shifted(0.9, 0.88, 0.92)) == []


def test_an_attack_beyond_the_difference_is_judged():
    assert verdicts("auc>0.6", audit=shifted(0.51, 0.5, 0.515))[0].startswith("auc>0.6 is exceeded: 0.6200")


def test_below_the_limit_is_no_pass_where_members_and_others_differ():
    """A leak against the difference would be hidden."""
    with pytest.raises(UserError, match="a low figure is no pass"):
        verdicts("auc>0.7", audit=shifted(0.51, 0.5, 0.515))


def test_the_interval_that_is_named_is_that_of_the_choice():
    wide = AUDIT | {"attacks": [AUDIT["attacks"][1] | {"auc_ci_simultaneous": [0.45, 0.77]}]}
    assert verdicts("auc>0.6", audit=wide) == [
        "auc>0.6 is exceeded: 0.6200 [0.4500, 0.7700] (lira-online, knows the training)"
    ]
