"""The risk statement: what was tested, what was not, the figures, and who answers for them."""

import json

import pytest

from edgepriv.errors import UserError
from edgepriv.report.declared import NOTHING_DECLARED, Declared
from edgepriv.report.html import render
from edgepriv.report.side_by_side import altered_audits
from edgepriv.report.statement import digest, is_altered, signed, statement_lines, statement_of

SIGNED = Declared(
    context="handed to hospitals on devices", run_by="A. Meyer", sign_off="B. Roth, data protection officer"
)


@pytest.fixture
def stated(audit):
    def stated(declared=NOTHING_DECLARED, **more):
        content = audit | {"model": "m.onnx", "sha256": "ab"} | more
        facts = {"date": "2026-11-26", "recipe_sha256": "ef", "parameters": 61706}
        return signed(content | {"statement": statement_of(content, declared, **facts)}, declared)

    return stated


def statuses(content):
    return {(row["attack"], row["attacker"]): row["status"] for row in content["statement"]["coverage"]}


def test_attacks_that_were_not_run_are_named_with_the_reason(stated):
    content = stated(attribute_inference={"status": "not applicable", "reason": "no table"}, robustness=None)
    status = statuses(content)
    assert status["membership inference", "answers"] == status["membership inference", "training"] == "executed"
    assert status["membership inference", "file"] == "not run"
    assert status["attribute inference", None] == "not applicable"
    assert (
        status["evasion", None]
        == status["model inversion", None]
        == status["reconstruction of records", None]
        == "not run"
    )
    assert all(row["reason"] for row in content["statement"]["coverage"])


def test_nothing_is_taken_for_said_that_nobody_said(stated):
    statement = stated()["statement"]
    assert statement["context"] == statement["basis"]["run_by"] == "not stated"
    assert statement["sign_off"] is None
    assert "signed by: nobody" in " ".join(statement_lines(stated()))


def test_only_figures_that_exist_are_listed(stated):
    def names(content):
        return [row["figure"] for row in content["statement"]["figures"]]

    assert names(stated())[:3] == [
        "AUC of the strongest attack",
        "members found with 1% false alarms by the best attack",
        "members found with 0.1% false alarms by the best attack",
    ]
    assert not any("prior" in name or "canaries" in name or "epsilon" in name for name in names(stated()))
    part = {
        "status": "executed",
        "reason": "",
        "figures": [{"figure": "sex", "value": 0.7, "ci": [0.6, 0.8], "guessing": 0.5}],
    }
    assert "sex" in names(stated(attribute_inference=part))


def test_attacks_of_which_only_a_bound_is_known_were_executed(stated):
    bounded = {"worst_case_accuracy": None, "at_most": 0.05, "attacks": [{}, {}], "warnings": ["gradients vanish"]}
    content = stated(robustness=bounded | {"norm": "linf", "eps": 0.1, "n": 200, "unit": "input"})
    [row] = [row for row in content["statement"]["coverage"] if row["attack"] == "evasion"]
    assert row["status"] == "executed"
    assert "an upper bound alone; gradients vanish" in row["reason"]
    [figure] = [row for row in content["statement"]["figures"] if row["about"] == "evasion"]
    assert (figure["value"], figure["note"]) == (0.05, "gradients vanish")
    assert "at most" in figure["figure"]


def test_an_attacker_without_the_defence_is_not_the_one_who_knows_it(stated, audit):
    without = [
        row | ({"threat_model": "oblivious"} if row["threat_model"] == "adaptive" else {}) for row in audit["attacks"]
    ]
    rows = [row for row in stated(attacks=without)["statement"]["coverage"] if row["attacker"] == "training"]
    assert [row["status"] for row in rows] == ["executed", "not run"]
    assert "without the defence alone" in rows[0]["reason"]


def test_the_strongest_attacks_interval_is_one_for_a_choice(stated, audit):
    wide = [row | {"auc_ci_simultaneous": [0.0, 1.0]} for row in audit["attacks"]]
    assert stated(attacks=wide)["statement"]["figures"][0]["ci"] == [0.0, 1.0]


