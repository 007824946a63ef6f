"""A state_dict does not show strides and pooling: its members tell which stem the weights were trained with, or we ask."""

import numpy as np
import pytest
import torch

from edgepriv.errors import UserError
from edgepriv.models import Checkpoint, build
from edgepriv.models.checkpoint import from_state_dict
from edgepriv.models.stems import read_with_its_stem
from edgepriv.models.zoo import Stem, stem_of
from edgepriv.recipe import Model, Recipe

SHAPE, NAMES = (1, 16, 16), ("a", "b")
FED = {"mean": (0.0,), "std": (1.0,)}


def trained_as(tmp_path, **stem):
    """Weights of a resnet18 with that stem, and what it says of 120 inputs, which counts as the truth here."""
    torch.manual_seed(0)
    network = build("resnet18", 2, SHAPE, **stem)
    x = torch.from_numpy(np.random.default_rng(0).random((120, *SHAPE), dtype=np.float32))
    with torch.no_grad():
        network.train()(x)  # running statistics that belong to this stem
        logits = network.eval()(x)
        network.fc.bias -= (logits - logits.mean(1, keepdim=True)).median(0).values
        y = network(x).argmax(1)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    return x, y


def read_as(tmp_path, x, y, model=None):
    def read(model):
        return from_state_dict(tmp_path / "weights.pth", Recipe(model=model), NAMES, SHAPE, None)

    return read_with_its_stem(read, model or Model(name="resnet18", **FED), x, y)


@pytest.mark.parametrize(
    "stem",
    [
        {},
        {"stem": "plain"},
        {"stem_kernel": 3, "stem_stride": 2, "stem_pool": True},
        {"stem_kernel": 3, "stem_stride": 1, "stem_pool": True},
    ],
)
def test_the_stem_that_the_weights_were_trained_with_is_found_and_said(tmp_path, stem):
    x, y = trained_as(tmp_path, **stem)
    found = read_as(tmp_path, x, y)
    assert isinstance(found, Checkpoint)
    wanted = stem_of(build("resnet18", 2, SHAPE, **stem))
    classifier = found.classifier()
    assert stem_of(classifier.network) == wanted
    assert torch.equal(classifier(x).argmax(1), y)
    if "stem_stride" in stem:
        assert "first convolution 3x3 of stride" in found.notes[-1]
        assert "members: 100.0% with" in found.notes[-1]


def test_stems_that_answer_equally_badly_are_asked_for(tmp_path):
    x, y = trained_as(tmp_path)
    with pytest.raises(UserError, match=r"4 stems that a state_dict does not tell apart.*--model-arg stem_kernel=3"):
        read_as(tmp_path, x, torch.from_numpy(np.random.default_rng(1).integers(0, 2, len(y))))


def test_a_stem_that_is_stated_is_not_looked_for(tmp_path):
    x, y = trained_as(tmp_path, stem="plain")
    found = read_as(tmp_path, x, 1 - y, Model(name="resnet18", args={"stem": "plain"}, **FED))
    assert stem_of(found.classifier().network) == Stem(7, 2, True, True)


def test_our_own_networks_have_one_stem(tmp_path):
    torch.save(build("cnn", 2, SHAPE).state_dict(), tmp_path / "weights.pth")
    x, y = torch.rand(4, *SHAPE), torch.zeros(4, dtype=torch.int64)
    assert read_as(tmp_path, x, y, Model(name="cnn")).notes == ()


def test_arguments_of_a_stem_that_do_not_exist_are_one_sentence():
    with pytest.raises(UserError, match="stem='tiny': known are plain, small"):
        build("resnet18", 2, SHAPE, stem="tiny")
    with pytest.raises(UserError, match="no max pooling behind its first convolution"):
        build("mobilenet_v2", 2, (3, 32, 32), stem_pool=True)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("densenet121", Stem(7, 2, True, True)), ("mobilenet_v2", Stem(3, 2, False, False)), ("vgg11", None)],
)
def test_other_families_are_known_by_their_first_layers(name, stem):
    assert stem_of(build(name, 2, (3, 32, 32))) == stem
