"""Stages one after another: repeatable to the bit, also when killed at any moment and started again."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from weights import weights_of

from edgepriv.data import checked, make_split
from edgepriv.errors import UserError
from edgepriv.recipe import Data, Recipe
from edgepriv.training import new_classifier, resume, run_stages
from edgepriv.training import stages as training_stages
from edgepriv.training.resume import code_version, remove_resume_state
from edgepriv.training.task import task_of

WRITES = 2 + 1 + 3 + 1 + 2 + 1
"""Of one whole run: an entry for each epoch, one as each stage ends."""


@pytest.fixture
def run(toy, split, recipe):
    def run(resume_file=None, recipe=recipe, toy=toy, split=split, stages=("train", "robust", "qat"), **options):
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        rows = run_stages(
            classifier, recipe, stages, toy, split, resume_file=resume_file, quiet=True, **options
        ).history
        return rows, weights_of(classifier)

    return run


@pytest.fixture
def killed_after(dies_after, run):
    """Run until the partial file was written so many times, then die."""
    return lambda writes, resume_file, **options: dies_after(writes, run, resume_file, **options)


@pytest.fixture(scope="module")
def uninterrupted(toy, split, recipe):
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    rows = run_stages(classifier, recipe, ("train", "robust", "qat"), toy, split, quiet=True).history
    return rows, weights_of(classifier)


def test_the_same_recipe_gives_the_same_bits(run, uninterrupted):
    rows, weights = run()
    assert rows == uninterrupted[0]
    assert torch.equal(weights, uninterrupted[1])


def test_another_seed_gives_another_order_of_examples(toy, split, recipe, uninterrupted):
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    rows = run_stages(classifier, recipe.with_changes(seed=1), ("train",), toy, split, quiet=True).history
    assert rows[0]["loss"] != uninterrupted[0][0]["loss"]


def test_keeping_a_partial_file_changes_nothing(run, uninterrupted, tmp_path):
    assert torch.equal(run(tmp_path / "p")[1], uninterrupted[1])


@pytest.mark.parametrize("writes", range(1, WRITES + 1))
def test_killed_and_started_again_gives_the_same_bits(run, killed_after, uninterrupted, tmp_path, writes):
    killed_after(writes, tmp_path / "p")
    rows, weights = run(tmp_path / "p")
    assert rows == uninterrupted[0]
    assert torch.equal(weights, uninterrupted[1])


def test_killed_again_and_again_gives_the_same_bits(run, killed_after, uninterrupted, tmp_path):
    for _ in range(WRITES):
        killed_after(1, tmp_path / "p")
    rows, weights = run(tmp_path / "p")
    assert rows == uninterrupted[0]
    assert torch.equal(weights, uninterrupted[1])


def test_killed_when_patience_has_run_out_gives_the_same_bits(run, killed_after, recipe, tmp_path, monkeypatch):
    """The stage must not go on for an epoch that the uninterrupted run did not have."""
    impatient = recipe.with_changes(robust={"epochs": 6, "patience": 1, "lr": 1e-12, "select": "best"})
    rows, weights = run(recipe=impatient, stages=("robust",))
    assert len(rows) == 2  # nothing learnt, so the first epoch stays the best
    killed_after(2, tmp_path / "p", recipe=impatient, stages=("robust",))
    again = run(tmp_path / "p", recipe=impatient, stages=("robust",))
    assert again[0] == rows
    assert torch.equal(again[1], weights)


def test_dropout_is_resumed_where_it_was(run, killed_after, recipe, tmp_path):
    """Its masks come from torch's global generator."""
    with_dropout = recipe.with_changes(model={"name": "dropout_net:build", "args": {}})
    rows, weights = run(recipe=with_dropout, stages=("train",))
    killed_after(1, tmp_path / "p", recipe=with_dropout, stages=("train",))
    torch.manual_seed(99)
    again = run(tmp_path / "p", recipe=with_dropout, stages=("train",))
    assert again[0] == rows
    assert torch.equal(again[1], weights)


