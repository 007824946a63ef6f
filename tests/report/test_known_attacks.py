"""The verb ``attacks``: what an audit knows, as a list and as a table."""

import io
import json

import pytest
from rich.console import Console

from edgepriv import pipeline
from edgepriv.audit.attacks import ATTACKS, NEEDS, TRAINED
from edgepriv.report.tables import known_attacks_tables


@pytest.fixture(scope="module")
def shown():
    console = Console(file=io.StringIO(), width=80, highlight=False)
    for part in known_attacks_tables(pipeline.attacks()):
        console.print(part)
    return console.file.getvalue()


def test_the_list_has_every_attack_and_is_json():
    rows = json.loads(json.dumps(pipeline.attacks()))
    assert [row["name"] for row in rows] == list(ATTACKS)
    for row in rows:
        assert set(row) == {"name", "title", "paper", "attacker", "needs", "trains", "queries", "reads"}
        assert set(row["needs"]) == ATTACKS[row["name"]].needs
        assert row["trains"] == bool(set(row["needs"]) & TRAINED)
        assert row["queries"] >= 1


def test_the_table_fits_into_80_columns_and_cuts_no_name(shown):
    lines = shown.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "…" not in shown
    first_words = [line.split()[0] for line in lines if line.strip()]
    assert sorted(name for name in ATTACKS if "/" not in name) == sorted(
        word for word in first_words if word in ATTACKS
    )


def test_attacks_on_other_questions_share_a_row_of_each_attacker(shown):
    assert sum("adversarial/" in line for line in shown.splitlines()) == 2


def test_attacks_stand_under_who_can_run_them(shown):
    places = [shown.index(text) for text in ("asks for answers:", " entropy ", "holds the file:", "adversarial/...")]
    assert places == sorted(places)
    assert shown.index("lira-online ") > shown.index("knows the training:")


def test_the_words_are_explained_once(shown):
    for need in set().union(*(attack.needs for attack in ATTACKS.values())) - {"labels"}:
        assert shown.count(f"{need}: {NEEDS[need]}") == 1


def test_labels_read_instead_of_probabilities_are_said(shown):
    [line] = [line for line in shown.splitlines() if line.split()[:1] == ["correctness"]]
    assert "1 label" in line
