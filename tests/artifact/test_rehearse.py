"""Before any training: a network works in every stage and as a file, or the refusal names what in it does not."""

import numpy as np
import pytest
import torch

from edgepriv.artifact.rehearse import rehearse
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.models import Checkpoint
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier

SHAPE = (1, 8, 8)
RECIPE = Recipe().with_changes(
    quantize={"bits": 4},
    adversary={"method": "pgd", "eps": 0.1},
    train={"epochs": 1},
    robust={"epochs": 1},
    qat={"epochs": 1},
)


@pytest.fixture(scope="module")
def dataset():
    draw = np.random.default_rng(0)
    return Dataset("toy", draw.integers(0, 256, (40, *SHAPE), dtype=np.uint8), np.arange(40) % 3, ("a", "b", "c"))


@pytest.fixture(scope="module")
def split():
    return Split(0, *np.split(np.arange(40), [16, 24, 28, 34]))


def tried(name, dataset, split, **changes):
    recipe = RECIPE.with_changes(model={"name": f"odd_nets:{name}"}, **changes)
    classifier = new_classifier(recipe, 3, SHAPE)
    found = Checkpoint({}, dataset.class_names, SHAPE, recipe).with_weights(classifier)
    return rehearse(found, tuple(recipe.stages()), dataset, split), classifier.notes


WORK = (
    "in_place",
    "dictionary",
    "data_parallel",
    "compiled",
    "doubles",
    "all_bfloat16",
    "prior",
    "masked",
    "lazy",
    "counts_rows",
)
NAMES = ("called_probabilities", "strange_names")


@pytest.mark.parametrize("name", [*WORK, *NAMES])
def test_what_torch_can_run_can_be_trained_and_shipped(name, dataset, split):
    remarks, notes = tried(name, dataset, split)
    assert remarks == list(notes)  # nothing unsteady was seen beside


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("autocast", "computes in 16-bit floats inside"),
        ("tuple", r"must return logits \[N, K\]: it returned a tuple of 2"),
        ("drops", "answers the same input differently each time .*draws random numbers, by bernoulli"),
        ("no_statistics", "BatchNorm2d middle has no running statistics, set track_running_stats=True"),
        ("centred", "depends on the other inputs of its batch .something in its forward"),
        ("squeezes", r"returns \[3\] for one input alone, not \[1, 3\]: .* squeeze"),
        ("branches", r"branches on the values of its input.* .odd_nets.py, line \d+: return x.clamp"),
        ("cuts_the_gradient", "the stage 'train' cannot train this network"),
    ],
)
def test_what_cannot_is_refused_with_its_cause(name, sentence, dataset, split):
    with pytest.raises(UserError, match=sentence):
        tried(name, dataset, split)


def test_what_is_changed_on_a_network_is_told(dataset, split):
    notes = {
        name: new_classifier(RECIPE.with_changes(model={"name": f"odd_nets:{name}"}), 3, SHAPE).notes
        for name in [*WORK, "dataclass"]
    }
    assert notes["in_place"] == ("it changes its input in place, and gets a copy",)
    assert notes["dictionary"] == ("of the dict that it returns, 'logits' is read",)
    assert notes["dataclass"] == ("of the Output that it returns, 'logits' is read",)
    assert notes["all_bfloat16"] == ("its bfloat16 weights became float32, in which it is trained and exported",)
    assert notes["lazy"] == notes["doubles"] == ()


@pytest.mark.parametrize(
    "forms",
    [
        {"export": {"profile": "portable", "input": "uint8", "output": "logits"}},
        {"export": {"profile": "memory", "compute": "int8"}},
        {"head": {"method": "rank"}, "export": {"output": "label"}},
        {"quantize": {"bits": 32}, "dp": {"epsilon": 3.0}, "qat": {"epochs": 0}},
        {"noise": {"method": "uniform"}, "noisy": {"epochs": 1}},
        {"train": {"relax": 0.5}, "qat": {"flatten": 0.1}},
    ],
)
def test_every_form_and_stage_is_tried(forms, dataset, split):
    assert tried("plain", dataset, split, **forms) == ([], ())


def test_no_generator_and_no_statistic_moves(dataset, split):
    torch.manual_seed(3)
    classifier = new_classifier(RECIPE.with_changes(model={"name": "odd_nets:compiled"}), 3, SHAPE)
    found = Checkpoint({}, dataset.class_names, SHAPE, RECIPE.with_changes(model={"name": "odd_nets:compiled"}))
    found = found.with_weights(classifier)
    kept = {name: value.clone() for name, value in found.state_dict.items()}
    before = torch.get_rng_state()
    rehearse(found, ("train",), dataset, split)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, kept[name]) for name, value in found.state_dict.items())
