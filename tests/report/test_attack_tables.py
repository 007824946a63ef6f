import pytest
from rich.console import Console

from edgepriv.report.attack_tables import attack_tables


def printed(audit, width=80, **settings):
    """What a terminal shows; text wraps as in the command line."""
    console = Console(width=width, no_color=True, highlight=False)
    with console.capture() as captured:
        for part in attack_tables(audit, "model.audit.json", **settings):
            console.print(part, soft_wrap=isinstance(part, str))
    return captured.get()


@pytest.fixture
def long(audit):
    """Every kind of row, with the longest names that there are."""
    rows = audit["attacks"]
    rows[0] |= {"name": "adversarial/modified-entropy-classwise", "n_members": 100, "n_non_members": 100}
    rows[1] |= {"name": "modified-entropy-classwise", "threat_model": "oblivious", "auc": 1.0, "auc_ci": [0.999, 1.0]}
    rows[2]["tpr_at_fpr"]["0.01"] = {"value": 1.0, "ci": [0.9963, 1.0]}
    return audit


def test_attacks_are_ranked_with_compact_intervals(audit):
    audit["attacks"][3] |= {"name": "the-strongest", "auc": 0.91, "auc_ci": [0.9, 0.92]}
    audit["attacks"][3]["tpr_at_fpr"]["0.01"] = {"value": 0.133, "ci": [0.097, 0.177]}
    heading, first = printed(audit).splitlines()[4:6]
    assert heading.split() == ["knows", "the", "training:"]
    assert first.split() == ["the-strongest", "0.910", ".90-.92", "13.3%", "9.7-18", "-"]


def test_a_terminal_of_80_columns_is_wide_enough(long):
    lines = printed(long, shown=16).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert any(line.split()[:2] == ["modified-entropy-classwise", "1.000"] for line in lines)
    assert any(line.split() == ["modified-entropy-classwise*"] for line in lines)


def test_what_is_not_shown_is_counted_and_named(audit):
    shown = printed(audit, shown=5)
    assert "... 11 more in model.audit.json" in shown
    assert "-: not resolvable with 900 non-members" in shown
    assert "more in" not in printed(audit, shown=16)


def test_attacks_on_a_part_of_the_candidates_are_marked(long):
    assert "* on fewer candidates: 100 + 100" in printed(long, shown=16)


def test_reasons_for_leaving_out_are_said_once(audit):
    missing = [
        ("lira-online", "adaptive"),
        ("lira-online", "oblivious"),
        ("rmia-online", "adaptive"),
        ("rmia-online", "oblivious"),
    ]
    audit["left_out"] += [
        {"name": name, "threat_model": model, "reason": "needs reference models"} for name, model in missing
    ]
    lines = printed(audit).splitlines()
    assert "- needs reference models: lira-online, rmia-online (knows the training)" in lines
    assert "left out, 2 reasons:" in lines


def test_limits_that_are_met_say_so(audit):
    audit["limits"] = [
        {"limit": "auc>0.9", "outcome": "met", "sentence": "auc>0.9 is not exceeded: at most 0.6 (loss, none)"},
        {"limit": "auc>0.1", "outcome": "exceeded", "sentence": "printed by the error that follows"},
    ]
    shown = printed(audit)
    assert "auc>0.9 is not exceeded: at most 0.6 (loss, none)" in shown
    assert "printed by the error" not in shown


def test_names_are_not_markup(audit):
    audit["attacks"][0] |= {"name": "[red]loud[/red]", "auc": 0.99}
    assert "[red]loud[/red]" in printed(audit)


def test_parameters_of_the_attacks_shown_are_named(audit):
    audit["attacks"][0] |= {
        "name": "rmia-online",
        "auc": 0.99,
        "chosen": {"temperature": 2.5, "by": "the members found at 0.1% to 1% false alarms"},
    }
    assert "run with: rmia-online (knows the training) temperature 2.5" in printed(audit, shown=5)
