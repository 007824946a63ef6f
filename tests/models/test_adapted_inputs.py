"""Classifiers of the user's own that take and return other than a tensor: they are asked for one, and answer with one."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from edgepriv.artifact.trace import trace
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.models.adapt import adapted


@dataclass
class ImageClassifierOutput:
    """As Hugging Face's classifiers answer."""

    loss: torch.Tensor | None
    logits: torch.Tensor


class OfHuggingFace(nn.Linear):
    def forward(self, pixel_values=None, labels=None, return_dict=None):
        return ImageClassifierOutput(None, super().forward(pixel_values))


class OfADictionary(nn.Linear):
    def forward(self, batch):
        return super().forward(batch["image"])


class WritingIntoIt(OfADictionary):
    def forward(self, batch):
        batch["image"].mul_(2)
        return super().forward(batch)


class OfTwoTensors(OfADictionary):
    def forward(self, batch):
        return super().forward(batch) + batch["age"].sum()


class OfTimm(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 3)

    def forward_features(self, x):
        return x.view(len(x), -1) + torch.zeros(x.shape[0], 5)

    def forward(self, x):
        return self.fc(self.forward_features(x))


def linear(cls):
    torch.manual_seed(0)
    return cls(5, 3)


@pytest.mark.parametrize(
    ("cls", "factor", "said"),
    [
        (OfHuggingFace, 1, "of the ImageClassifierOutput that it returns, 'logits' is read"),
        (OfADictionary, 1, "it takes a dictionary, and gets its input as 'image'"),
        (WritingIntoIt, 2, "it changes its input in place, and gets a copy"),
    ],
)
def test_it_is_asked_for_a_tensor_and_answers_with_logits(cls, factor, said):
    network, notes = adapted(linear(cls), "mine:Net", (5,))
    assert said in notes
    x = torch.rand(4, 5)
    before = x.clone()
    expected = nn.functional.linear(factor * x, network.weight, network.bias)
    assert torch.allclose(network(x), expected)
    assert torch.equal(x, before)


def test_a_network_of_doubles_that_takes_a_dictionary_becomes_one_of_floats():
    network, notes = adapted(linear(OfADictionary).double(), "mine:Net", (5,))
    assert network(torch.rand(4, 5)).dtype == torch.float32
    assert len(notes) == 2


@pytest.mark.parametrize("network", [linear(OfADictionary), OfTimm()], ids=["a dictionary", "timm"])
def test_its_graph_takes_batches_of_any_size(network):
    network, _ = adapted(network, "mine:Net", (5,))
    traced = trace(Classifier(network, [0.0], [1.0]), (5,))
    assert [str(value.shape[0]) for value in traced.graph.inputs] != ["2"]


def test_a_dictionary_of_several_tensors_is_refused():
    with pytest.raises(UserError, match="model 'mine:Net' does not take inputs float32"):
        adapted(linear(OfTwoTensors), "mine:Net", (5,))
