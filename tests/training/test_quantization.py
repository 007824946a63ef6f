"""The grid, the integers and the values that they stand for."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.models import build
from edgepriv.recipe import Quantize
from edgepriv.training import QuantizedTensor, load_quantized, quantize_weights
from edgepriv.training.quantization import fake_quantize, grid_of, refuse_unmatched, widths
from edgepriv.training.simulation import simulation_of

WIDTHS = range(2, 9)
GRANULARITIES = ("tensor", "channel")
EVERY = pytest.mark.parametrize(
    ("bits", "granularity"), [(bits, granularity) for bits in WIDTHS for granularity in GRANULARITIES]
)


def layer_of(weight):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(torch.as_tensor(weight, dtype=torch.float32))
    return layer


def quantized(weight, bits, granularity="channel"):
    return quantize_weights(layer_of(weight), Quantize(bits=bits, granularity=granularity))["weight"]


def normal(rows=6, columns=50, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


PECULIAR = {
    "zero": torch.zeros(2, 3),
    "positive": torch.rand(2, 50, generator=torch.Generator().manual_seed(0)) + 3,
    "negative": -torch.rand(2, 50, generator=torch.Generator().manual_seed(0)) - 3,
    "constant": torch.full((2, 3), 0.7),
    "one element": torch.tensor([[-0.3]]),
    "one channel zero": torch.tensor([[0.0, 0.0], [1.0, -2.0]]),
    "denormal": torch.tensor([[1e-40, -2e-40, 0.0]]),
    "tiny": torch.tensor([[1e-30, -2e-30, 5e-31]]),
    "huge": torch.tensor([[1e38, -1e38, 3e37]]),
    "wider than float32": torch.tensor([[2e38, -2e38, 3e37]]),
    "outlier": torch.tensor([[1000.0, 0.001, -0.001, 0.002]]),
}


@EVERY
def test_integers_are_in_range_and_typed(bits, granularity):
    tensor = quantized(normal(), bits, granularity)
    assert (tensor.integers.dtype, tensor.scale.dtype, tensor.zero_point.dtype) == (np.uint8, np.float32, np.uint8)
    assert tensor.integers.shape == (6, 50)
    assert tensor.scale.shape == tensor.zero_point.shape == ((1,) if granularity == "tensor" else (6,))
    assert tensor.integers.max() <= 2**bits - 1
    assert tensor.zero_point.max() <= 2**bits - 1
    assert (tensor.scale > 0).all()
    assert tensor.bits == bits


@EVERY
def test_every_level_of_the_grid_is_used(bits, granularity):
    """A width of b bits is worth its bytes only if both ends of the range are reached."""
    tensor = quantized(normal(columns=4000), bits, granularity)
    assert set(np.unique(tensor.integers)) >= {0, 2**bits - 1}


@EVERY
def test_training_sees_the_values_that_ship(bits, granularity):
    weight = normal()
    seen = fake_quantize(weight, bits, Quantize(bits=bits, granularity=granularity))
    np.testing.assert_allclose(seen, quantized(weight, bits, granularity).dequantize(), rtol=0, atol=1e-6)


@EVERY
@pytest.mark.parametrize("name", PECULIAR)
def test_peculiar_weights(name, bits, granularity):
    weight = PECULIAR[name]
    tensor = quantized(weight, bits, granularity)
    restored, steps = tensor.dequantize(), 2**bits - 1
    assert np.isfinite(restored).all()
    assert tensor.integers.max() <= steps
    assert tensor.zero_point.max() <= steps
    along_rows = tensor.scale.reshape(-1, 1).astype(np.float64)
    assert (np.abs(restored - weight.numpy().astype(np.float64)) <= along_rows * (1 + 1e-5)).all()
    np.testing.assert_array_equal(restored[weight.numpy() == 0], 0)


@EVERY
def test_zero_is_exactly_zero(bits, granularity):
    """Padding and pruned weights must not drift: the grid contains 0."""
    weight = normal() + 0.5
    weight[:, ::7] = 0
    assert (quantized(weight, bits, granularity).dequantize()[:, ::7] == 0).all()


@EVERY
def test_the_range_of_random_weights_costs_at_most_half_a_step_inside(bits, granularity):
    """Rounding costs half a scale step; the nudge of r_min costs the two ends up to half a step more."""
    weight = normal(columns=2000).numpy()
    tensor = quantized(torch.from_numpy(weight), bits, granularity)
    error = np.abs(tensor.dequantize() - weight) / tensor.scale.reshape(-1, 1)
    assert error.max() <= 1.001
    inside = (tensor.integers > 0) & (tensor.integers < 2**bits - 1)
    assert error[inside].max() <= 0.501


def paper_quantizer(weight: np.ndarray, bits: int) -> np.ndarray:
    """Drif & Berrabah 2025, eq. 5-6 to the letter, with float64 and without a whole zero_point."""
    r_min, r_max = weight.min(), weight.max()
    s = (r_max - r_min) / (2**bits - 1)
    return np.clip(np.round((weight - r_min) / s), 0, 2**bits - 1) * s + r_min


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_papers_equations_differ_by_less_than_one_step(bits):
    weight = normal(columns=500)
    tensor = quantized(weight, bits, "tensor")
    difference = np.abs(tensor.dequantize() - paper_quantizer(weight.numpy().astype(np.float64), bits))
    assert difference.max() < tensor.scale[0] * (1 + 1e-4)
    assert difference.max() > 0  # the nudge is there


def test_the_papers_equations_exactly_where_r_min_is_a_multiple_of_the_step():
    weight = torch.tensor([[-0.6, -0.31, 0.0, 0.17, 0.9]])  # 4 bits: s = 0.1, z = 6
    np.testing.assert_allclose(
        quantized(weight, 4).dequantize(), paper_quantizer(weight.numpy().astype(np.float64), 4), atol=1e-7
    )
    assert quantized(weight, 4).zero_point.tolist() == [6]


def test_a_channel_of_zeros_has_a_scale_of_one():
    assert quantized(PECULIAR["one channel zero"], 4).scale.tolist() == [1.0, pytest.approx(0.2)]


def test_channels_are_independent():
    weight = normal()
    alone = quantized(weight[2:3], 4)
    together = quantized(weight, 4)
    np.testing.assert_array_equal(together.integers[2:3], alone.integers)
    assert together.scale[2] == alone.scale[0]


def test_quantizing_twice_changes_nothing():
    once = quantized(normal(), 4)
    twice = quantized(torch.from_numpy(once.dequantize()), 4)
    np.testing.assert_allclose(twice.dequantize(), once.dequantize(), atol=1e-6)


def test_convolutions_have_a_scale_for_each_output_channel():
    network = build("lenet", 10, (1, 28, 28))
    tensor = quantize_weights(network, Quantize(bits=3))["conv2.weight"]
    assert tensor.integers.shape == (16, 6, 5, 5)
    assert tensor.scale.shape == (16,)
    np.testing.assert_allclose(
        tensor.dequantize()[3], (tensor.integers[3].astype(np.float32) - tensor.zero_point[3]) * tensor.scale[3]
    )


# --- gradients ---


@EVERY
def test_the_gradient_passes_straight_through(bits, granularity):
    weight = normal().requires_grad_()
    (fake_quantize(weight, bits, Quantize(bits=bits, granularity=granularity)) * normal(seed=1)).sum().backward()
    torch.testing.assert_close(weight.grad, normal(seed=1))


# --- which weights ---


class Unusual(nn.Module):
    """One weight used by two layers, attention, a normalization, an embedding."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.again = nn.Linear(8, 8)
        self.again.weight = self.first.weight
        self.attention = nn.MultiheadAttention(8, 2)
        self.norm = nn.LayerNorm(8)
        self.conv = nn.Conv1d(8, 4, 1)


