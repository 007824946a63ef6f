"""Which attacker an attack needs: who asks for answers, holds the file, or knows the training."""

import pytest

from edgepriv.audit.attacks import ATTACKS, NEEDS, TRAINED
from edgepriv.audit.knowledge import OF_NEEDS, PHRASES, attacker_of, phrase_of, reaches, with_attackers


def test_every_need_has_an_attacker_who_meets_it():
    assert set(OF_NEEDS) == set(NEEDS)
    assert {need for need, attacker in OF_NEEDS.items() if attacker == "training"} == TRAINED


@pytest.mark.parametrize(
    ("name", "attacker"),
    [
        ("loss", "answers"),
        ("label-only-boundary", "answers"),
        ("quantile-regression", "answers"),
        ("adversarial-robustness", "file"),
        ("adversarial/entropy", "file"),
        ("shadow-mlp", "training"),
        ("lira-online", "training"),
        ("adversarial/lira-online", "training"),
    ],
)
def test_an_attack_counts_as_the_weakest_who_can_run_it(name, attacker):
    assert attacker_of(name, "adaptive") == attacker
    assert phrase_of({"name": name, "threat_model": "adaptive"}) == PHRASES[attacker]


def test_nobody_removes_a_head_without_holding_the_file():
    rows = [{"name": name, "threat_model": "none"} for name in ("loss", "lira-online")]
    assert [row["attacker"] for row in with_attackers(rows, cut=True)] == ["file", "training"]
    assert [row["attacker"] for row in with_attackers(rows, cut=False)] == ["answers", "training"]


def test_models_without_the_defence_are_those_of_one_who_does_not_know_it():
    row = {"name": "lira-online", "threat_model": "oblivious"}
    assert phrase_of(row) == "knows the training, not the defence"
    assert phrase_of(row | {"name": "loss"}) == "asks for answers"  # which trains nothing


def test_a_stronger_attacker_can_run_every_attack_of_a_weaker_one():
    rows = with_attackers([{"name": name, "threat_model": "adaptive"} for name in ATTACKS], cut=False)
    numbers = [len(reaches(attacker, rows)) for attacker in PHRASES]
    assert 0 < numbers[0] < numbers[1] < numbers[2] < numbers[3] == len(ATTACKS)
