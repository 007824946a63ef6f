"""Batches and loss of the user's own script, in our stages: as he wrote them, and with all that a stage promises."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from weights import weights_of

from edgepriv.data import TrainingData
from edgepriv.errors import UserError
from edgepriv.models.scripts import beside, script_of
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.pipeline import named_in, pipeline_of

SCRIPT = """
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, WeightedRandomSampler

drawn, scored = [], []


def train(data, *, seed, device):
    raise AssertionError("the stages train")


class Flipped(torch.utils.data.Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        x, y = self.data[index]
        drawn.append(int(y))
        return x.flip(2) if np.random.random() < 0.5 else x, y


def loader(data, *, seed):
    rare = WeightedRandomSampler(torch.as_tensor(data.y == 0).double() + 1e-9, 60)
    return DataLoader(Flipped(data), batch_size=20, sampler=rare)


def loss(data):
    weighted = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    def counted(logits, y):
        scored.append(len(y))
        return weighted(logits, y)
    return counted
"""
STAGES = ("train", "robust", "qat")
RECIPE = Recipe(
    model={"name": "cnn", "args": {"width": 4}},
    train={"epochs": 1, "batch_size": 32},
    robust={"epochs": 2, "lr": 0.01, "select": "last"},
    qat={"epochs": 1, "lr": 0.01, "select": "last"},
    adversary={"method": "pgd", "steps": 1, "eps": 0.05},
    quantize={"bits": 4},
)


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))

    def script(source=SCRIPT):
        (tmp_path / "mine.py").write_text(source)
        return script_of("--trainer", f"{tmp_path}/mine.py:train")

    yield script
    sys.modules.pop("mine", None)


@pytest.fixture
def run(toy, split):
    def run(script, recipe=RECIPE, **options):
        named = recipe.with_changes(pipeline=named_in(script).model_dump())
        classifier = new_classifier(named, toy.num_classes, toy.input_shape)
        history = run_stages(classifier, named, STAGES, toy, split, script=script, quiet=True, **options).history
        return history, weights_of(classifier)

    return run


def test_the_stages_after_the_first_see_what_the_loader_yields_and_are_scored_by_the_loss(run, script, split):
    own = script()
    history, _ = run(own)
    drawn, scored = beside(own, "drawn"), beside(own, "scored")
    assert len(history) == 4
    assert drawn[:20] == [0] * 20  # the first batch is tried beforehand
    assert drawn.count(0) == len(drawn) == 20 + 3 * 60
    assert [count for count in scored if count == 20] == [20] * 3 * 3
    assert history[1]["accuracy"] != history[0]["accuracy"]


def test_each_is_optional(run, script):
    without_loss, without_loader = SCRIPT.replace("def loss", "def other"), SCRIPT.replace("def loader", "def other")
    assert named_in(script(without_loss)).hooks == ("loader",)
    run(script(without_loss))
    assert named_in(script(without_loader)).hooks == ("loss",)
    own = script(without_loader)
    run(own)
    assert not beside(own, "drawn")
    assert sum(count for count in beside(own, "scored") if count > 2) == 3 * 128  # and two in the last batch


def test_a_killed_run_draws_the_same_batches_again(run, script, dies_after, tmp_path):
    own = script()
    whole = run(own)
    partial = tmp_path / "model.partial"
    dies_after(4, run, own, resume_file=partial)  # in the stage robust
    again = run(own, resume_file=partial)
    assert again[0] == whole[0]
    assert torch.equal(again[1], whole[1])


def test_the_script_is_in_the_hash_of_the_training(script):
    own = named_in(script()).model_dump()
    edited = named_in(script(SCRIPT.replace("3.0", "5.0"))).model_dump()
    moved = own | {"script": "elsewhere/mine.py:train"}
    hashes = [RECIPE.with_changes(pipeline=each).training_hash() for each in (own, edited, moved)]
    assert len({RECIPE.training_hash(), *hashes}) == 3
    assert hashes[0] == hashes[2]


WRONG = {
    "normalised": ("return x.flip(2)", "return (x - 0.5) / 0.1", "but data.x is in .0, 1.: leave normalisation to the"),
    "no pairs": ("return x.flip(2) if np.random.random() < 0.5 else x, y", "return x", "must yield pairs of inputs"),
    "no length": ("return DataLoader", "yield from DataLoader", "has no len"),
    "another shape": (
        "return x.flip(2) if np.random.random() < 0.5 else x, y",
        "return x[:, :4], y",
        "expected .N, 1, 8, 8",
    ),
    "raises": (
        "drawn.append(int(y))",
        "raise OSError('no disk')",
        "the loader of .*mine.py:train failed: OSError: no disk",
    ),
    "no mean": ("return weighted(logits, y)", "return logits", "must give the mean loss of a batch, not float32 .2, 4"),
    "too few weights": ("2.0, 3.0, 4.0", "2.0", "loss of .*mine.py:train failed"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_the_hooks_cannot_be_is_refused_before_the_training(run, script, wrong):
    old, new, said = WRONG[wrong]
    assert old in SCRIPT
    with pytest.raises(UserError, match=said):
        run(script(SCRIPT.replace(old, new)))


def test_batch_normalisation_needs_two_records(script, toy, split):
    data = TrainingData(toy.inputs(split.members), toy.y[split.members], 4)
    lonely = script(SCRIPT.replace("batch_size=20", "batch_size=1"))
    pipeline_of(lonely, data, torch.nn.Linear(1, 1), seed=0)
    with pytest.raises(UserError, match=r"yields a batch of one record.* pass drop_last=True"):
        pipeline_of(lonely, data, torch.nn.BatchNorm1d(1), seed=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"robust": {"relax": 0.5}}, "RelaxLoss has a loss of its own, and so has"),
        ({"qat": {"augment": "crop"}}, "the stage qat asks for augment = 'crop': leave out one"),
    ],
)
def test_what_has_batches_or_a_loss_of_its_own_is_not_combined(run, script, changes, said):
    with pytest.raises(UserError, match=said):
        run(script(), RECIPE.with_changes(**changes))


def test_a_script_without_hooks_and_hooks_without_a_script_are_refused(script, toy, split):
    with pytest.raises(
        UserError, match=r"mine.py defines neither loader\(data, \*, seed\), which returns your DataLoader"
    ):
        named_in(script("def train(data, *, seed, device):\n    return None\n"))
    named = RECIPE.with_changes(pipeline=named_in(script()).model_dump())
    classifier = new_classifier(named, toy.num_classes, toy.input_shape)
    with pytest.raises(UserError, match="name that script with --trainer"):
        run_stages(classifier, named, STAGES, toy, split, quiet=True)
    assert run_stages(classifier, named, ("train",), toy, split, quiet=True).history  # which does not use it


def test_a_loss_is_asked_where_the_training_is(script, toy, split):
    data = TrainingData(toy.inputs(split.members), toy.y[split.members], 4)
    elsewhere = torch.device("meta")  # whose tensors refuse to be mixed with the processor's, as a GPU's do
    with pytest.raises(UserError, match=r"define loss\(data, \*, device\), with its tensors on meta"):
        pipeline_of(script(), data, torch.nn.Linear(1, 1), seed=0, device=elsewhere)
    there = SCRIPT.replace("def loss(data)", "def loss(data, *, device)").replace("4.0])", "4.0], device=device)")
    pipeline_of(script(there), data, torch.nn.Linear(1, 1), seed=0, device=elsewhere)
    kept = SCRIPT.replace("    return counted", "    return weighted")  # a module, which is moved there
    pipeline_of(script(kept), data, torch.nn.Linear(1, 1), seed=0, device=elsewhere)


def test_augmentation_is_another_in_each_epoch(script, toy, split):
    data = TrainingData(toy.inputs(split.members), toy.y[split.members], 4)
    pipeline = pipeline_of(script(), data, torch.nn.Linear(1, 1), seed=0)
    with torch.random.fork_rng(devices=[]):
        drawn = []
        for epoch in (0, 0, 1):
            torch.manual_seed(0)  # as a run that goes on finds it
            drawn.append(np.concatenate([x.numpy() for x, _ in pipeline.batches(0, epoch)]))
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()


EXAMPLE_NEEDS = """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler


def train(data, *, seed, device):
    raise AssertionError("the stages train")


class Augmented(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        x, y = self.data[index]
        return (x + 0.01).clamp(0, 1), y


def weights_of(data):
    return torch.as_tensor(data.y).bincount().float().reciprocal()[data.y]
"""
"""What the page says of its two functions: what they call is the reader's own."""


def test_the_example_of_the_documentation_trains(tmp_path, monkeypatch, toy, split):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own-training.md").read_text()
    example = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def loader(" in block)
    assert "def loss(" in example
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "example_of_docs.py").write_text(EXAMPLE_NEEDS + example)
    script = script_of("--trainer", f"{tmp_path}/example_of_docs.py:train")
    two = dataclasses.replace(toy, y=toy.y % 2, class_names=("no", "yes"))  # its loss has two weights
    recipe = RECIPE.with_changes(pipeline=named_in(script).model_dump(), train={"epochs": 0}, qat={"epochs": 0})
    assert recipe.pipeline.hooks == ("loader", "loss")
    classifier = new_classifier(recipe, 2, two.input_shape)
    run = run_stages(classifier, recipe, ("robust",), two, split, quiet=True, script=script)
    assert [row["stage"] for row in run.history] == ["robust", "robust"]
    sys.modules.pop("example_of_docs", None)