def test_shared_weights_are_listed_once_and_normalizations_not_at_all():
    assert widths(Unusual(), Quantize(bits=4)) == {
        "first.weight": 4,
        "attention.in_proj_weight": 4,
        "attention.out_proj.weight": 4,
        "conv.weight": 4,
    }


def test_rules_choose_by_layer_name():
    network = build("lenet", 10, (1, 28, 28))
    found = widths(network, Quantize(bits="conv1=8,fc3=32,fc*=2,*=4"))
    assert found == {"conv1.weight": 8, "conv2.weight": 4, "fc1.weight": 2, "fc2.weight": 2}


def test_full_width_quantizes_nothing():
    network = build("lenet", 10, (1, 28, 28))
    assert quantize_weights(network, Quantize()) == {}
    assert simulation_of(network, Quantize()).weights() == {}


def test_loading_the_integers_puts_their_values_in_place():
    network = build("mlp", 4, (5,), widths=[8])
    expected = simulation_of(network, Quantize(bits=2)).weights()
    bias = network.layers[0].bias.clone()
    load_quantized(network, quantize_weights(network, Quantize(bits=2)))
    for name, weight in network.named_parameters():
        if name in expected:
            torch.testing.assert_close(weight.data, expected[name].data, rtol=0, atol=1e-6)
            assert all(len(row.unique()) <= 4 for row in weight)
    assert torch.equal(network.layers[0].bias, bias)


