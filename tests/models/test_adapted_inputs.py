"""Classifiers of the user's own that take and return other than a tensor: they are asked for one, and answer with one."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.session import open_session, predict
from edgepriv.errors import UserError
from edgepriv.models import Classifier, build
from edgepriv.models.adapt import adapted


@dataclass
class ImageClassifierOutput:
    """As Hugging Face's classifiers answer."""

    loss: torch.Tensor | None
    logits: torch.Tensor


class OfHuggingFace(nn.Linear):
    def forward(self, pixel_values=None, labels=None, return_dict=None):
        return ImageClassifierOutput(None, super().forward(pixel_values))


class ModelOutput(OrderedDict):
    """As Hugging Face's outputs are: a dictionary whose entries are attributes too, and whose first has the place 0."""

    def __getattr__(self, name):
        return self[name]

    def __getitem__(self, key):
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


class ByName(nn.Linear):
    def forward(self, *, pixel_values, labels=None):
        return ModelOutput(logits=super().forward(pixel_values), hidden_states=pixel_values)


class LabelsFirst(nn.Linear):
    """Its first argument is not its input."""

    def forward(self, labels=None, pixel_values=None):
        loss = None if labels is None else nn.functional.cross_entropy(super().forward(pixel_values), labels)
        return ImageClassifierOutput(loss, super().forward(pixel_values))


class OfAnyName(nn.Linear):
    def forward(self, **inputs):
        return super().forward(inputs["pixel_values"])


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
        (ByName, 1, "it gets its input by name, as pixel_values"),
        (ByName, 1, "of the ModelOutput that it returns, 'logits' is read"),
        (LabelsFirst, 1, "it gets its input by name, as pixel_values"),
        (OfAnyName, 1, "it gets its input by name, as pixel_values"),
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


NETWORKS = [linear(OfADictionary), linear(ByName), linear(OfHuggingFace), OfTimm()]


@pytest.mark.parametrize("network", NETWORKS, ids=["a dictionary", "by name", "Hugging Face", "timm"])
def test_its_graph_takes_batches_of_any_size(network):
    network, _ = adapted(network, "mine:Net", (5,))
    classifier = Classifier(network, [0.0], [1.0]).eval()
    built = build_graph(classifier, {}, input_shape=(5,), class_names=("a", "b", "c"))
    session, x = open_session(built.content), torch.rand(4, 5)
    expected = classifier(x).softmax(1).detach().numpy()
    for size in (1, 3, 4):
        assert np.allclose(predict(session, x[:size].numpy()), expected[:size], atol=1e-6)


def test_a_network_that_gets_its_input_by_name_is_trained_as_any_other():
    network, _ = adapted(linear(ByName), "mine:Net", (5,))
    classifier = Classifier(network, [0.0], [1.0])
    x = torch.rand(4, 5, requires_grad=True)
    classifier.logits(x, {"weight": 2 * network.weight}).sum().backward()
    assert torch.allclose(x.grad, 2 * network.weight.sum(0).expand(4, 5))


def test_another_number_of_classes_names_where_it_stands_in_the_config(tmp_path, monkeypatch):
    body = """
import types
from torch import nn


def make(num_classes, input_shape):
    network = nn.Linear(5, 1000)
    network.config = types.SimpleNamespace(num_labels=1000)
    return network
"""
    (tmp_path / "of_config.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"config.num_labels is 1000: set it to num_classes in the factory"):
        build("of_config:make", 3, (5,))


def test_a_dictionary_of_several_tensors_is_refused():
    with pytest.raises(UserError, match="model 'mine:Net' does not take inputs float32"):
        adapted(linear(OfTwoTensors), "mine:Net", (5,))
