import json
from dataclasses import replace

import numpy as np
import pytest
from simulated_search import Simulated, trained

from edgepriv.data import Split
from edgepriv.errors import GateFailed, UserError
from edgepriv.tuning import pace, tune
from edgepriv.tuning.auditing import Auditor
from edgepriv.tuning.budgets import budgets_of
from edgepriv.tuning.candidates import Candidate, by_attacks_that_ask_once
from edgepriv.tuning.clock import Clock
from edgepriv.tuning.opening import question_of
from edgepriv.tuning.plan import DEFENCES, Plan
from edgepriv.tuning.question import Work
from edgepriv.tuning.risks import PROXY, complete, leakage_of, strongest

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
    assert (here["value"], here["attack"], here["n"], here["unresolved"]) == (1.0, "strong", 100, ["few"])
    assert there["value"] < 0.2
    low, high = there["ci"]
    assert low <= there["value"] <= high


def test_attacks_that_were_asked_about_too_few_are_named():
    scores, (first, _) = halves()
    both = np.r_[0:20, 200:220]
    scores |= {"adaptive/few": scores["adaptive/weak"][both], "adaptive/few/index": both}
    assert strongest(ROWS, scores, first, 0.1)["unresolved"] == []
    assert strongest(ROWS, scores, first, 0.01)["unresolved"] == ["few"]


def test_all_candidates_are_compared_by_the_attacks_that_ask_once(model, tmp_path):
    """4 bits everywhere is measured by all attacks first, of which the strongest asks many times."""
    question = question_of(model, None, budgets_of(None, 15.0, "0.1@0.05", None), None)
    split, rng = question.halves.choosing, np.random.default_rng(0)
    index = np.concatenate([split.members, split.non_members])
    member, noise = np.arange(len(index)) < len(split.members), rng.random(len(index))
    names = {"label-only-noise": noise + 10 * member, "confidence": noise + 0.1 * member}
    rows = [{"threat_model": "adaptive", "name": name} for name in names]
    work, plan = Work(tmp_path), Plan("*=4", "minmax", "channel")
    folder = work.candidate(plan.named(12))
    folder.mkdir(parents=True)
    (folder / "model.audit.json").write_text(json.dumps({"attacks": rows, "references": 4}))
    scores = {f"adaptive/{name}": values for name, values in names.items()}
    np.savez(folder / "model.audit.npz", index=index, member=member, **scores)
    by_all = leakage_of(folder / "model.onnx", question, split)
    assert (by_all["attack"], by_all["value"]) == ("label-only-noise", 1.0)
    candidate = Candidate(plan, 12, {"tpr": by_all | {"seconds": 1.0}}, np.ones(3, dtype=bool))
    tpr = by_attacks_that_ask_once(question, candidate, work).figures["tpr"]
    assert (tpr["attack"], tpr["seconds"]) == ("confidence", 1.0)
    assert tpr["value"] < 0.5
    assert leakage_of(folder / "model.onnx", question, split, once=True)["value"] == tpr["value"]


def test_attacks_take_time_beside_the_training_of_reference_models(model, tmp_path):
    question = question_of(model, None, budgets_of(None, 15.0, "0.1@0.05", None), None)
    auditor = Auditor(question, Work(tmp_path), Clock(600.0, each=0.0))
    fixed = auditor._attacking(PROXY)
    auditor.clock.each = 10.0  # seconds for all members
    few, full = auditor._attacking(PROXY), auditor._attacking(auditor.effort)
    assert 0 < fixed < few < full
    auditor.clock.each = 20.0
    assert auditor._attacking(PROXY) - fixed == pytest.approx(2 * (few - fixed))


def test_an_epoch_is_timed_before_the_search(model, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("edgepriv.tuning.run.seconds_of_a_pass", lambda question: 0.25)
    monkeypatch.setattr("edgepriv.tuning.run.run", lambda search, *more: seen.append(search.clock.each))
    with pytest.raises(UserError, match="no candidate could be made"):
        tune(model, None, budgets_of(None, 15.0, None, None), tmp_path / "t", seconds=600.0, most=1)
    assert seen == [0.25]


def test_a_rate_that_no_attack_resolves_is_refused():
    scores, (first, _) = halves()
    with pytest.raises(UserError, match=r"no attack of the audit resolves a false-positive rate of 0\.001"):
        strongest(ROWS, scores, first, 0.001)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("tiny"))


