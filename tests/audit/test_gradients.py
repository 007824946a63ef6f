"""Lengths of single examples' gradients: a batch at a time, to the numbers of one at a time."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgepriv.audit import gradients
from edgepriv.audit.gradients import NotApart, gradient_norms, one_at_a_time


class Split(nn.Module):
    """Residual, grouped, strided, dilated and pointwise convolutions, and a product of matrices over the pixels."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.point = nn.Conv2d(8, 12, 1)
        self.pixels, self.added = nn.Parameter(torch.randn(12, 5)), nn.Parameter(torch.randn(5))
        self.last = nn.Linear(5 * 16, 4)

    def forward(self, x):
        x = torch.relu_(self.stem(x))  # changed in its place
        x = x + self.depthwise(torch.relu(self.grouped(x)))
        x = torch.relu(self.point(x)).flatten(2).mT @ self.pixels
        return self.last(x.flatten(1))


class Signal(nn.Module):
    """Convolutions of one axis, ``addmm``, and a weight that is used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(2, 6, 3, stride=2)
        self.weight, self.bias = nn.Parameter(torch.randn(24, 24) / 5), nn.Parameter(torch.randn(24))
        self.last = nn.Linear(24, 4)

    def forward(self, x):
        x = torch.relu(self.first(x)).flatten(1)
        for _ in range(2):
            x = torch.tanh(torch.addmm(self.bias, x, self.weight))
        return self.last(x)


NETWORKS = {
    "linear": (lambda: nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4)), (12,)),
    "images": (Split, (3, 8, 8)),
    "signals": (Signal, (2, 9)),
}


def examples(shape, count=9):
    rng = np.random.default_rng(0)
    return rng.random((count, *shape), dtype=np.float32), rng.integers(4, size=count)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_gives_the_numbers_of_one_at_a_time(name, monkeypatch):
    torch.manual_seed(0)
    network, (x, y) = NETWORKS[name][0]().eval(), examples(NETWORKS[name][1])
    expected = one_at_a_time(network, x, y)
    monkeypatch.setattr(gradients, "one_at_a_time", lambda of, some, labels: expected[: len(some)])
    monkeypatch.setattr(gradients, "HELD_AT_ONCE", 700)  # several batches, and parts of a batch
    together = gradient_norms(network, x, y)
    np.testing.assert_allclose(together, expected, rtol=1e-5)
    assert len(np.unique(together.round(6))) == len(x)
    np.testing.assert_allclose(gradients._of_batch(network, x, y)[0], expected, rtol=1e-5)


class Mixing(nn.Module):
    """As files do that quantize a whole batch by its own range."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.last(torch.relu(self.first(x / x.max())))


def alone(network):
    """A twin whose answers depend on the batch, which is asked for each input by itself."""
    return lambda x: torch.cat([network(row) for row in x.split(1)])


def turned(network):
    """The batch is the second axis of what the weights see."""
    return lambda x: network(x.expand(3, *x.shape)).mean(0)


@pytest.mark.parametrize("of", [lambda network: network, alone, turned])
def test_where_examples_cannot_be_told_apart_each_is_done_by_itself(of):
    torch.manual_seed(0)
    model, (x, y) = of(Mixing()), examples((12,))
    np.testing.assert_array_equal(gradient_norms(model, x, y), one_at_a_time(model, x, y))


def test_what_is_called_in_another_way_is_not_guessed():
    weight = torch.randn(4, 12, requires_grad=True)
    ways = [
        lambda x: torch.addmm(torch.zeros(4, requires_grad=True), x, weight.T.detach(), alpha=2.0),
        lambda x: functional.conv2d(x[:, None, :, None], torch.randn(4, 1, 12, 1), padding="valid").flatten(1),
        lambda x: (weight.detach() @ x.T).T,
    ]
    x, y = examples((12,))
    for way in ways:
        with pytest.raises(NotApart):
            gradients._of_batch(way, x, y)
        assert (gradient_norms(way, x, y) > 0).all()


def test_nobody_is_nobody():
    x, y = examples((12,), count=0)
    assert gradient_norms(NETWORKS["linear"][0](), x, y).shape == (0,)