def test_dequantize_is_the_formula_along_axis_0():
    integers = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    tensor = QuantizedTensor(integers, np.array([0.5, 2], np.float32), np.array([1, 3], np.uint8), 3)
    assert tensor.dequantize().tolist() == [[[-0.5, 0.0], [0.5, 1.0]], [[2.0, 4.0], [6.0, 8.0]]]


def test_an_unknown_quantizer_names_the_known():
    with pytest.raises(UserError, match="unknown quantizer 'famous': known are minmax"):
        grid_of(normal(), 4, Quantize(bits=4, quantizer="famous"))


# --- first and last layer, blocks ---


def test_the_first_and_the_last_layer_may_have_a_width_of_their_own():
    network = build("lenet", 10, (1, 28, 28))
    found = widths(network, Quantize(bits=2, first_last=8))
    assert found == {"conv1.weight": 8, "conv2.weight": 2, "fc1.weight": 2, "fc2.weight": 2, "fc3.weight": 8}
    found = widths(network, Quantize(bits="conv1=32,*=4", first_last=8))
    assert found == {"conv2.weight": 8, "fc1.weight": 4, "fc2.weight": 4, "fc3.weight": 8}, "of those to quantize"
    assert set(widths(network, Quantize(bits=4, first_last=32))) == {"conv2.weight", "fc1.weight", "fc2.weight"}


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("columns", [16, 50, 7])
def test_each_block_has_the_grid_of_its_own_weights(bits, columns):
    weight = normal(rows=3, columns=columns)
    tensor = quantized(weight, bits, "block:16")
    blocks = -(-columns // 16)
    assert (tensor.block, tensor.scale.shape, tensor.zero_point.shape) == (16, (3, blocks), (3, blocks))
    for start in range(0, columns, 16):
        alone = quantized(weight[:, start : start + 16], bits)
        np.testing.assert_array_equal(tensor.integers[:, start : start + 16], alone.integers)
        np.testing.assert_array_equal(tensor.scale[:, start // 16], alone.scale)
        np.testing.assert_array_equal(tensor.dequantize()[:, start : start + 16], alone.dequantize())


def test_blocks_of_a_convolution_run_through_channels_and_kernel():
    network = build("lenet", 10, (1, 28, 28))
    weight = network.conv2.weight.detach()
    tensor = quantize_weights(network, Quantize(bits=4, granularity="block:64"))["conv2.weight"]
    assert tensor.scale.shape == (16, 3)  # of 6 x 5 x 5 = 150 weights
    flat = quantized(weight.flatten(1), 4, "block:64")
    np.testing.assert_array_equal(tensor.integers.reshape(16, -1), flat.integers)
    np.testing.assert_array_equal(tensor.dequantize().reshape(16, -1), flat.dequantize())


def test_fake_weights_of_blocks_are_what_the_integers_stand_for():
    weight = normal(columns=50)
    fake = fake_quantize(weight, 3, Quantize(bits=3, granularity="block:16"))
    np.testing.assert_allclose(fake, quantized(weight, 3, "block:16").dequantize(), atol=1e-6)


def test_smaller_blocks_follow_the_weights_more_closely():
    weight = normal(rows=8, columns=512) * torch.linspace(0.1, 2, 512)
    errors = [
        np.abs(quantized(weight, 4, granularity).dequantize() - weight.numpy()).mean()
        for granularity in ("tensor", "channel", "block:128", "block:16")
    ]
    assert errors == sorted(errors, reverse=True)


def test_rules_for_layers_that_a_network_lacks_are_refused():
    network = nn.ModuleDict({"first": nn.Linear(4, 4), "attention": nn.MultiheadAttention(4, 2)})
    for bits in (4, "first=8,*=4", "attention=8", "f*=2", "attention.out_proj=4"):
        refuse_unmatched(network, Quantize(bits=bits))
    with pytest.raises(UserError, match=r"second matches no layer: the model's are first, attention"):
        refuse_unmatched(network, Quantize(bits="first=8,second=4,*=2"))
    refuse_unmatched(network, Quantize(bits=4, last_k=3))
    with pytest.raises(UserError, match="--last-k 4: the model has 3 layers"):
        refuse_unmatched(network, Quantize(bits=4, last_k=4))
