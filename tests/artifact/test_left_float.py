"""No weight stays float in silence."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.session import open_session, predict
from edgepriv.models import Classifier
from edgepriv.recipe import Export, Quantize
from edgepriv.training.quantization import quantize_weights


class Mixed(nn.Module):
    """A transposed convolution, a free matrix, an embedding, and a Linear that shares another embedding's table."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 3, 2, stride=2)
        self.conv = nn.Conv2d(3, 4, 3)
        self.mix = nn.Parameter(torch.randn(4, 4))
        self.places = nn.Embedding(9, 4)
        self.words = nn.Embedding(6, 4)
        self.out = nn.Linear(4, 6, bias=False)
        self.out.weight = self.words.weight
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.conv(self.up(x)).mean((2, 3)) @ self.mix
        x = x + self.places(torch.zeros(x.shape[0], dtype=torch.long)) + self.words(torch.ones(1, dtype=torch.long))
        return self.head(torch.relu(self.out(x)))


def exported(bits, profile="latency"):
    torch.manual_seed(0)
    classifier = Classifier(Mixed(), [0.5] * 2, [0.25] * 2).eval()
    weights = quantize_weights(classifier.network, Quantize(bits=bits))
    settings = Export(profile=profile)
    return classifier, weights, build_graph(
        classifier, weights, input_shape=(2, 5, 5), class_names=list("abc"), settings=settings
    )  # fmt: skip


def test_each_weight_that_stays_float_is_listed_with_its_reason():
    left = exported("conv=32,*=4")[2].left_float
    assert left.keys() == {"up.weight", "conv.weight", "mix", "places.weight", "words.weight", "unused.weight"}
    assert left["up.weight"].startswith("a transposed convolution")
    assert left["conv.weight"] == "the recipe leaves it at 32 bits"
    assert left["mix"] == "not the weight of a convolution, Linear or attention (read by MatMul)"
    assert left["places.weight"].startswith("an embedding")
    assert left["unused.weight"] == "no operator of the exported graph reads it"


@pytest.mark.parametrize("profile", ["latency", "portable"])
def test_a_linear_whose_weight_an_embedding_had_first_stays_float_with_it(profile):
    x = np.random.default_rng(0).random((8, 2, 5, 5), dtype=np.float32)
    classifier, weights, file = exported(4, profile)
    assert file.left_float["words.weight"].startswith("an embedding")
    expected = torch_probabilities(classifier, weights, x)
    np.testing.assert_allclose(predict(open_session(file.content), x), expected, atol=1e-5)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.GRU(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.steps(x)[0][:, -1])


def test_a_recurrent_layer_stays_float_and_is_called_so():
    classifier = Classifier(Recurrent(), [0.5], [0.25]).eval()
    weights = quantize_weights(classifier.network, Quantize(bits=4))
    file = build_graph(classifier, weights, input_shape=(5, 4), class_names=list("abc"))
    assert file.left_float.keys() == {"steps.weight_ih_l0", "steps.weight_hh_l0"}
    assert all(reason.startswith("a recurrent layer") for reason in file.left_float.values())


def test_a_float_file_leaves_nothing_out():
    assert exported(32)[2].left_float == {}
