"""Batch norms into the layer before them."""

import numpy as np
import onnx_ir as ir
import pytest
from graphs import model, node, quantized, run
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepriv.artifact.fold import drop_zero_biases, fold_batch_norms, scale_channels
from edgepriv.artifact.profiles import lower_for_latency
from edgepriv.recipe import Export

NORM = ("gamma", "beta", "mean", "variance")


def norm_constants(channels, seed=0):
    rng = np.random.default_rng(seed)
    gamma, beta, mean = rng.standard_normal((3, channels)).astype(np.float32)
    gamma[0] = -abs(gamma[0])
    return dict(zip(NORM, (gamma, beta, mean, rng.uniform(0.1, 2, channels).astype(np.float32)), strict=True))


def after_norm(layer_nodes, inputs):
    return [*layer_nodes, node("BatchNormalization", "h gamma beta mean variance", epsilon=1e-3)]


LAYERS = {
    "conv": (node("Conv", "x w", "h", pads=[1, 1, 1, 1]), (6, 3, 3, 3), ["N", 3, 5, 5]),
    "conv with bias": (node("Conv", "x w b", "h"), (6, 3, 3, 3), ["N", 3, 5, 5]),
    "depthwise": (node("Conv", "x w", "h", group=6), (6, 1, 3, 3), ["N", 6, 5, 5]),
    "grouped": (node("Conv", "x w b", "h", group=2), (6, 2, 3, 3), ["N", 4, 5, 5]),
    "one axis": (node("Conv", "x w", "h"), (6, 3, 3), ["N", 3, 5]),
    "linear": (node("Gemm", "x w b", "h", transB=1), (6, 5), ["N", 5]),
    "linear without bias": (node("Gemm", "x w", "h", transB=1), (6, 5), ["N", 5]),
}


@pytest.mark.parametrize("bits", [None, 3, 4, 8])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("kind", LAYERS)
def test_folded_graph_computes_the_same_without_the_norm(kind, bits, granularity):
    layer, shape, input_shape = LAYERS[kind]
    weight = quantized(shape, bits or 8, granularity=granularity)
    constants = {"w": weight.dequantize(), "b": np.linspace(-1, 1, 6, dtype=np.float32), **norm_constants(6)}
    original = model(after_norm([layer], input_shape), constants, inputs={"x": input_shape})
    folded = ir.from_proto(original)
    weights = fold_batch_norms(folded.graph, {"w": weight} if bits else {})
    lower_for_latency(folded.graph, weights, Export())
    assert "BatchNormalization" not in {each.op_type for each in folded.graph}
    assert not set(NORM) & set(folded.graph.initializers)
    x = np.random.default_rng(1).random((2, *input_shape[1:]), dtype=np.float32)
    expected = run(original, x)
    np.testing.assert_allclose(run(folded, x), expected, atol=1e-5 * np.abs(expected).max())


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(0, 999))
def test_negative_factors_flip_the_integers_and_change_nothing_else(bits, seed):
    weight = quantized((5, 4), bits, seed=seed)
    factor = np.random.default_rng(seed).standard_normal(5)
    scaled = scale_channels(weight, factor)
    np.testing.assert_allclose(scaled.dequantize(), weight.dequantize() * factor[:, None], rtol=1e-6, atol=1e-12)
    assert (scaled.scale > 0).all()
    top = 2**bits - 1
    for row, sign in enumerate(factor):
        np.testing.assert_array_equal(
            scaled.integers[row], top - weight.integers[row] if sign < 0 else weight.integers[row]
        )


def test_a_channel_switched_off_gives_its_shift():
    weight = quantized((4, 3, 1, 1), 4)
    constants = {"w": weight.dequantize(), **norm_constants(4)}
    constants["gamma"] = np.zeros(4, np.float32)
    folded = ir.from_proto(model(after_norm([node("Conv", "x w", "h")], None), constants, inputs={"x": ["N", 3, 2, 2]}))
    lower_for_latency(folded.graph, fold_batch_norms(folded.graph, {"w": weight}), Export())
    result = run(folded, np.ones((1, 3, 2, 2), np.float32))
    np.testing.assert_allclose(result[0, :, 0, 0], constants["beta"], rtol=1e-6)


STAYS = {
    "before the layer": [node("BatchNormalization", "x gamma beta mean variance", "h"), node("Conv", "h w")],
    "output used twice": [
        node("Conv", "x w", "h"),
        node("BatchNormalization", "h gamma beta mean variance", "n"),
        node("Add", "h n"),
    ],
    "weight used twice": [
        node("Conv", "x w", "g"),
        node("Conv", "g w", "h"),
        node("BatchNormalization", "h gamma beta mean variance"),
    ],
    "behind an activation": [
        node("Conv", "x w", "g"),
        node("Relu", "g", "h"),
        node("BatchNormalization", "h gamma beta mean variance"),
    ],
}


@pytest.mark.parametrize("kind", STAYS)
def test_norms_that_cannot_be_folded_stay(kind):
    constants = {"w": quantized((3, 3, 1, 1), 4).dequantize(), **norm_constants(3)}
    original = model(STAYS[kind], constants, inputs={"x": ["N", 3, 4, 4]})
    kept = ir.from_proto(original)
    fold_batch_norms(kept.graph, {})
    assert [each.op_type for each in kept.graph].count("BatchNormalization") == 1
    x = np.random.default_rng(0).random((2, 3, 4, 4), dtype=np.float32)
    np.testing.assert_array_equal(run(kept, x), run(original, x))


def test_biases_of_zeros_are_dropped_and_others_kept():
    weights = {"w": np.ones((2, 2, 1, 1), np.float32), "v": np.ones((2, 2, 1, 1), np.float32)}
    nodes = [node("Conv", "x w zeros", "h"), node("Conv", "h v ones")]
    constants = weights | {"zeros": np.zeros(2, np.float32), "ones": np.ones(2, np.float32)}
    graph = ir.from_proto(model(nodes, constants, inputs={"x": ["N", 2, 2, 2]})).graph
    drop_zero_biases(graph)
    assert [len(each.inputs) for each in graph] == [2, 3]
    assert set(graph.initializers) == {"w", "v", "ones"}