def test_epochs_that_were_done_are_not_trained_again(run, killed_after, tmp_path, monkeypatch):
    killed_after(4, tmp_path / "p")  # train done, one epoch of robust
    epochs = []
    write = training_stages.write_resume_state

    def watched(path, content):
        epochs.append(content["state"]["epoch"])
        write(path, content)

    monkeypatch.setattr(training_stages, "write_resume_state", watched)
    run(tmp_path / "p")
    assert epochs == [2, 3, 0, 1, 2, 0]  # a stage that has ended leaves the state of the next


def test_a_finished_run_is_not_trained_again(run, uninterrupted, tmp_path, monkeypatch):
    run(tmp_path / "p")
    monkeypatch.setattr(training_stages, "fit", None)
    rows, weights = run(tmp_path / "p")
    assert rows == uninterrupted[0]
    assert torch.equal(weights, uninterrupted[1])
    remove_resume_state(tmp_path / "p")
    assert not (tmp_path / "p").exists()
    remove_resume_state(tmp_path / "p")


# --- partial files of something else ---


@pytest.fixture
def other(recipe, toy, split):
    """Runs that must not take over what the first has left."""
    images = toy.x.copy()
    images[0] = 1 - images[0]
    return {
        "seed": {"recipe": recipe.with_changes(seed=1)},
        "learning rate": {"recipe": recipe.with_changes(qat={"lr": 0.5})},
        "bits": {"recipe": recipe.with_changes(quantize={"bits": 2})},
        "data": {"toy": dataclasses.replace(toy, x=images)},
        "split": {"split": make_split(toy, Data(members=129, non_members=100, reference=50), seed=0)},
        "stages": {"stages": ("train", "qat")},
    }


@pytest.mark.parametrize("what", ["seed", "learning rate", "bits", "data", "split", "stages"])
def test_what_another_run_left_is_not_resumed(run, killed_after, other, tmp_path, capsys, what):
    killed_after(5, tmp_path / "p")
    rows, weights = run(tmp_path / "p", **other[what])
    alone = run(**other[what])
    assert rows == alone[0]
    assert torch.equal(weights, alone[1])
    said = capsys.readouterr()
    assert "left by a different run and is not resumed" in said.err
    assert said.out == ""  # standard output belongs to --json


def test_other_starting_weights_are_another_run(killed_after, toy, split, recipe, tmp_path, capsys):
    killed_after(5, tmp_path / "p")
    classifier = new_classifier(recipe.with_changes(seed=9), toy.num_classes, toy.input_shape)
    run_stages(classifier, recipe, ("train", "robust", "qat"), toy, split, resume_file=tmp_path / "p", quiet=True)
    assert "not resumed" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, 0.5])
def test_a_damaged_partial_file_is_noted_and_replaced(run, killed_after, uninterrupted, tmp_path, capsys, size):
    killed_after(5, tmp_path / "p")
    whole = (tmp_path / "p").read_bytes()
    (tmp_path / "p").write_bytes(whole[: int(size * len(whole)) if size < 1 else size])
    assert torch.equal(run(tmp_path / "p")[1], uninterrupted[1])
    said = capsys.readouterr()
    assert "cannot be read and is not resumed" in said.err
    assert said.out == ""


def test_code_in_a_partial_file_is_not_run(run, uninterrupted, tmp_path):
    class TouchesAFile:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "it_ran"),))

    torch.save({"key": TouchesAFile()}, tmp_path / "p")
    assert torch.equal(run(tmp_path / "p")[1], uninterrupted[1])
    assert not (tmp_path / "it_ran").exists()


def test_a_changed_code_of_training_is_another_run(run, killed_after, tmp_path, capsys, monkeypatch):
    killed_after(5, tmp_path / "p")
    monkeypatch.setattr(resume, "code_version", lambda: "another version")
    run(tmp_path / "p")
    assert "left by a different run" in capsys.readouterr().err


def test_the_code_version_counts_code_and_not_comments(tmp_path, monkeypatch):
    package = Path(training_stages.__file__).parent.parent
    for part in ("models", "training", "artifact", "data"):
        shutil.copytree(package / part, tmp_path / part)
    monkeypatch.setattr(resume, "__file__", str(tmp_path / "training" / "resume.py"))
    version = code_version.__wrapped__  # not the cached one
    before = version()
    source = tmp_path / "training" / "objectives" / "flattening.py"
    source.write_text("# a comment\n" + source.read_text().replace("in nats", "in natural units"))
    assert version() == before
    source.write_text(source.read_text().replace("tiny = 1e-12", "tiny = 1e-11"))
    assert version() != before