def test_a_proof_is_of_whom_the_bound_is_of(stated):
    dp = {"epsilon": 1.0, "delta": 1e-5, "lower_bound": 2.0, "epsilon_of_a_person": 8.0, "delta_of_a_person": 1e-2}
    bound = {"one_run": {"lower_bound": 0.7, "attack": "none/loss"}}
    figures = stated(dp=dp, epsilon=bound)["statement"]["figures"]
    shown = {row["figure"]: row["value"] for row in figures if "epsilon" in row["figure"]}
    assert shown == {
        "epsilon proven of a person, at delta 0.01": 8.0,
        "epsilon shown by attacks, at least": 2.0,
        "epsilon shown by one training, audited records, at least": 0.7,
    }


def test_a_delta_of_one_proves_nothing(stated):
    dp = {"epsilon": 8.0, "delta": 1e-5, "lower_bound": 2.0, "epsilon_of_a_person": 112.0, "delta_of_a_person": 1.0}
    figures = stated(dp=dp)["statement"]["figures"]
    [proven] = [row for row in figures if row["figure"].startswith("epsilon proven")]
    assert (proven["value"], proven["note"]) == (None, "too many records of one person: nothing is proven")


def test_where_members_differ_in_themselves_each_comparison_of_them_says_so(stated):
    def noted(content):
        return {
            row["about"] for row in content["statement"]["figures"] if "differ in themselves" in row.get("note", "")
        }

    assert noted(stated(shift={"found": True})) == {"membership inference"}
    assert noted(stated(shift={"found": False})) == set()


def test_a_rate_that_cannot_be_resolved_says_why(stated):
    [row] = [row for row in stated()["statement"]["figures"] if "0.1%" in row["figure"]]
    assert (row["value"], row["note"]) == (None, "not resolvable with 900 non-members")


def test_a_later_change_of_the_json_shows(stated):
    content = json.loads(json.dumps(stated(SIGNED)))  # as it is read from the file
    assert content["statement"]["sign_off"]["role"] == "data protection officer"
    assert not is_altered(content)
    content["attacks"][0]["auc"] -= 0.01
    assert is_altered(content)
    [told] = altered_audits([{"name": "m.onnx", "altered_audit": True}, {"name": "other.onnx", "altered_audit": False}])
    assert told.startswith("m.onnx: warning: the audit beside it is not what was signed")
    assert not is_altered(stated())  # which nobody signed


def test_the_digest_is_of_everything_but_the_sign_off(stated):
    content = stated(SIGNED)
    other = {**content, "statement": {**content["statement"], "sign_off": None}}
    assert digest(content) == digest(other) == content["statement"]["sign_off"]["sha256"]
    other["statement"] = {**content["statement"], "context": "for the public"}
    assert digest(other) != digest(content)


@pytest.mark.parametrize("wrong", ["Meyer", "Meyer,", ", officer", "  "])
def test_a_sign_off_without_name_and_role_is_refused(wrong):
    with pytest.raises(UserError, match="--sign-off"):
        Declared(sign_off=wrong).checked()


def test_the_annex_speaks_of_evidence_and_of_what_there_is_none_for(stated):
    statement = stated()["statement"]
    rows = {(row["text"][:4], row["paragraph"], row["about"]): row for row in statement["annex"]}
    membership = rows["NIST", "section 2.4, NISTAML.033", "membership inference"]
    assert "AUC of the strongest attack" in membership["figures"]
    [inversion] = [row for row in statement["annex"] if row["paragraph"] == "paragraph 55(iv)"]
    assert inversion["evidence"] == "none: not run"
    assert "no determination of anonymity" in statement["limit"]
    assert not any("complian" in json.dumps(row) for row in statement["annex"])


def test_it_follows_the_summary_and_the_annex_comes_last(stated, bench):
    page = render(title="m", audit=stated(SIGNED), bench=bench, layers=None)
    places = [
        page.index(text)
        for text in ('class="summary"', ">Risk statement</h2>", ">Annex: what the figures speak to</h2>")
    ]
    assert places == sorted(places)
    assert "B. Roth, data protection officer" in page
    assert "handed to hospitals on devices" in page