class Leaking:
    """Stands in for the audit: every file leaks ``value``, and each audit takes ``seconds``, by a clock of its own."""

    def __init__(self, value, seconds=0.0):
        self.value, self.seconds, self.now, self.efforts = value, seconds, 0.0, []

    def risks(self, onnx, question, split, effort):
        self.efforts.append(effort.references)
        took = self.seconds * (effort.references + 1)
        self.now += took
        return {"tpr": self.leakage_of(onnx, question, split) | {"references": effort.references, "seconds": took}}

    def leakage_of(self, onnx, question, split, once=False):
        return {
            "value": self.value,
            "ci": [self.value / 2, self.value * 1.5],
            "attack": "rmia",
            "fpr": 0.05,
            "references": 16,
            "n": 250,
            "unresolved": ["label-only-noise", "label-only-boundary"],
        }

    def patched(self, patch):
        from edgepriv.tuning import auditing, candidates, clock, run, telling

        patch.setattr(candidates, "risks", self.risks)
        patch.setattr(telling, "leakage_of", self.leakage_of)
        patch.setattr(telling, "AUDIT_FILES", ())
        patch.setattr(run, "AUDIT_FILES", ())
        patch.setattr(auditing, "train_references", lambda onnx, question, references: True)
        patch.setattr(clock, "now", lambda: self.now)
        return self


def tuned(model, folder, monkeypatch, value, *, each=0.0, seconds=600.0):
    simulated = Leaking(value, each).patched(monkeypatch)
    Simulated(model).patched(monkeypatch)
    asked = budgets_of(None, 15.0, "0.1@0.05", None)
    return tune(model, None, asked, folder, seconds=seconds, most=4), simulated


def test_the_winner_is_a_file_whose_leakage_was_measured(model, tmp_path, monkeypatch):
    content, simulated = tuned(model, tmp_path, monkeypatch, 0.06)
    assert content["within"]
    assert simulated.efforts[-1] == 16  # the audit's own, not the few of the search
    winner = next(row for row in content["candidates"] if row["name"] == content["winner"])
    assert winner["audited"]
    assert complete(winner, budgets_of(None, None, "0.1@0.05", None))
    assert "rmia finds 6.00% [3.00%, 9.00%] of 250 members at 0.05 false positives" in content["budgets"][1]["sentence"]
    assert any("4 bits everywhere: 0.145x" in line for line in content["said"])
    assert any(line.startswith("2 attacks asked about too few non-members to resolve 0.05") for line in content["said"])


def test_leakage_that_no_candidate_avoids_is_said(model, tmp_path, monkeypatch):
    with pytest.raises(GateFailed, match=r"at most 10.0%: the budget is missed by 10.0%"):
        tuned(model, tmp_path, monkeypatch, 0.2)


def test_the_audits_of_the_finalists_are_kept_free_of_the_search(model, tmp_path, monkeypatch):
    content, simulated = tuned(model, tmp_path, monkeypatch, 0.06, each=10.0, seconds=450.0)
    assert simulated.now <= 450
    assert simulated.efforts.count(16) == 1  # 170 s each: one is audited in full, and the search has the rest
    assert content["within"]
    assert any("could not be audited in full, which takes about 2 min 50 s each" in line for line in content["said"])