# --- what a stage is ---


def test_stages_are_reported_in_order_as_they_end(run, uninterrupted):
    seen = []
    rows, _ = run(after_stage=lambda name, classifier, so_far: seen.append((name, weights_of(classifier))))
    assert [name for name, _ in seen] == ["train", "robust", "qat"]
    assert torch.equal(seen[-1][1], uninterrupted[1])
    assert [(row["stage"], row["epoch"]) for row in rows] == [
        ("train", 1),
        ("train", 2),
        ("robust", 1),
        ("robust", 2),
        ("robust", 3),
        ("qat", 1),
        ("qat", 2),
    ]
    assert "validation_robust_accuracy" in rows[-1]


def test_a_stage_that_was_reported_is_not_reported_again(run, killed_after, tmp_path):
    killed_after(4, tmp_path / "p")
    seen = []
    run(tmp_path / "p", after_stage=lambda name, classifier, so_far: seen.append(name))
    assert seen == ["robust", "qat"]


def test_what_an_objective_lacks_is_refused_before_any_stage_trains(toy, split, recipe):
    later = recipe.with_changes(train={"flatten": 0.0}, qat={"flatten": 1.0})
    classifier = new_classifier(later, toy.num_classes, toy.input_shape)
    fresh = weights_of(classifier)
    with pytest.raises(UserError, match=r"data\.holdout above 0"):
        run_stages(classifier, later, ("train", "qat"), toy, dataclasses.replace(split, holdout=split.holdout[:0]))
    assert torch.equal(weights_of(classifier), fresh)


def test_an_adversarial_stage_needs_an_adversary_and_a_quantized_one_fewer_bits(classifier, recipe):
    network = classifier().network
    assert task_of(network, recipe, "train", (1, 8, 8)).budget is None
    assert task_of(network, recipe, "robust", (1, 8, 8)).quantize is None
    assert task_of(network, recipe, "qat", (1, 8, 8)).quantize == recipe.quantize
    assert task_of(network, recipe, "robust", (1, 8, 8)).budget.eps == 0.05
    plain = recipe.with_changes(adversary={"method": "none"}, quantize={"bits": 32})
    assert task_of(network, plain, "qat", (1, 8, 8)).budget is None
    assert task_of(network, plain, "qat", (1, 8, 8)).quantize is None


def test_float32_means_the_plain_computation(classifier):
    asked = task_of(classifier().network, Recipe(precision="float32"), "robust", (1, 8, 8))
    assert not any((asked.bfloat16, asked.channels_last, asked.fold_norms))
    assert task_of(classifier().network, Recipe(precision="bfloat16"), "robust", (1, 8, 8)).bfloat16


def test_epochs_are_chosen_on_examples_of_every_class(monkeypatch):
    """Folders and tables often stand class by class."""
    labels = np.repeat(np.arange(10), 200)
    sorted_by_class = checked("folder", np.random.default_rng(0).random((2000, 4)), labels)
    split = make_split(sorted_by_class, Data(members=20, non_members=20, reference=0, holdout=0, validation=1500), 0)
    used = {}
    monkeypatch.setattr(training_stages, "fit", lambda *args, validation, **options: used.update(y=validation.y) or [])
    recipe = Recipe(model={"name": "mlp", "args": {"widths": [4]}})
    run_stages(new_classifier(recipe, 10, (4,)), recipe, ("train",), sorted_by_class, split, quiet=True)
    assert len(used["y"]) == training_stages._VALIDATION_EXAMPLES < 1500
    assert len(used["y"].unique()) == 10


def test_starting_weights_are_the_seeds(recipe):
    first, again, other = (new_classifier(recipe.with_changes(seed=seed), 4, (1, 8, 8)) for seed in (1, 1, 2))
    assert torch.equal(weights_of(first), weights_of(again))
    assert not torch.equal(weights_of(first), weights_of(other))
