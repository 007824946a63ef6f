"""Weights that stay packed while they are used compute what the restored ones do."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from graphs import model, node, quantized, run
from nets import MIXED, NETS, classifier_of, inputs_of, traced, weights_of
from test_twin import twin_of

from edgepriv.artifact import memory, profiles
from edgepriv.artifact.build import build_graph
from edgepriv.artifact.export import prove_kernels
from edgepriv.artifact.layers import layers
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.session import histogram, open_session, optimized_graph, predict
from edgepriv.errors import UserError
from edgepriv.models import build_classifier
from edgepriv.recipe import Export, Model, Quantize
from edgepriv.training import quantize_weights

MEMORY = Export(profile="memory")


@pytest.fixture
def everything_packed(monkeypatch):
    monkeypatch.setattr(memory, "PACKED_FROM", 1)
    monkeypatch.setattr(memory, "WINDOWS_PER_WEIGHT", 10**6)


def lowered(nodes, weights, constants=None, settings=MEMORY, **options):
    """A graph over float weights before and after lowering, and the report."""
    floats = {name: tensor.dequantize() for name, tensor in weights.items()}
    original = model(nodes, floats | (constants or {}), **options)
    graph = ir.from_proto(original)
    report = memory.lower_for_memory(graph.graph, weights, settings)
    return original, ir.to_proto(graph), report


def executed(proto):
    return histogram(optimized_graph(proto.SerializeToString()))


def in_blocks(shape, bits, block):
    tensor = quantized(shape, bits)
    blocks = -(-tensor.integers[0].size // block)
    rng = np.random.default_rng(1)
    scale = rng.uniform(0.01, 0.1, (shape[0], blocks)).astype(np.float32)
    zero_point = rng.integers(0, 2**bits, (shape[0], blocks)).astype(np.uint8)
    return replace(tensor, scale=scale, zero_point=zero_point, block=block)


CONVOLUTIONS = {
    "3x3": ((6, 4, 3, 3), (7, 8), {"pads": [1, 1, 1, 1]}),
    "1x1": ((6, 4, 1, 1), (5, 5), {}),
    "1x1 strided": ((6, 4, 1, 1), (5, 5), {"strides": [2, 2]}),
    "strided, no padding": ((6, 4, 3, 3), (9, 7), {"strides": [2, 1]}),
    "dilated": ((6, 4, 3, 3), (9, 9), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "uneven padding": ((6, 4, 2, 3), (6, 5), {"pads": [1, 0, 0, 2], "strides": [2, 2]}),
    "odd channels": ((5, 3, 3, 3), (6, 6), {"pads": [1, 1, 1, 1]}),
    "one position": ((6, 4, 3, 3), (1, 1), {"pads": [1, 1, 1, 1]}),
    "two rows": ((6, 4, 3, 3), (2, 1), {"pads": [1, 1, 1, 1]}),
    "one position, odd channels": ((6, 3, 3, 3), (1, 1), {"pads": [1, 1, 1, 1]}),
    "one axis": ((6, 4, 5), (20,), {"pads": [2, 2], "strides": [2]}),
    "three axes": ((6, 2, 3, 3, 3), (4, 4, 4), {"pads": [1, 1, 1, 1, 1, 1]}),
    "many positions": ((4, 2, 3, 3), (20, 20), {"pads": [1, 1, 1, 1]}),
}


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_convolution_as_packed_matrix_product(everything_packed, geometry, bits):
    shape, sizes, attributes = CONVOLUTIONS[geometry]
    bias = np.arange(shape[0], dtype=np.float32)
    for weight in (quantized(shape, bits), quantized(shape, bits, granularity="tensor"), in_blocks(shape, bits, 16)):
        original, packed, report = lowered(
            [node("Conv", "x w b", **attributes)], {"w": weight}, {"b": bias}, inputs={"x": ["N", shape[1], *sizes]}
        )
        x = np.random.default_rng(0).standard_normal((3, shape[1], *sizes), dtype=np.float32)
        for n in (1, 3):
            np.testing.assert_allclose(run(packed, x[:n]), run(original, x[:n]), rtol=1e-4, atol=1e-4)
        products = 1 if bits <= 4 else 2
        assert report.packed_linears == executed(packed)["MatMulNBits"] == products
        assert "Conv" not in executed(packed)


def test_the_stored_integers_are_the_weights_own_by_tap(everything_packed):
    weight = quantized((6, 4, 3, 3), 4)
    _, packed, _ = lowered([node("Conv", "x w")], {"w": weight}, inputs={"x": ["N", 4, 5, 5]})
    (stored,) = [tensor for tensor in packed.graph.initializer if tensor.name == "w:4"]
    pairs = onnx.numpy_helper.to_array(stored).reshape(6, -1)
    values = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(6, -1)[:, :36]
    np.testing.assert_array_equal(values.reshape(6, 9, 4).transpose(0, 2, 1).reshape(6, 4, 3, 3), weight.integers)
    (layer,) = layers(packed)
    assert (layer.name, layer.op, layer.bits, layer.parameters) == ("w", "MatMulNBits", 4, 6 * 4 * 9)


def test_taps_that_only_meet_padding_are_stored_but_take_no_part(everything_packed):
    weight = quantized((6, 4, 3, 3), 4)
    _, packed, _ = lowered([node("Conv", "x w", pads=[1, 1, 1, 1])], {"w": weight}, inputs={"x": ["N", 4, 1, 1]})
    (product,) = [node for node in packed.graph.node if node.op_type == "MatMulNBits"]
    assert {attribute.name: attribute.i for attribute in product.attribute}["K"] == 4
    assert sum(len(tensor.raw_data) for tensor in packed.graph.initializer if tensor.name == "w:4") == 6 * 36 // 2
    assert "Gather" not in executed(packed)


@pytest.mark.parametrize("bits", [5, 7, 8])
def test_wide_linears_are_two_products_of_four_bits(everything_packed, bits):
    for weight in (quantized((7, 100), bits), in_blocks((7, 100), bits, 32)):
        original, packed, _ = lowered([node("Gemm", "x w", transB=1)], {"w": weight}, inputs={"x": ["N", 100]})
        x = np.random.default_rng(0).standard_normal((3, 100), dtype=np.float32)
        np.testing.assert_allclose(run(packed, x), run(original, x), rtol=1e-4, atol=1e-4)
        assert executed(packed) == {"MatMulNBits": 2, "Add": 1}


@pytest.mark.parametrize("bits", [2, 4, 5, 8])
def test_int8_compute_runs_one_kernel_of_level_4(everything_packed, bits):
    weight = quantized((32, 128), bits)
    original, packed, _ = lowered(
        [node("Gemm", "x w", transB=1)],
        {"w": weight},
        settings=Export(profile="memory", compute="int8"),
        inputs={"x": ["N", 128]},
    )
    (product,) = [node for node in packed.graph.node if node.op_type == "MatMulNBits"]
    attributes = {attribute.name: attribute.i for attribute in product.attribute}
    assert (attributes["accuracy_level"], attributes["bits"]) == (4, 4 if bits <= 4 else 8)
    x = np.random.default_rng(0).standard_normal((3, 128), dtype=np.float32)
    expected = run(original, x)
    assert 0 < np.abs(run(packed, x) - expected).max() < 0.05 * np.abs(expected).max()


def test_transposes_between_convolutions_are_gone_when_the_session_is_open(everything_packed):
    weights = {name: quantized((8, 8, 3, 3), 4, seed=seed) for seed, name in enumerate("uvw")}
    nodes = [
        node("Conv", "x u", "a", pads=[1, 1, 1, 1]),
        node("HardSwish", "a", "b"),
        node("Conv", "b v", "c", pads=[1, 1, 1, 1]),
        node("Add", "c b", "d"),
        node("Relu", "d", "e"),
        node("Conv", "e w", "y", pads=[1, 1, 1, 1]),
    ]
    # The traced graph knows the shape of every value.
    proto = onnx.shape_inference.infer_shapes(
        model(
            nodes,
            {name: weight.dequantize() for name, weight in weights.items()},
            inputs={"x": ["N", 8, 6, 6]},
            opset=21,
        )
    )
    graph = ir.from_proto(proto)
    memory.lower_for_memory(graph.graph, weights, MEMORY)
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 6), dtype=np.float32) / 10
    np.testing.assert_allclose(run(graph, x), run(proto, x), rtol=1e-3, atol=1e-3)
    # One at the input, one at the output.
    assert executed(ir.to_proto(graph)).get("Transpose", 0) == 2


def test_a_shared_convolution_is_stored_once_and_keeps_every_tap_that_any_use_meets(everything_packed):
    weight = quantized((4, 4, 3, 3), 4)
    nodes = [node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("Conv", "a w", "y", pads=[0, 1, 0, 1], strides=[3, 2])]
    proto = onnx.shape_inference.infer_shapes(model(nodes, {"w": weight.dequantize()}, inputs={"x": ["N", 4, 3, 1]}))
    graph = ir.from_proto(proto)
    report = memory.lower_for_memory(graph.graph, {"w": weight}, MEMORY)
    assert report.packed_linears == 2
    assert [name for name in graph.graph.initializers if name.startswith("w:")] == ["w:4", "w:scale", "w:zero_point"]
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 1), dtype=np.float32)
    np.testing.assert_allclose(run(graph, x), run(proto, x), rtol=1e-4, atol=1e-4)


def test_cost_rule_packs_what_saves_memory():
    def ops(shape, sizes, group=1):
        weight = quantized(shape, 4)
        nodes = [node("Conv", "x w", pads=[1, 1, 1, 1], group=group)]
        _, packed, report = lowered(nodes, {"w": weight}, inputs={"x": ["N", shape[1] * group, *sizes]})
        return report.packed_linears, report.dequantized, executed(packed)

    assert ops((64, 64, 3, 3), (8, 16))[0] == 1
    assert ops((64, 64, 3, 3), (8, 17))[0] == 0, "windows would hold more than twice as much as the weights"
    assert ops((32, 28, 3, 3), (4, 4))[0] == 0, "too few weights"
    packed, dequantized, executed_ops = ops((256, 32, 3, 3), (4, 4), group=8)
    assert (packed, dequantized, executed_ops["DequantizeLinear"]) == (0, 1, 1)
    packed, dequantized, executed_ops = ops((64, 1, 3, 3), (8, 8), group=64)
    assert (packed, dequantized) == (0, 0)
    assert "DequantizeLinear" not in executed_ops


CASES = [("convolutions", 4, 7), ("convolutions", MIXED, 8), ("table", 6, 8), ("tokens", 4, 5)]
"""A network, its bits, and the packed products that it takes: two for each layer of more than 4 bits."""


@pytest.fixture(params=CASES, ids=lambda case: "-".join(map(str, case))[:30])
def case(request, everything_packed, monkeypatch):
    monkeypatch.setattr(memory, "DEQUANTIZED_FROM", 1)
    name, bits, products = request.param
    classifier = classifier_of(name)
    weights = weights_of(classifier, bits)
    file = build_graph(
        classifier,
        weights,
        input_shape=NETS[name][1],
        class_names=[*"abcde"],
        settings=Export(profile="memory"),
        traced=traced(name),
    )
    assert file.packed_linears == products
    return classifier, weights, file, inputs_of(name, 16)


def test_networks_compute_what_was_trained_and_their_twin_has_exact_gradients(case, tmp_path):
    classifier, weights, file, x = case
    session = open_session(file.content)
    expected = torch_probabilities(classifier, weights, x)
    np.testing.assert_allclose(predict(session, x), expected, atol=1e-5)
    np.testing.assert_allclose(predict(session, x[:1]), expected[:1], atol=1e-5)
    prove_kernels(optimized_graph(file.content), file.packed_linears, file.dequantized)
    twin = twin_of(file.content, tmp_path).double()
    exact = {f"network.{name}": torch.from_numpy(tensor.dequantize()).double() for name, tensor in weights.items()}
    classifier.double()
    ours, theirs = (torch.from_numpy(x).double().requires_grad_() for _ in range(2))
    logits, original = twin(ours), torch.func.functional_call(classifier, exact, (theirs,))
    torch.testing.assert_close(logits, original, rtol=1e-5, atol=1e-5)
    direction = torch.randn(original.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (logits * direction).sum().backward()
    (original * direction).sum().backward()
    assert (ours.grad - theirs.grad).norm() < 1e-5 * theirs.grad.norm()


ZOO = {"lenet": ((1, 28, 28), 2), "resnet20": ((3, 32, 32), 6)}
"""Shape of one input, and the layers that the cost rules pack."""


@pytest.mark.parametrize("name", ZOO)
def test_known_architectures(name):
    shape, packed = ZOO[name]
    torch.manual_seed(0)
    classifier = build_classifier(Model(name=name), 10, shape).eval()
    weights = quantize_weights(classifier.network, Quantize(bits=4))
    file = build_graph(classifier, weights, input_shape=shape, class_names=[*"abcdefghij"], settings=MEMORY)
    x = np.random.default_rng(0).random((3, *shape), dtype=np.float32)
    expected = torch_probabilities(classifier, weights, x)
    session = open_session(file.content)
    for n in (1, 3):
        np.testing.assert_allclose(predict(session, x[:n]), expected[:n], atol=1e-4)
    optimized = optimized_graph(file.content)
    prove_kernels(optimized, file.packed_linears, file.dequantized)
    assert (file.packed_linears, file.dequantized) == (packed, 0)


def test_latency_packs_smaller_and_wider_linears_for_int8():
    weight = quantized((256, 256), 8)
    nodes = [node("Gemm", "x w", transB=1)]
    for compute, packed in (("float32", 0), ("int8", 1)):
        graph = ir.from_proto(model(nodes, {"w": weight.dequantize()}, inputs={"x": ["N", 256]}))
        report = profiles.lower_for_latency(graph.graph, {"w": weight}, Export(compute=compute))
        assert report.packed_linears == packed
    assert weight.integers.size == profiles.INT8_LINEAR_FROM


def test_portable_refuses_int8():
    graph = ir.from_proto(model([node("Gemm", "x w", transB=1)], {"w": np.ones((3, 4), np.float32)}))
    with pytest.raises(UserError, match="portable cannot compute in int8"):
        profiles.lower_for_portable(graph.graph, {}, Export(profile="portable", compute="int8"))