def test_where_no_audit_fits_the_few_models_of_the_search_tell(model, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        slow = Simulated(model)
        patch.setattr(
            "edgepriv.tuning.auditing.Auditor._estimated", lambda self, first, effort: 20.0 * effort.references
        )
        leaking = Leaking(0.06, 10.0).patched(patch)
        slow.patched(patch)
        asked = budgets_of(None, 15.0, "0.1@0.05", None)
        content = tune(model, None, asked, tmp_path / "few", seconds=300.0, most=4)
        assert leaking.now <= 300
        assert set(leaking.efforts) == {4}
        assert any(line.startswith("no file was audited in full") for line in content["said"])
        with pytest.raises(GateFailed, match="leakage was not measured") as failed:
            tune(model, None, asked, tmp_path / "none", seconds=50.0, most=4)
    assert failed.value.audit["budgets"][-1]["met"] is False


def test_where_time_is_lost_before_the_audits_the_few_models_of_the_search_tell(model, tmp_path, monkeypatch):
    """A laptop that was put to sleep."""
    from edgepriv.tuning import run

    simulated, choose = Leaking(0.06, 0.1).patched(monkeypatch), run.chosen_of

    def later(search):
        simulated.now += 1e6
        return choose(search)

    Simulated(model).patched(monkeypatch)
    monkeypatch.setattr(run, "chosen_of", later)
    content = tune(model, None, budgets_of(None, 15.0, "0.1@0.05", None), tmp_path / "t", seconds=600.0, most=4)
    assert set(simulated.efforts) == {4}
    assert any("could not be audited in full" in line for line in content["said"])


def with_epochs(question, epochs):
    saved = question.given.checkpoint
    recipe = saved.recipe.with_changes(train={"epochs": epochs})
    return replace(question, given=replace(question.given, checkpoint=replace(saved, recipe=recipe)))


def test_how_long_a_reference_model_takes_is_measured(model, monkeypatch):
    question = question_of(model, None, budgets_of(None, 15.0, None, None), None)
    real = pace.seconds_of_training(question, 1e9)
    assert 0 < real < 60
    asked = []

    def timed(question, epochs):
        asked.append(epochs)
        return 10.0 + 2.0 * epochs  # features that are computed once, and what each epoch takes

    monkeypatch.setattr(pace, "_timed", timed)
    assert pace.seconds_of_training(with_epochs(question, 50), 1e9) == 110.0
    assert pace.seconds_of_training(with_epochs(question, 50), 100.0) == 600.0  # one epoch tells, rather too much
    assert pace.seconds_of_training(with_epochs(question, 50), 0.0) is None
    assert asked == [1, 3, 1]


def test_a_training_that_cannot_be_begun_again_is_guessed_at(model, monkeypatch):
    question = question_of(model, None, budgets_of(None, 15.0, None, None), None)

    def timed(question, epochs):
        raise UserError("public weights are not at hand")

    monkeypatch.setattr(pace, "_timed", timed)
    assert pace.seconds_of_training(question, 1e9) is None


def test_defences_that_do_not_go_with_the_checkpoint_are_found(model):
    question = question_of(model, None, budgets_of(None, 15.0, None, None), None)
    assert question.setting.unfit == frozenset()
    saved = question.given.checkpoint
    relaxed = replace(saved, recipe=saved.recipe.with_changes(train={"relax": 0.3}))
    unfit = replace(question, given=replace(question.given, checkpoint=relaxed)).setting.unfit
    assert {"label smoothing 0.1", "mixup 0.2", "HAMP 0.3"} <= unfit
    assert not {"none", "RelaxLoss 0.3"} & unfit


def test_a_first_candidate_without_time_for_more_epochs_is_measured_as_it_is(model, tmp_path, monkeypatch):
    simulated, slow = Leaking(0.06, 1.0).patched(monkeypatch), Simulated(model).patched(monkeypatch)

    def harden(model, recipe, changes, output, **options):
        simulated.now += 20.0 + 5.0 * changes["qat"]["epochs"]
        return slow.harden(model, recipe, changes, output, **options)

    monkeypatch.setattr("edgepriv.pipeline.harden", harden)
    monkeypatch.setattr("edgepriv.tuning.auditing.processors", lambda: 5)
    content = tune(model, None, budgets_of(None, 15.0, "0.1@0.05", None), tmp_path / "t", seconds=300.0, most=4)
    assert simulated.now <= 300
    assert content["epochs"] == [1, 4]
    assert content["within"]
    assert "no candidate was fine-tuned for more than 4 epochs, as --time is too short for 12" in content["said"]


def test_every_defence_of_the_search_is_one_that_recipes_know():
    from edgepriv.recipe import Recipe

    asked = {name: Recipe().with_changes(**changes) for name, changes in DEFENCES.items()}
    assert [name for name, recipe in asked.items() if recipe == Recipe()] == ["none"]


@pytest.mark.parametrize(("leakage", "worse_than_others", "value", "goes_on"), [
    ("0.1@0.05", True, 0.4, True),
    ("0.1@0.05", False, 1.2, False),
    (None, True, 0.4, False),
    (None, False, 1.2, True),
])  # fmt: skip
def test_a_defence_goes_on_though_the_undefended_are_more_accurate(leakage, worse_than_others, value, goes_on):
    """What it is good for shows on the last rung alone; without a budget for that, halving decides."""
    from types import SimpleNamespace

    from edgepriv.tuning.search import _promising

    search = SimpleNamespace(auditor=SimpleNamespace(asked=leakage is not None))
    assert _promising(search, SimpleNamespace(should_prune=lambda: worse_than_others), value) is goes_on


def test_a_defence_without_time_is_not_drawn_again_and_again(model, tmp_path, monkeypatch):
    """A trial that was never begun counts as the worst, and teaches the sampler."""
    from edgepriv.tuning import search

    Leaking(0.06).patched(monkeypatch)
    Simulated(model).patched(monkeypatch)
    lacks = search.Search.lacks
    monkeypatch.setattr(
        search.Search,
        "lacks",
        lambda self, plan, epochs: 1.0 if plan.defence.startswith("SELENA") else lacks(self, plan, epochs),
    )
    asked = budgets_of(None, 15.0, "0.1@0.05", None)
    content = tune(model, None, asked, tmp_path / "t", seconds=1e9, most=40)
    [told] = [line for line in content["said"] if "would not have ended in the time" in line]
    assert int(told.split()[0]) <= 5, told
