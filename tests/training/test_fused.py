"""Batch normalization folded for attacks: the same function, or nothing at all."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgepriv.models import build
from edgepriv.training.fused import fuse


def with_statistics(network):
    """Every normalization gets weights and statistics that matter."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, -1.5, 1.5),
                (module.bias, -1, 1),
                (module.running_mean, -1, 1),
                (module.running_var, 0.2, 2),
            ):
                values.data.uniform_(low, high, generator=generator)
    return network


def folded(network, weights=None):
    fused = fuse(network)
    named = dict(network.named_parameters()) | (weights or {})
    absorbed = fused.absorbed(network, {name: value.detach() for name, value in named.items()})
    return lambda x: fused(absorbed, x)


@pytest.mark.parametrize(
    ("name", "shape", "pairs"),
    [("resnet20", (3, 32, 32), 21), ("resnet18", (3, 32, 32), 20), ("mobilenet_v3_small", (3, 32, 32), 34)],
)
def test_the_same_logits_without_a_single_batch_norm(name, shape, pairs):
    torch.manual_seed(0)
    network = with_statistics(build(name, 10, shape)).eval()
    x = torch.rand(4, *shape)
    fused = fuse(network)
    assert len(fused.pairs) == pairs
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.module.modules())
    with torch.no_grad():
        expected = network(x)
        torch.testing.assert_close(folded(network)(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_the_same_gradient_with_respect_to_the_input():
    network = with_statistics(build("resnet20", 10, (3, 16, 16))).eval()
    x = torch.rand(2, 3, 16, 16)

    def gradient(logits_of):
        at = x.clone().requires_grad_()
        return torch.autograd.grad(logits_of(at)[:, 0].sum(), at)[0]

    torch.testing.assert_close(gradient(folded(network)), gradient(network), rtol=1e-3, atol=1e-4)


def test_the_network_is_left_alone_and_followed_as_it_trains():
    network = with_statistics(build("resnet20", 10, (3, 16, 16))).train()
    names = [name for name, _ in network.named_modules()]
    fused = fuse(network)
    assert network.training
    assert [name for name, _ in network.named_modules()] == names
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.9)
        network.eval()
        x = torch.rand(2, 3, 16, 16)
        absorbed = fused.absorbed(network, dict(network.named_parameters()))
        torch.testing.assert_close(fused(absorbed, x), network(x), rtol=1e-4, atol=1e-4)


def test_replaced_weights_are_the_ones_absorbed():
    network = with_statistics(build("resnet20", 10, (3, 16, 16))).eval()
    replaced = {"conv1.weight": torch.zeros_like(network.conv1.weight)}
    with torch.no_grad():
        x = torch.rand(2, 3, 16, 16)
        found = folded(network, replaced)(x)
        network.conv1.weight.zero_()
        torch.testing.assert_close(found, network(x), rtol=1e-4, atol=1e-4)


def test_nothing_to_fold_is_none():
    assert fuse(build("lenet", 10, (1, 28, 28))) is None
    assert fuse(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1))) is None


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x)) if x.sum() > 0 else x


def test_a_network_that_cannot_be_traced_is_none():
    assert fuse(Untraceable()) is None


class Awkward(nn.Module):
    """Beside one pair that folds: a convolution used twice, one with two readers, one that shares its weight, a keyword."""

    def __init__(self):
        super().__init__()
        self.plain, self.twice, self.read, self.owner, self.tied, self.last = (
            nn.Conv2d(3, 3, 3, padding=1) for _ in range(6)
        )
        self.tied.weight = self.owner.weight
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(6))

    def forward(self, x):
        x = functional.relu(self.norms[0](self.plain(x)))
        x = self.twice(self.norms[1](self.twice(x)))
        x = (y := self.read(x)) + self.norms[2](y)
        x = self.norms[4](self.tied(self.norms[3](self.owner(x))))
        return self.norms[5](input=self.last(x)).mean((2, 3))


def test_only_what_is_safe_is_folded():
    torch.manual_seed(0)
    network = with_statistics(Awkward()).eval()
    assert fuse(network).pairs == (("plain", "norms.0"),)
    with torch.no_grad():
        x = torch.rand(2, 3, 8, 8)
        torch.testing.assert_close(folded(network)(x), network(x), rtol=1e-4, atol=1e-4)
