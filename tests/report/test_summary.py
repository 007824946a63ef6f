from edgepriv.report import summary as page
from edgepriv.report.attackers import attackers
from edgepriv.report.prior import at_prior, precision_cells
from edgepriv.report.summary import defended, limits, summary, worst


def row(name, value, fpr="0.01", ci=(0.1, 0.2), **more):
    unknown = {"value": None, "ci": None, "note": "not resolvable with 50 non-members"}
    rates = {"0.01": unknown, "0.001": unknown} | ({} if value is None else {fpr: {"value": value, "ci": list(ci)}})
    return {"name": name, "threat_model": "adaptive", "auc": 0.6, "auc_ci": [0.55, 0.65], "tpr_at_fpr": rates} | more


def audit_of(*attacks, **more):
    return {"utility": {"n_members": 1000, "n_non_members": 1000}, "attacks": list(attacks), "left_out": []} | more


def test_the_worst_attack_is_told_as_people_out_of_a_thousand():
    said = worst(audit_of(row("weak", 0.05), row("strong", 0.15)))
    assert said.startswith(
        "Of 1,000 members, the best attack (strong, by one who knows the training) names 150 [100 to 200] with 10 false "
        "alarms per 1,000 non-members; guessing names 10. That is 15.0 times as many as guessing."
    )


def test_the_rarest_false_alarms_that_can_be_counted_come_first():
    said = worst(audit_of(row("common", 0.3), row("rare", 0.02, "0.001", (0.01, 0.03))))
    assert (
        "(rare, by one who knows the training) names 20 [10 to 30] with 1 false alarm per 1,000 non-members; guessing names 1."
        in said
    )
    assert said.endswith("1,000, common, by one who knows the training, names 300 [100 to 200]; guessing names 10.")


def test_no_more_than_guessing_is_said_when_the_interval_allows_it():
    assert "includes guessing" in worst(audit_of(row("weak", 0.011, ci=(0.005, 0.02))))


def test_the_precision_of_the_attack_that_was_chosen_has_the_interval_of_all():
    unknown = {"value": None, "ci": None, "ci_simultaneous": None, "note": "not resolvable with 500 non-members"}
    known = {"value": 0.2, "ci": [0.15, 0.25], "ci_simultaneous": [0.1, 0.3]}
    rows = [row(name, 0.1, auc=auc) for name, auc in (("weak", 0.55), ("strong", 0.6))]
    for one in rows:
        one["precision_at_fpr"] = {"0.01": known, "0.001": unknown}
    (finding,) = at_prior(audit_of(*rows, prior=0.01))
    assert "strong" in finding.sentence
    assert "names is 20.0% [10.0%, 30.0%] at 1% false alarms (guessing" in finding.sentence
    assert finding.sentence.endswith("Intervals hold for all 2 attacks at once.")
    assert precision_cells(rows[0])[0] == "20.0% [15.0%, 25.0%]"


def test_what_a_guess_names_is_nobody():
    lucky = row("lucky", 0.2, ci=(0.15, 0.25), p_adjusted=0.06)
    assert worst(audit_of(lucky, lucky)) == (
        "Nobody: none of the 2 attacks is beyond guessing, corrected for that many tries."
    )
    said = worst(audit_of(lucky, row("real", 0.05, ci=(0.03, 0.07), p_adjusted=0.04)))
    assert "the best attack (real, by one who knows the training) names 50" in said


def test_too_few_non_members_leave_pairs_to_compare():
    said = worst(audit_of(row("loss", None)))
    assert "rare false alarms cannot be counted" in said
    assert "in 60 of 100 pairs" in said


def test_a_part_of_the_candidates_is_named():
    said = worst(audit_of(row("adversarial/loss", 0.15, n_members=200, n_non_members=200)))
    assert "judged on 200 members and 200 non-members only" in said


def test_the_float_twin_is_compared_at_the_same_false_alarms():
    twin = audit_of(row("loss", 0.5, ci=(0.4, 0.6)))
    assert "names 500: the hardened model gives away fewer." in worst(audit_of(row("loss", 0.15), float=twin))
    twin = audit_of(row("loss", 0.15, ci=(0.12, 0.25)))
    assert "the intervals overlap, so no difference is shown" in worst(audit_of(row("loss", 0.15), float=twin))


def test_file_data_and_attackers_are_named():
    rows = [row("loss", 0.1), row("loss", 0.1) | {"threat_model": "oblivious"}]
    audit = audit_of(*rows, model="m.onnx", data={"name": "digits"}, references=8)
    assert page.tested(audit).startswith(
        "The file m.onnx, as it ships, was asked about 1,000 records of the data set digits"
    )
    said = attackers(audit)
    assert "Tested: one who asks for answers: can ask the file" in said
    assert "knows the training" not in said  # the loss is read in an answer, whoever trains what
    audit = audit_of(row("lira-online", 0.1), row("lira-online", 0.1) | {"threat_model": "oblivious"}, references=8)
    assert "8 reference models of each kind stood for that: trained as this model was" in attackers(audit)


def test_limits_pass_fail_or_were_not_judged():
    def said(*outcomes):
        asked = [{"limit": f"l{i}", "outcome": outcome, "sentence": f"s{i}"} for i, outcome in enumerate(outcomes)]
        [found] = limits({"limits": asked})
        return found.sentence

    assert said("met") == "PASSED: the limit is kept. l0: s0."
    assert said("met", "exceeded").startswith("FAILED: l1. ")
    assert said("not measured", "exceeded").startswith("FAILED: l1. NOT JUDGED: l0. ")
    assert said().startswith("None were asked for")
    assert list(limits({})) == []


def test_without_an_audit_the_summary_says_that_nothing_is_known(bench):
    topics = {finding.topic: finding.sentence for finding in summary(None, bench)}
    assert "nothing is known" in topics["Leakage, in figures"]
    assert "Who attacks" not in topics


def test_what_defends_the_model_is_said():
    def said(audit):
        return [finding.sentence for finding in defended(audit)]

    assert said({"defended_by": ["RelaxLoss (train)", "output regenerator"]}) == [
        "RelaxLoss (train) and output regenerator."
    ]
    assert said({"defended_by": []}) == ["Nothing: it was trained and ships without a defence."]
    assert said({}) == []
