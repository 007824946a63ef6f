"""Integers into a graph and, through onnxruntime itself, back."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graphs import model, node, quantized, run
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepriv.artifact import profiles
from edgepriv.artifact.export import prove_kernels
from edgepriv.artifact.pack import FIELDS
from edgepriv.artifact.packed import block_for
from edgepriv.artifact.session import histogram, optimized_graph
from edgepriv.errors import UserError
from edgepriv.recipe import Export


def lowered(nodes, weights, constants=None, **options):
    """A graph over float weights named as in ``weights``, after lowering."""
    floats = {name: tensor.dequantize() for name, tensor in weights.items()}
    graph = ir.from_proto(model(nodes, floats | (constants or {}), **options))
    report = profiles.lower_for_latency(graph.graph, weights, Export())
    return ir.to_proto(graph), report


def stored(proto, name):
    """Bytes of the integers of a weight."""
    return sum(
        len(tensor.raw_data)
        for tensor in proto.graph.initializer
        if tensor.name.partition(":")[0] == name and not tensor.name.endswith((":scale", ":zero_point"))
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 8),
    st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    st.sampled_from(["tensor", "channel"]),
    st.integers(0, 999),
)
def test_onnxruntime_restores_every_width_and_shape_bit_by_bit(bits, shape, granularity, seed):
    weight = quantized(shape, bits, granularity=granularity, seed=seed)
    proto, _ = lowered([node("Mul", "x w")], {"w": weight}, inputs={"x": [1]})
    np.testing.assert_array_equal(run(proto, np.ones(1, np.float32)), weight.dequantize())
    count = int(np.prod(shape))
    assert stored(proto, "w") == sum(-(-count * width // 8) for width in FIELDS[bits])


@pytest.mark.parametrize("bits", range(2, 9))
def test_unpacking_is_gone_when_the_session_is_open(bits):
    proto, _ = lowered([node("Conv", "x w")], {"w": quantized((5, 3, 3, 3), bits)}, inputs={"x": ["N", 3, 8, 8]})
    executed = histogram(optimized_graph(proto.SerializeToString()))
    assert set(executed) <= {"Conv", "ReorderInput", "ReorderOutput"}


def test_channels_that_agree_share_one_scale_and_zero_point():
    weight = quantized((64, 9), 4, granularity="tensor")
    proto, _ = lowered([node("Gemm", "x w", transB=1)], {"w": weight}, inputs={"x": ["N", 9]})
    sizes = {tensor.name: list(tensor.dims) for tensor in proto.graph.initializer}
    assert sizes["w:scale"] == [1, 1]
    assert "w:zero_point" not in sizes


@pytest.fixture
def everything_packed(monkeypatch):
    monkeypatch.setattr(profiles, "PACKED_LINEAR_FROM", 1)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("columns", [1, 15, 16, 33, 256, 300, 515])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_packed_linear_computes_what_the_float_one_does(everything_packed, bits, columns, granularity):
    weight = quantized((7, columns), bits, granularity=granularity, seed=columns)
    bias = np.arange(7, dtype=np.float32)
    proto, report = lowered([node("Gemm", "x w b", transB=1)], {"w": weight}, {"b": bias}, inputs={"x": ["N", columns]})
    x = np.random.default_rng(0).standard_normal((3, columns), dtype=np.float32)
    np.testing.assert_allclose(run(proto, x), x @ weight.dequantize().T + bias, atol=1e-4)
    assert report.packed_linears == 1
    assert histogram(optimized_graph(proto.SerializeToString())) == {"MatMulNBits": 1}
    # Rows of whole bytes: at most half a byte of each row is lost, and no block padding is stored.
    assert stored(proto, "w") <= sum(-(-7 * (columns + 1) * width // 8) for width in FIELDS[bits])


def test_zero_point_eight_is_the_kernels_own(everything_packed):
    weight = quantized((7, 32), 4, zero_point=8)
    proto, _ = lowered([node("Gemm", "x w", transB=1)], {"w": weight}, inputs={"x": ["N", 32]})
    assert not any(tensor.name.endswith("zero_point") for tensor in proto.graph.initializer)
    x = np.eye(32, dtype=np.float32)
    np.testing.assert_allclose(run(proto, x), weight.dequantize().T, atol=1e-6)


@pytest.mark.parametrize("bias_first", [False, True])
def test_matmul_with_its_bias_on_three_axes_is_one_packed_linear(everything_packed, bias_first):
    weight, bias = quantized((6, 20), 4), np.arange(6, dtype=np.float32)
    nodes = [
        node("Transpose", "w", "t", perm=[1, 0]),
        node("MatMul", "x t", "m"),
        node("Add", "b m" if bias_first else "m b", "y"),
    ]
    proto, report = lowered(nodes, {"w": weight}, {"b": bias}, inputs={"x": ["N", 3, 20]})
    assert report.packed_linears == 1
    assert "MatMul" not in histogram(proto)
    x = np.random.default_rng(0).random((2, 3, 20), dtype=np.float32)
    np.testing.assert_allclose(run(proto, x), x @ weight.dequantize().T + bias, atol=1e-5)


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([node("Gemm", "x w", transB=0)], id="not transposed"),
        pytest.param([node("Gemm", "x w", transB=1, alpha=2.0)], id="scaled"),
        pytest.param([node("Mul", "x w")], id="not a product"),
        pytest.param([node("Gemm", "x w", "a", transB=1), node("Mul", "a w")], id="two uses"),
    ],
)
def test_what_is_not_a_plain_linear_is_restored(everything_packed, nodes):
    weight = quantized((6, 6), 4)
    proto, report = lowered(nodes, {"w": weight}, inputs={"x": [6, 6]})
    assert report.packed_linears == 0
    x = np.random.default_rng(0).random((6, 6), dtype=np.float32)
    expected = run(model(nodes, {"w": weight.dequantize()}, inputs={"x": [6, 6]}), x)
    np.testing.assert_allclose(run(proto, x), expected, rtol=1e-6)


def test_a_shared_weight_is_stored_once(everything_packed):
    weight = quantized((8, 8), 4)
    nodes = [node("Gemm", "x w", "h", transB=1), node("Relu", "h", "r"), node("Gemm", "r w b", "y", transB=1)]
    proto, report = lowered(nodes, {"w": weight}, {"b": np.ones(8, np.float32)}, inputs={"x": ["N", 8]})
    assert report.packed_linears == 2
    assert stored(proto, "w") == 32
    w = weight.dequantize()
    x = np.random.default_rng(0).random((2, 8), dtype=np.float32)
    np.testing.assert_allclose(run(proto, x), np.maximum(x @ w.T, 0) @ w.T + 1, atol=1e-5)


def test_every_layer_of_a_network_that_begins_with_a_packed_linear(monkeypatch):
    monkeypatch.setattr(profiles, "PACKED_LINEAR_FROM", 300)
    weights = {"w": quantized((20, 300), 4), "v": quantized((6, 20), 3), "u": quantized((3, 6), 4, zero_point=8)}
    nodes = [node("Gemm", "x w", "a", transB=1), node("Gemm", "a v", "b", transB=1), node("Gemm", "b u", transB=1)]
    proto, report = lowered(nodes, weights, inputs={"x": ["N", 300]})
    assert report.packed_linears == 1
    x = np.random.default_rng(0).random((2, 300), dtype=np.float32)
    w, v, u = (tensor.dequantize() for tensor in weights.values())
    np.testing.assert_allclose(run(proto, x), x @ w.T @ v.T @ u.T, rtol=1e-4, atol=1e-4)


def test_small_linears_are_restored_and_large_ones_stay_packed():
    large = quantized((2048, 1536), 4)
    _, report = lowered([node("Gemm", "x w", transB=1)], {"w": large}, inputs={"x": ["N", 1536]})
    assert large.integers.size == profiles.PACKED_LINEAR_FROM
    assert report.packed_linears == 1
    for weight in (quantized((2048, 1535), 4), quantized((2048, 1536), 5)):
        _, report = lowered(
            [node("Gemm", "x w", transB=1)], {"w": weight}, inputs={"x": ["N", weight.integers.shape[1]]}
        )
        assert report.packed_linears == 0


def test_a_weight_that_no_operator_reads_is_named_with_the_reason():
    weights = {"w": quantized((6, 4), 4), "auxiliary.weight": quantized((3, 3), 4)}
    _, report = lowered([node("Gemm", "x w", transB=1)], weights)
    assert report.left_float == {"auxiliary.weight": "no operator of the exported graph reads it"}


@pytest.mark.parametrize(
    ("columns", "block"), [(1, 16), (16, 16), (100, 128), (255, 256), (256, 256), (576, 64), (9000, 256)]
)
def test_blocks_take_the_least_memory(columns, block):
    assert block_for(columns) == block


def test_unknown_profiles_name_the_known_ones():
    with pytest.raises(UserError, match="known are latency"):
        profiles.profile("fast")


def test_kernel_proof_sees_weights_unpacked_at_inference():
    # DequantizeLinear before Conv runs at every inference unless a session option says otherwise.
    nodes = [node("DequantizeLinear", "q s", "w", axis=0), node("Conv", "x w")]
    constants = {"q": np.ones((4, 3, 3, 3), np.int8), "s": np.ones(4, np.float32)}
    graph = model(nodes, constants, inputs={"x": ["N", 3, 8, 8]})
    with pytest.raises(UserError, match="DequantizeLinear"):
        prove_kernels(optimized_graph(graph.SerializeToString()), 0)


def test_kernel_proof_counts_the_packed_linears():
    with pytest.raises(UserError, match="1 layers were packed, but onnxruntime runs 0"):
        prove_kernels(onnx.ModelProto(), 1)
