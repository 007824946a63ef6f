"""A training run that goes astray is told while it runs, once, and nothing about it is changed."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.data import Dataset, Split
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.examples import Examples
from edgepriv.training.task import task_of
from edgepriv.training.watch import MOST, Watch, watch_of

Y = torch.arange(90) % 3


def task(**changes):
    return task_of(nn.Linear(2, 3), Recipe(train={"epochs": 20}).with_changes(**changes), "train", (2,))


def told(epochs, examples=None, **changes):
    """The warnings over epochs whose answers are given: "right", "one class" or "guessed"."""
    guessed = torch.arange(90) // 3 % 3  # right for a third of each class
    answers = {"right": Y, "one class": torch.zeros_like(Y), "guessed": guessed}
    watch = Watch(task(**changes), examples or Examples(torch.zeros(90, 2), Y))
    return [watch.after(epoch, [answers[name]], nn.Identity()) for epoch, name in enumerate(epochs, 1)]


def test_three_epochs_in_a_row_of_one_class_are_told_once():
    found = told(["right", "one class", "one class", "one class", "one class"])
    assert [warning is not None for warning in found] == [False, False, False, True, False]
    assert found[3].startswith(
        "epoch 4 of 20: for 3 epochs in a row the model gives one class to 100% of 90 held-out inputs"
    )


def test_the_first_epoch_and_those_with_a_better_one_between_are_not():
    assert told(["one class", "one class", "one class", "right", "one class", "one class"]) == [None] * 6


def test_guessing_is_told_too():
    assert "no better than always giving the largest class" in told(["guessed"] * 4)[-1]


def test_data_of_one_class_are_not_blamed_on_the_model():
    y = torch.zeros(90, dtype=torch.int64)
    y[:3] = 1
    assert not any(
        warning and "one class" in warning for warning in told(["one class"] * 5, Examples(torch.zeros(90, 2), y))
    )


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"train": {"adversarial": True}, "adversary": {"method": "pgd", "eps": 0.3}}, "a smaller --eps"),
        ({"train": {"quantized": True}, "quantize": {"bits": 2}}, "more --bits"),
        ({"train": {"relax": 2.0}}, "a lower --relax"),
        ({"train": {"lr": 3.0}}, "another learning rate than 3"),
    ],
)
def test_the_warning_says_what_to_change(changes, remedy):
    assert remedy in told(["one class"] * 4, **changes)[-1].partition("What helps: ")[2]


def test_few_held_out_examples_are_asked_where_no_selection_asks_them():
    many, none = Examples(torch.zeros(2000, 2), torch.zeros(2000)), Examples(torch.zeros(0, 2), torch.zeros(0))
    best = task(train={"select": "best"})
    assert [len(watch_of(asked, many, none).examples) for asked in (best, task())] == [2000, MOST]
    assert len(watch_of(task(), none, many).examples) == MOST
    assert watch_of(task(), none, none) is None


@pytest.mark.parametrize("select", ["last", "best"])
def test_a_run_that_collapses_says_so_and_trains_what_it_would_have_trained(select, capsys):
    rng = np.random.default_rng(0)
    data = Dataset("toy", rng.integers(0, 256, (120, 6), dtype=np.uint8), np.arange(120) % 3, ("a", "b", "c"))
    split = Split(0, *np.split(np.arange(120), [60, 70, 80, 90]))
    recipe = Recipe(model={"name": "mlp", "args": {"widths": [4]}}, train={"epochs": 5, "lr": 1e-9, "select": select})

    def run(quiet):
        classifier = new_classifier(recipe, 3, (6,))
        with torch.no_grad():
            classifier.network.layers[-1].bias[1] = 50.0
        return classifier, run_stages(classifier, recipe, ("train",), data, split, quiet=quiet).history

    (watched, history), (unwatched, silent) = run(False), run(True)
    said = capsys.readouterr().err
    assert said.count("warning: epoch 4 of 5: for 3 epochs in a row the model gives one class to 100% of 30") == 1
    assert [row.pop("warning", None) is not None for row in history] == [False, False, False, True, False]
    assert history == silent
    for one, other in zip(watched.state_dict().values(), unwatched.state_dict().values(), strict=True):
        assert torch.equal(one, other)
