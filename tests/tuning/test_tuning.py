"""The search as a whole, with trainings that are simulated: it is killed, goes on, and ends in a file or in a refusal."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from simulated_search import Simulated, trained

from edgepriv.errors import GateFailed, UserError
from edgepriv.recipe import Recipe, as_toml, load
from edgepriv.report.tuned import lines
from edgepriv.tuning import clock, tune
from edgepriv.tuning.budgets import budgets_of
from edgepriv.tuning.opening import question_of
from edgepriv.tuning.question import hash_of

TIME = {"seconds": 600.0, "most": 6}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("tiny"))


def test_a_folder_is_asked_for(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file: edgepriv tune writes a folder"):
        tune(model, None, budgets_of(None, 15.0, None, None), tmp_path / "file", **TIME)


def test_the_smallest_file_within_the_budget_and_its_recipe(model, tmp_path, monkeypatch):
    simulated = Simulated(model).patched(monkeypatch)
    content = tune(model, None, budgets_of(None, 15.0, None, None), tmp_path / "tuned", **TIME)
    uniform = next(row for row in content["candidates"] if row["bits"] == "*=4")
    assert content["figures"]["size_bytes"] < uniform["size_bytes"]
    assert content["figures"]["drop"]["value"] <= 15.0
    assert [row["met"] for row in content["budgets"]] == [True]
    assert content["chosen_on"] + content["told_on"] == 539
    written = load(tmp_path / "tuned/recipe.toml")
    assert written.quantize.model_dump() == content["recipe"]["quantize"]
    assert simulated.trainings[-1]["quantize"]["bits"] == written.quantize.bits  # the file is made by that recipe
    assert json.loads((tmp_path / "tuned/tune.json").read_text()) == content
    page = (tmp_path / "tuned/tune.html").read_text()
    assert "Frontier" in page
    assert "(chosen)" in page


def test_a_killed_search_goes_on_where_it_was(model, tmp_path, monkeypatch):
    asked = budgets_of(None, 5.0, None, None)
    with monkeypatch.context() as patch:
        first = Simulated(model, dies_at=4).patched(patch)
        with pytest.raises(KeyboardInterrupt):
            tune(model, None, asked, tmp_path / "tuned", **TIME)
    assert not (tmp_path / "tuned/tune.json").exists()
    second = Simulated(model).patched(monkeypatch)
    content = tune(model, None, asked, tmp_path / "tuned", **TIME)
    made, again = (
        set(map(json.dumps, one)) for one in (first.trainings, second.trainings[:-1])
    )  # the last makes the winner
    assert made
    assert not made & again
    assert content["trials"] == TIME["most"]
    assert len(content["candidates"]) == len(made) + len(again)


def test_a_candidate_that_was_killed_is_not_counted(model, tmp_path, monkeypatch):
    asked, one = budgets_of(None, 15.0, None, None), {"seconds": 600.0, "most": 1}
    for place in range(2):
        with monkeypatch.context() as patch:
            Simulated(model, dies_at=place).patched(patch)
            with pytest.raises(KeyboardInterrupt):
                tune(model, None, asked, tmp_path / "tuned", **one)
    Simulated(model).patched(monkeypatch)
    content = tune(model, None, asked, tmp_path / "tuned", **one)
    assert content["trials"] == 1
    assert {row["epochs"] for row in content["candidates"]} == {1, 4, 12}


def test_a_search_that_is_killed_in_its_first_candidate_still_has_four_bits_to_compare_with(
    model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    asked, folder = budgets_of(None, 15.0, None, None), Path("tuned")
    with monkeypatch.context() as patch:
        Simulated(model, dies_at=1).patched(patch)
        with pytest.raises(KeyboardInterrupt):
            tune(model, None, asked, folder, **TIME)
    [journal] = folder.glob("work/*/study.journal")
    with journal.open("ab") as file:
        file.write(b'{"op_code":')  # a power cut leaves half a line
    Simulated(model).patched(monkeypatch)
    for _ in range(2):
        content = tune(model, None, asked, folder, **TIME)
        assert {row["epochs"] for row in content["candidates"] if row["bits"] == "*=4"} == {1, 4, 12}
        assert content["trials"] == TIME["most"]


def test_a_search_that_goes_on_draws_what_it_would_have_drawn(model, tmp_path, monkeypatch):
    asked, more = budgets_of(None, 5.0, None, None), {"seconds": 600.0, "most": 9}
    Simulated(model).patched(monkeypatch)
    whole = tune(model, None, asked, tmp_path / "whole", **more)
    tune(model, None, asked, tmp_path / "parts", seconds=600.0, most=7)
    parts = tune(model, None, asked, tmp_path / "parts", **more)
    assert [row["name"] for row in parts["candidates"]] == [row["name"] for row in whole["candidates"]]


def test_a_search_that_is_finished_is_shown_and_not_run_again(model, tmp_path, monkeypatch, capsys):
    asked = budgets_of(None, 15.0, None, None)
    Simulated(model).patched(monkeypatch)
    content = tune(model, None, asked, tmp_path / "t", **TIME)
    with monkeypatch.context() as patch:
        again = Simulated(model).patched(patch)
        assert tune(model, None, asked, tmp_path / "t", **TIME) == content
        assert again.trainings == []
        assert "this search is finished" in capsys.readouterr().err
        anew = Simulated(model).patched(patch)
        new = tune(model, None, asked, tmp_path / "t", **TIME, force=True)
        assert [row["name"] for row in new["candidates"]] == [row["name"] for row in content["candidates"]]
        assert len(anew.trainings) == len(content["candidates"]) + 1
    (tmp_path / "t/model.onnx").write_text("another file")
    with pytest.raises(UserError, match="exists already"):
        tune(model, None, asked, tmp_path / "t", **TIME)


def test_what_a_search_depends_on_is_part_of_its_question(tmp_path, monkeypatch):
    network = tmp_path / "own_asked.py"
    layers = "nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, num_classes)"
    network.write_text(
        f"from torch import nn\n\n\ndef make(input_shape, num_classes):\n    return nn.Sequential({layers})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = trained(tmp_path, {"name": "own_asked:make"})
    np.savez(tmp_path / "more.npz", x=np.zeros((4, 1, 8, 8), np.float32), y=np.arange(4))
    own = Recipe().with_changes(model={"name": "own_asked:make"})
    beside = own.with_changes(extra={"file": f"npz:{tmp_path}/more.npz", "share": 0.5})

    def digest(recipe):
        question = question_of(model, recipe, budgets_of(None, 5.0, None, None), None)
        return hash_of(question)

    first, with_extra = digest(own), digest(beside)
    assert first != with_extra
    np.savez(tmp_path / "more.npz", x=np.ones((4, 1, 8, 8), np.float32), y=np.arange(4))
    assert digest(beside) != with_extra  # the same name, other content
    assert digest(own) == first
    network.write_text(network.read_text().replace("ReLU", "Tanh"))
    assert digest(own) != first


def test_a_network_of_ones_own_is_tuned_to_the_end(tmp_path, monkeypatch):
    (tmp_path / "own_tiny.py").write_text(
        "from torch import nn\n\n\ndef make(input_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = trained(tmp_path, {"name": "own_tiny:make"})
    Simulated(model).patched(monkeypatch)
    own = Recipe().with_changes(model={"name": "own_tiny:make"})
    content = tune(model, own, budgets_of(None, 60.0, None, None), tmp_path / "with space", seconds=1e-6, most=1)
    assert content["recipe"]["model"]["name"] == "own_tiny:make"
    assert f"--recipe '{tmp_path / 'with space/recipe.toml'}'" in content["command"]


def test_a_size_alone_tells_of_the_accuracy_too(model, tmp_path, monkeypatch):
    Simulated(model).patched(monkeypatch)
    content = tune(model, None, budgets_of("0.5x", None, None, None), tmp_path / "t", seconds=1e-6, most=1)
    assert [line for line in content["said"] if "below the float file's on" in line]


def test_a_budget_that_cannot_be_kept_ends_in_the_nearest_file(model, tmp_path, monkeypatch):
    Simulated(model).patched(monkeypatch)
    with pytest.raises(GateFailed, match=r"of the float file\), at most 4,000 .*: the budget is missed by") as failed:
        tune(model, None, budgets_of("4000B", 0.5, None, None), tmp_path / "tuned", **TIME)
    content = failed.value.audit
    assert not content["within"]
    assert (tmp_path / "tuned/model.onnx").exists()
    missed = {row["budget"]: row for row in content["budgets"]}
    assert missed["size"]["excess"] > 0
    assert missed["size"]["sentence"].endswith("%)")
    assert any(row["name"] == content["winner"] for row in content["candidates"])


def test_what_no_candidate_kept_on_the_records_that_chose_is_not_kept_by_chance(model, tmp_path, monkeypatch):
    simulated = Simulated(model)

    def lucky(path, question, split):  # on the telling half no file loses anything
        if split is question.halves.telling:
            return np.ones(len(split.non_members), dtype=bool)
        return Simulated.right_of(simulated, path, question, split)

    simulated.right_of = lucky
    simulated.patched(monkeypatch)
    with pytest.raises(GateFailed, match="no candidate kept every budget on the non-members that chose") as failed:
        tune(model, None, budgets_of(None, 0.001, None, None), tmp_path / "tuned", **TIME)
    assert [row["met"] for row in failed.value.audit["budgets"]] == [True]
    said = lines(failed.value.audit)
    assert "the nearest to the budgets" in said[0]
    assert str(failed.value) in said


def test_a_search_that_is_killed_while_it_writes_a_new_winner_goes_on(model, tmp_path, monkeypatch):
    asked = budgets_of(None, 15.0, None, None)
    with monkeypatch.context() as patch:
        Simulated(model).patched(patch)
        tune(model, None, asked, tmp_path / "tuned", seconds=600.0, most=1)
        patch.setattr("edgepriv.tuning.telling.as_toml", lambda recipe: 1 / 0)  # after the new model.onnx
        with pytest.raises(ZeroDivisionError):
            tune(model, None, asked, tmp_path / "tuned", **TIME)
    Simulated(model).patched(monkeypatch)
    content = tune(model, None, asked, tmp_path / "tuned", **TIME)
    assert content["trials"] == TIME["most"]
    assert load(tmp_path / "tuned/recipe.toml").quantize.model_dump() == content["recipe"]["quantize"]


def test_more_time_lets_candidates_train_for_longer(model, tmp_path, monkeypatch):
    asked = budgets_of(None, 15.0, None, None)
    with monkeypatch.context() as patch:
        Simulated(model).patched(patch)
        patch.setattr("edgepriv.tuning.search._affords_next", lambda *_: False)
        first = tune(model, None, asked, tmp_path / "tuned", seconds=600.0, most=3)
    Simulated(model).patched(monkeypatch)
    again = tune(model, None, asked, tmp_path / "tuned", seconds=600.0, most=4)
    longer = tune(model, None, asked, tmp_path / "tuned", seconds=6000.0, most=7)
    epochs = [{row["epochs"] for row in content["candidates"]} for content in (first, again, longer)]
    assert epochs[:2] == [{1}, {1}]
    assert epochs[2] > {1}


def test_what_the_network_has_and_does_not_use_is_in_no_size(tmp_path, monkeypatch):
    (tmp_path / "own_spare.py").write_text(
        "from torch import nn\n\n\ndef make(input_shape, num_classes):\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, num_classes))\n"
        "    net[1].spare = nn.Linear(500, 500)\n    return net\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = trained(tmp_path, {"name": "own_spare:make"})
    own = Recipe().with_changes(model={"name": "own_spare:make"})
    question = question_of(model, own, budgets_of("0.5x", None, None, None), None)
    of_input = 2  # its mean and deviation, one for each channel
    assert (question.float_file.weights, question.float_file.others) == (64 * 8 + 8 * 10 + of_input, 8 + 10)
    assert 4 * 600 < question.float_file.size < 10_000
    assert 4 < question.setting.most_bits < 32
    with pytest.raises(UserError, match="no file is smaller"):
        tune(model, own, budgets_of("200B", None, None, None), tmp_path / "t", **TIME)


def test_the_adversary_of_a_recipe_is_kept(model, tmp_path, monkeypatch, capsys):
    simulated = Simulated(model).patched(monkeypatch)
    recipe = Recipe().with_changes(
        data={"name": "digits"},
        model={"name": "mlp", "args": {"widths": [8]}},
        adversary={"method": "pgd", "eps": 0.05},
        robust={"epochs": 5},
        quantize={"bits": 3},
    )
    content = tune(model, recipe, budgets_of(None, 60.0, None, None), tmp_path / "t", seconds=600.0, most=2)
    assert all(changes["robust"] == {"epochs": 5} for changes in simulated.trainings)
    assert all("adversary" not in changes for changes in simulated.trainings)
    assert "adversarial training 5" in content["candidates"][0]["title"]
    assert "edgepriv tune decides, whatever the recipe says: bits" in capsys.readouterr().err
    warming = recipe.with_changes(adversary={"warmup": 2}, qat={"epochs": 4})
    assert question_of(model, warming, budgets_of(None, 60.0, None, None), None).setting.robust_epochs == 5


def test_a_finished_search_is_shown_without_its_work_folder(model, tmp_path, monkeypatch):
    asked = budgets_of(None, 15.0, None, None)
    Simulated(model).patched(monkeypatch)
    content = tune(model, None, asked, tmp_path / "t", **TIME)
    shutil.rmtree(tmp_path / "t/work")
    assert tune(model, None, asked, tmp_path / "t", **TIME) == content
    with pytest.raises(UserError, match="none goes on: --force begins anew"):
        tune(model, None, asked, tmp_path / "t", seconds=900.0, most=6)
    with pytest.raises(UserError, match="exists already, of a search for something else"):
        tune(model, None, budgets_of(None, 16.0, None, None), tmp_path / "t", **TIME)


def test_what_a_killed_run_took_counts(model, tmp_path, monkeypatch):
    asked = budgets_of(None, 15.0, None, None)
    with monkeypatch.context() as patch:
        Simulated(model, dies_at=0).patched(patch)
        patch.setattr(clock, "now", iter(np.arange(0.0, 1e6, 7.0)).__next__)
        with pytest.raises(KeyboardInterrupt):
            tune(model, None, asked, tmp_path / "t", **TIME)
    [kept] = (tmp_path / "t").glob("work/*/clock.json")
    assert json.loads(kept.read_text())["spent"] >= 7


def test_what_failed_is_remembered(model, tmp_path, monkeypatch):
    asked, simulated = budgets_of(None, 60.0, None, None), Simulated(model).patched(monkeypatch)
    harden = simulated.harden

    def failing(model, recipe, changes, output, **options):
        if changes["quantize"]["bits"] != "*=4":
            raise UserError("no such layer")
        return harden(model, recipe, changes, output, **options)

    monkeypatch.setattr("edgepriv.pipeline.harden", failing)
    for most in (2, 3):
        content = tune(model, None, asked, tmp_path / "t", seconds=600.0, most=most)
        assert len(content["failed"]) == most - 1


def test_robustness_without_a_customary_radius_asks_for_one(model, tmp_path, monkeypatch):
    monkeypatch.setattr("edgepriv.tuning.opening.CUSTOMARY", set())
    with pytest.raises(UserError, match=r"--min-robust: no radius .* is customary for digits: give a --recipe"):
        tune(model, None, budgets_of(None, None, None, 0.3), tmp_path / "tuned", **TIME)


def test_time_ends_the_search_after_the_candidate_that_runs(model, tmp_path, monkeypatch):
    simulated = Simulated(model).patched(monkeypatch)
    content = tune(model, None, budgets_of(None, 60.0, None, None), tmp_path / "tuned", seconds=1e-6, most=6)
    assert len(content["candidates"]) == 1
    assert len(simulated.trainings) == 2  # and the file itself


def test_a_recipe_is_read_as_it_was_written(tmp_path):
    recipe = Recipe(seed=3).with_changes(
        model={"args": {"widths": [8], "odd name": 'a "b"\n'}},
        train={"lr": 1e-5, "freeze": ("a*", "b")},
        quantize={"bits": "a=2,*=4"},
    )
    (tmp_path / "r.toml").write_text(as_toml(recipe))
    assert load(tmp_path / "r.toml") == recipe
