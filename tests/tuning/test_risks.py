import numpy as np
import pytest
from simulated_search import Simulated, trained

from edgepriv.data import Split
from edgepriv.errors import GateFailed, UserError
from edgepriv.tuning import tune
from edgepriv.tuning.budgets import budgets_of
from edgepriv.tuning.risks import complete, strongest
from edgepriv.tuning.space import DEFENCES

ROWS = [{"threat_model": "adaptive", "name": name} for name in ("weak", "strong", "few")]


def halves():
    """An audit of 200 members and 200 others, whose stronger attack finds the members of the first half alone."""
    index = np.arange(400)
    member = index < 200
    rng = np.random.default_rng(0)
    noise = rng.random(400)
    strong = noise + 10 * (index < 100)
    scores = {"index": index, "member": member, "adaptive/weak": noise, "adaptive/strong": strong}
    scores |= {"adaptive/few": noise[:40], "adaptive/few/index": index[:40]}  # asked about members alone
    empty = np.empty(0, np.int64)
    splits = [
        Split(0, index[start : start + 100], index[200 + start : 300 + start], empty, empty, empty)
        for start in (0, 100)
    ]
    return scores, splits


def test_a_half_is_judged_by_its_own_records():
    scores, (first, second) = halves()
    here, there = (strongest(ROWS, scores, split, 0.01) for split in (first, second))
    assert (here["value"], here["attack"]) == (1.0, "strong")
    assert there["value"] < 0.2
    low, high = there["ci"]
    assert low <= there["value"] <= high


def test_a_rate_that_no_attack_resolves_is_refused():
    scores, (first, _) = halves()
    with pytest.raises(UserError, match=r"no attack of the audit resolves a false-positive rate of 0\.001"):
        strongest(ROWS, scores, first, 0.001)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("tiny"))


def leaking(value):
    """Stands in for the audit: every file leaks so much."""

    def risks(onnx, question, split, effort):
        figure = {"value": value, "ci": [value / 2, value * 1.5], "attack": "rmia", "fpr": 0.05}
        return {"tpr": figure | {"references": effort.references}}

    return risks


def tuned(model, folder, monkeypatch, value):
    from edgepriv.tuning import candidates, run

    Simulated(model).patched(monkeypatch)
    for module in (candidates, run):
        monkeypatch.setattr(module, "risks", leaking(value))
    return tune(model, None, budgets_of(None, 15.0, "0.1@0.05", None), folder, seconds=600.0, most=4)


def test_the_winner_is_a_file_whose_leakage_was_measured(model, tmp_path, monkeypatch):
    content = tuned(model, tmp_path, monkeypatch, 0.06)
    assert content["within"]
    assert content["figures"]["tpr"]["references"] == 16  # the audit's own, not the few of the search
    winner = next(row for row in content["candidates"] if row["name"] == content["winner"])
    assert complete(winner, budgets_of(None, None, "0.1@0.05", None))
    assert "rmia finds 6.00% [3.00%, 9.00%] of the members at 0.05 false positives" in content["budgets"][1]["sentence"]


def test_leakage_that_no_candidate_avoids_is_said(model, tmp_path, monkeypatch):
    with pytest.raises(GateFailed, match=r"at most 10.0%: the budget is missed by 10.0%"):
        tuned(model, tmp_path, monkeypatch, 0.2)


def test_every_defence_of_the_search_is_one_that_recipes_know():
    from edgepriv.recipe import Recipe

    asked = {name: Recipe().with_changes(**changes) for name, changes in DEFENCES.items()}
    assert [name for name, recipe in asked.items() if recipe == Recipe()] == ["none"]
