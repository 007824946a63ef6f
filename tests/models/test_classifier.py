"""The classifier: normalisation inside, so that inputs and budgets are in [0, 1]."""

import pytest
import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.models import Classifier, build_classifier
from edgepriv.recipe import Model


def test_normalisation_is_by_channel_and_inside():
    seen = Classifier(nn.Identity(), mean=(0.5, 0.0), std=(0.25, 2.0))(torch.ones(3, 2, 4, 4))
    assert seen[:, 0].unique().tolist() == [2.0]
    assert seen[:, 1].unique().tolist() == [0.5]


def test_features_of_a_table_are_normalised_one_by_one():
    seen = Classifier(nn.Identity(), mean=(0.0, 1.0, 0.5), std=(1.0, 2.0, 0.5))(torch.tensor([[1.0, 1.0, 1.0]]))
    assert seen.tolist() == [[1.0, 0.0, 1.0]]


def test_without_normalisation_inputs_pass_untouched():
    x = torch.rand(2, 3)
    assert Classifier(nn.Identity(), mean=(0.0,) * 3, std=(1.0,) * 3)(x) is x


def test_defaults_say_nothing_about_the_training_data():
    image, table = build_classifier(Model(), 10, (3, 8, 8)), build_classifier(Model(name="mlp"), 10, (5,))
    assert (image.mean.tolist(), image.std.tolist()) == ([0.5] * 3, [0.25] * 3)
    assert (table.mean.tolist(), table.std.tolist()) == ([0.0] * 5, [1.0] * 5)


def test_the_networks_state_dict_has_no_normalisation_in_it():
    assert "mean" not in build_classifier(Model(), 10, (1, 8, 8)).network.state_dict()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mean": (0.5,) * 2, "std": (0.25,)}, r"need 3 numbers each, or one for every channel \(got 2 and 1\)"),
        ({"mean": (0.5,) * 3}, None),
        ({"std": (0.25, 0.0, 0.25)}, "must be positive"),
        ({"std": (0.25, -1.0, 0.25)}, r"must be positive \(got -1\)"),
    ],
)
def test_wrong_normalisation_is_one_sentence(settings, sentence):
    if sentence is None:
        build_classifier(Model(**settings), 10, (3, 8, 8))
        return
    with pytest.raises(UserError, match=sentence):
        build_classifier(Model(**settings), 10, (3, 8, 8))
