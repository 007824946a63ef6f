"""What a reader is told of the canaries: in one sentence, in the terminal's table, on the page."""

import copy
import io

import pytest

from edgepriv.report.canaries import canary_tables, risk_of_a_person
from edgepriv.report.figures import figures_of
from edgepriv.report.html import render
from edgepriv.report.summary import summary
from edgepriv.report.verdict import verdict

NOTE = "not resolvable with 240 non-members"


def figures(at_one_percent, rare=None):
    """Of pooled scores; ``rare``: the rate at 0.1%, None where it is not resolved."""
    unresolved = {"value": None, "ci": None, "note": NOTE}
    return {
        "auc": 0.9,
        "auc_ci": [0.85, 0.95],
        "tpr_at_fpr": {
            "0.01": {"value": at_one_percent, "ci": [at_one_percent - 0.005, at_one_percent + 0.005]},
            "0.001": unresolved if rare is None else {"value": rare, "ci": [rare - 0.1, rare + 0.1]},
        },
        "records": 60,
        "n_members": 240,
        "n_non_members": 240,
    }


@pytest.fixture
def audit():
    row = {"title": "", "paper": "", "threat_model": "adaptive"}
    return {
        "attacks": [],
        "left_out": [],
        "robustness": None,
        "utility": None,
        "canaries": {
            "kind": "mislabelled",
            "asked": "mislabelled:60",
            "members": 30,
            "non_members": 30,
            "threat_model": "adaptive",
            "reference_models": 8,
            "attacks": [
                row | {"name": "rmia-online", **_sides(figures(0.5, 0.3), figures(0.02, 0.14))},
                row | {"name": "lira-online", **_sides(figures(0.8, 0.7), figures(0.03, 0.15))},
            ],
            "strongest": "lira-online",
            "left_out": [{"name": "lira-online-per-example", "reason": "needs more models"}],
        },
    }


def _sides(canaries, average):
    return {"canaries": canaries, "average": average, "file": figures(0.9)}


def sentence_of(audit):
    return next(risk_of_a_person(audit)).sentence


def test_the_strongest_attack_at_the_rarest_false_alarms_is_the_headline(audit):
    sentence = sentence_of(audit)
    assert "60 canaries" in sentence
    assert "a wrong label" in sentence
    assert (
        "lira-online (knows the training) finds 70.0% [60.0%, 80.0%] with 0.1% false alarms (guessing: 0.1%); of average "
        "records it finds 15.0% [5.00%, 25.0%]; with 1% false alarms lira-online finds 80.0% [79.5%, 80.5%] of the canaries"
        in sentence
    )
    assert "8 reference models, each attacked with the others" in sentence


def test_a_rate_that_is_not_resolved_gives_way_to_the_next(audit):
    for row in audit["canaries"]["attacks"]:
        row["canaries"] = figures(0.8)
    assert "finds 80.0% [79.5%, 80.5%] with 1% false alarms (guessing: 1%)" in sentence_of(audit)


def test_an_interval_that_includes_guessing_is_said_to(audit):
    for row in audit["canaries"]["attacks"]:
        row["canaries"] = figures(0.01)
    assert sentence_of(audit).endswith("The interval includes guessing.")


def test_a_wide_interval_at_rare_false_alarms_does_not_hide_what_is_found_at_common_ones(audit):
    """A head that hides scores left 12% [0, 41] of canaries at 0.1% and 94% [87, 99] at 1%, by another attack."""
    audit["canaries"]["attacks"][0]["canaries"] = figures(0.943, 0.05)
    audit["canaries"]["attacks"][1]["canaries"] = figures(0.75, 0.09)
    sentence = sentence_of(audit)
    assert "with 1% false alarms rmia-online finds 94.3% [93.8%, 94.8%] of the canaries" in sentence
    assert "are found with 0.1% false alarms (with 1%: rmia-online finds 94.3%" in next(risk_of_a_person(audit)).short
    assert "guessing." not in sentence
    shown = {figure["figure"]: figure for figure in figures_of(audit, None)}
    assert shown["canaries found at 1% false alarms"]["value"] == 0.943
    assert "rmia-online" in shown["canaries found at 1% false alarms"]["by"]


def test_average_records_are_those_that_the_strongest_attack_on_them_finds(audit):
    audit["canaries"]["attacks"][0]["average"] = figures(0.3, 0.25)
    assert "of average records rmia-online finds 25.0%" in sentence_of(audit)


def test_a_file_that_reference_models_do_not_stand_for_is_judged_by_itself(audit):
    for row in audit["canaries"]["attacks"]:
        row |= {"canaries": None, "average": None, "threat_model": "oblivious"}
    assert "scores of the file alone" in sentence_of(audit)
    assert "average records" not in sentence_of(audit)


def test_canaries_that_no_attack_was_run_on_are_named_with_the_reason(audit):
    audit["canaries"] |= {"attacks": [], "strongest": None, "not_run": "this audit has no reference models"}
    assert sentence_of(audit).startswith("Not measured")
    assert "no reference models" in sentence_of(audit)
    assert len(canary_tables(audit)) == 1


def test_the_risk_of_a_person_comes_before_the_average(audit):
    topics = [finding.topic for finding in summary(audit, None)]
    assert topics[0] == "Risk per person"
    assert "records unlike all others 70.0% [60.0%, 80.0%] are found" in verdict(audit, None, risk_of_a_person(audit))


def test_without_canaries_nothing_is_said():
    assert list(risk_of_a_person({"attacks": []})) == []
    assert canary_tables({"attacks": []}) == []


def test_the_terminal_has_the_headline_a_table_in_80_columns_and_what_is_missing(audit):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    for part in canary_tables(audit):
        console.print(part)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if line.strip().startswith(("lira-online ", "rmia-online "))]
    assert [row[0] for row in rows] == ["lira-online", "rmia-online"]
    assert rows[0][1:] == ["70.0%", "80.0%", "0.900", "15.0%", "3.00%", "0.900"]
    assert any("lira-online-per-example: needs more models" in line for line in lines)


def test_the_page_shows_them_beside_the_average(audit):
    page = render(title="model", audit=audit, bench=None, layers=None)
    assert "Canaries, beside the average record" in page
    assert "Risk per person" in page
    other = copy.deepcopy(audit)
    del other["canaries"]
    assert "Canaries" not in render(title="model", audit=other, bench=None, layers=None)
