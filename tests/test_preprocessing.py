"""A bare state_dict from elsewhere: how its network is fed is stated, checked by accuracy, and never invented."""

import pytest
import torch

from edgepriv.data import load, make_split
from edgepriv.errors import UserError
from edgepriv.models import Checkpoint
from edgepriv.preprocessing import refuse_unlike
from edgepriv.recipe import Data, Recipe
from edgepriv.training import new_classifier, run_stages

BYTES = {"mean": (77.0,), "std": (96.0,), "input_range": (0.0, 255.0)}
SAME = {"mean": (77 / 255,), "std": (96 / 255,)}
SIZES = Data(members=300, non_members=300, reference=0, holdout=0, validation=0)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """(path, open): a network trained on (x - 0.302) / 0.376; ``open`` states how it is fed and checks it."""
    dataset = load("digits")
    split = make_split(dataset, SIZES, 0)
    recipe = Recipe(
        model={"name": "cnn", "args": {"width": 8}, **SAME}, train={"epochs": 25, "lr": 5e-3, "batch_size": 32}
    )
    network = new_classifier(recipe, 10, dataset.input_shape)
    run_stages(network, recipe, ("train",), dataset, split, quiet=True)
    path = tmp_path_factory.mktemp("theirs") / "theirs.pt"

    def check(accept=False, weights=None, **stated):
        asked = recipe.model_copy(
            update={"model": recipe.model.model_copy(update={"mean": None, "std": None} | stated)}
        )
        state = weights or {name: value.clone() for name, value in network.network.state_dict().items()}
        found = Checkpoint(state, dataset.class_names, dataset.input_shape, asked)
        return refuse_unlike(path, found, dataset, split, accept=accept)

    check.state = network.network.state_dict()
    return check


def test_unstated_is_refused_with_lines_to_paste_and_what_each_gives(theirs):
    with pytest.raises(UserError, match="--mean and --std do not say how its network is fed") as refused:
        theirs()
    said = str(refused.value)
    first = said.split("members ", 1)[1]
    assert first.index("the members' own mean and std") < first.index(";"), "the best comes first"
    assert "% with --mean 0.30" in said


@pytest.mark.parametrize("half", [{"mean": (0.3,)}, {"std": (0.3,)}, {"input_range": (0.0, 255.0)}])
def test_half_a_statement_is_none(theirs, half):
    with pytest.raises(UserError, match="state what it was trained with"):
        theirs(**half)


@pytest.mark.parametrize("stated", [BYTES, SAME])
def test_the_true_statement_passes_in_either_unit(theirs, stated):
    assert theirs(**stated) == []


def test_a_false_statement_is_stopped_by_accuracy_and_may_be_insisted_on(theirs):
    wrong = {"mean": (0.0,), "std": (0.02,)}
    with pytest.raises(UserError, match=r"fed as stated, .*% with --mean 0\.30.* --accept-accuracy-loss"):
        theirs(**wrong)
    assert "accepted by --accept-accuracy-loss" in theirs(accept=True, **wrong)[0]


def test_weights_of_no_use_are_near_chance_however_they_are_fed(theirs):
    torch.manual_seed(0)
    noise = {name: torch.randn_like(value.float()) if value.ndim > 1 else value for name, value in theirs.state.items()}
    with pytest.raises(UserError, match=r"none beats the largest class|does no better than always|answers '"):
        theirs(weights=noise, mean=(0.0,), std=(1.0,))
