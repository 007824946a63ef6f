"""Each quantizer against its paper's formulas, written down again with numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgepriv.errors import UserError
from edgepriv.recipe import Quantize
from edgepriv.training import quantize_weights
from edgepriv.training.quantization import fake_quantize
from edgepriv.training.quantizers import QUANTIZERS, refuse_unfit
from edgepriv.training.simulation import round_activations, simulation_of

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 40))
SEEDS = st.integers(0, 2**20)
GRANULARITIES = ("tensor", "channel", "block:16")


def normal(shape=(6, 50), seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer_of(weight):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.clone())
    return layer


def shipped(weight, quantizer, bits, granularity="tensor"):
    return quantize_weights(layer_of(weight), Quantize(bits=bits, quantizer=quantizer, granularity=granularity))[
        "weight"
    ]


def famili_of_the_paper(weight, bits, nbins):
    """Famili & Lao 2023, Algorithm 1 with eq. 3: s = (r1 - r0) / 2^b, z = 2."""
    s = (weight.max() - weight.min()) / 2**bits
    return s * (np.clip(np.round(weight / s) + 2, 0, nbins) - 2), s


def dorefa_of_the_paper(weight, bits):
    """Zhou et al. 2016, eq. 9."""
    limited = np.tanh(weight) / (2 * np.abs(np.tanh(weight)).max()) + 0.5
    return 2 * np.round((2**bits - 1) * limited) / (2**bits - 1) - 1


@settings(max_examples=60, deadline=None)
@given(SHAPES.filter(lambda shape: shape[0] * shape[1] > 1), st.integers(2, 15), SEEDS)
def test_famili_is_the_papers_algorithm(shape, bits, seed):
    weight = normal(shape, seed)
    exact = weight.numpy().astype(np.float64)
    for quantizer, nbins in (("famili", 2**bits - 1), ("famili-printed", 2**bits + 1)):
        tensor = shipped(weight, quantizer, bits)
        expected, step = famili_of_the_paper(exact, bits, nbins)
        # A weight half-way between two levels may round either way in float32.
        halfway = np.abs(np.abs(exact / step % 1) - 0.5) < 1e-6 * 2**bits
        np.testing.assert_allclose(tensor.dequantize()[~halfway], expected[~halfway], atol=1e-5)
        assert tensor.integers.max() <= nbins


def test_famili_forgets_what_lies_below_two_steps():
    tensor = shipped(torch.tensor([[-0.8, -0.5, 0.0, 0.31, 0.8]]), "famili", 4)  # s = 0.1
    np.testing.assert_allclose(tensor.dequantize(), [[-0.2, -0.2, 0.0, 0.3, 0.8]], atol=1e-6)


@pytest.mark.parametrize(("bits", "stored"), [(4, 5), (8, 9), (15, 16)])
def test_the_algorithm_as_printed_needs_one_more_bit(bits, stored):
    weight = torch.cat([torch.full((1, 1), -1e-6), torch.ones(1, 9)], dim=1)
    tensor = shipped(weight, "famili-printed", bits)
    assert tensor.bits == stored
    assert tensor.integers.max() == 2**bits + 1
    assert tensor.integers.dtype == (np.uint8 if stored <= 8 else np.uint16)


def test_sixteen_bits_of_the_printed_algorithm_are_refused():
    with pytest.raises(UserError, match="ask for 15 bits at most"):
        refuse_unfit(Quantize(bits="a=16,*=4", quantizer="famili-printed"))
    refuse_unfit(Quantize(bits=32, quantizer="famili-printed"))


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers(2, 16), SEEDS, st.sampled_from(GRANULARITIES))
def test_dorefa_is_within_a_step_of_the_paper_with_every_granularity(shape, bits, seed, granularity):
    weight = normal(shape, seed)
    tensor = shipped(weight, "dorefa", bits, granularity)
    step = 2 / (2**bits - 1)
    difference = np.abs(tensor.dequantize() - dorefa_of_the_paper(weight.numpy().astype(np.float64), bits))
    assert difference.max() <= step * (1 + 1e-3)
    np.testing.assert_allclose(tensor.scale, step, rtol=1e-6)
    assert (tensor.zero_point == 2 ** (bits - 1)).all()


def test_the_levels_of_dorefa_are_whole_steps_so_that_zero_is_one_of_them():
    weight = torch.linspace(-3, 3, 1001)[None]
    found = np.unique(shipped(weight, "dorefa", 3).dequantize()[:, 1:])
    np.testing.assert_allclose(found, np.arange(-3, 4) * 2 / 7, atol=1e-6)


def test_the_gradient_of_dorefa_is_that_of_the_limiting_tanh():
    weight = normal().requires_grad_()
    (fake_quantize(weight, 4, Quantize(bits=4, quantizer="dorefa")) * normal(seed=1)).sum().backward()
    plain = normal().requires_grad_()
    ((plain.tanh() / plain.tanh().abs().max()) * normal(seed=1)).sum().backward()
    torch.testing.assert_close(weight.grad, plain.grad)


@pytest.mark.parametrize("quantizer", ["famili", "famili-printed"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_the_gradient_of_famili_passes_straight_through(quantizer, granularity):
    weight = normal().requires_grad_()
    rule = Quantize(bits=3, quantizer=quantizer, granularity=granularity)
    (fake_quantize(weight, 3, rule) * normal(seed=1)).sum().backward()
    torch.testing.assert_close(weight.grad, normal(seed=1))


PECULIAR = {
    "zero": torch.zeros(2, 3),
    "constant": torch.full((2, 3), 0.7),
    "negative constant": torch.full((2, 3), -0.7),
    "one element": torch.tensor([[-0.3]]),
    "one channel zero": torch.tensor([[0.0, 0.0], [1.0, -2.0]]),
    "denormal": torch.tensor([[1e-40, -2e-40, 0.0]]),
    "wider than float32": torch.tensor([[2e38, -2e38, 3e37]]),
    "ragged blocks": torch.randn(2, 17, generator=torch.Generator().manual_seed(0)) + 5,
}


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("name", PECULIAR)
def test_peculiar_weights_stay_finite_in_range_and_train_as_they_ship(name, quantizer, granularity):
    if QUANTIZERS[quantizer].learned and granularity == "block:16":
        pytest.skip("refused")
    for bits in (2, 4, 8, 15):
        rule = Quantize(bits=bits, quantizer=quantizer, granularity=granularity)
        weight = PECULIAR[name].clone().requires_grad_()
        tensor = shipped(weight.detach(), quantizer, bits, granularity)
        seen = fake_quantize(weight, bits, rule)
        seen.sum().backward()
        assert np.isfinite(tensor.dequantize()).all()
        assert torch.isfinite(weight.grad).all()
        assert tensor.integers.max() <= QUANTIZERS[quantizer].top(bits) < 2**tensor.bits
        largest = max(1.0, float(np.abs(tensor.dequantize()).max()))
        np.testing.assert_allclose(seen.detach() / largest, tensor.dequantize() / largest, atol=1e-6)
        if not weight.any():
            assert not tensor.dequantize().any()


def test_famili_gives_equal_weights_exactly():
    for name in ("constant", "negative constant", "one element"):
        np.testing.assert_array_equal(shipped(PECULIAR[name], "famili", 4).dequantize(), PECULIAR[name].numpy())


def test_an_unknown_quantizer_is_refused_with_the_known():
    with pytest.raises(
        UserError, match=r"unknown quantizer 'nope': known are minmax, famili, famili-printed, dorefa, lsq"
    ):
        refuse_unfit(Quantize(quantizer="nope"))


# --- activations in training ---


def test_activations_have_as_many_levels_as_the_weights():
    x = torch.rand(1000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = round_activations(x, 2)
    np.testing.assert_allclose(found.unique().detach(), np.arange(4) * x.max().item() / 3, atol=1e-6)
    found.sum().backward()
    assert (x.grad == 1).all()
    assert round_activations(torch.zeros(5), 4).tolist() == [0.0] * 5
    assert round_activations(torch.tensor([-1.0, 2.0]), 4).tolist() == [-1.0, 2.0]


def test_only_dorefa_rounds_activations_and_only_behind_the_first_layer():
    network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3))
    seen = {}
    for position in (0, 2, 4):
        network[position].register_forward_hook(lambda module, x, y, p=position: seen.__setitem__(p, x[0]))
    x = torch.rand(64, 5, generator=torch.Generator().manual_seed(0))

    def levels(quantizer):
        with simulation_of(network, Quantize(bits=2, quantizer=quantizer)).activations():
            network(x)
        return {position: len(value.unique()) for position, value in seen.items()}

    simulated = levels("dorefa")
    assert simulated[0] == x.numel()
    assert max(simulated[2], simulated[4]) <= 4
    assert min(levels("minmax").values()) > 4
    network(x)
    assert len(seen[4].unique()) > 4, "the hooks are gone"
