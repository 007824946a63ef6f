"""Standard operators only, and the same integers as in every other profile."""

import numpy as np
import onnx
import pytest
import torch
from graphs import quantized
from nets import CLASSES, MIXED, NETS, classifier_of, inputs_of, traced
from onnx import TensorProto, numpy_helper
from torch import nn

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.export import prove_kernels
from edgepriv.artifact.layers import layers
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.session import open_session, optimized_graph, predict
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Export, Quantize
from edgepriv.training.quantization import quantize_weights

NAMES = [f"class {label}" for label in range(CLASSES)]
CASES = [
    ("convolutions", Quantize(bits=4)),
    ("convolutions", Quantize(bits=MIXED)),
    ("convolutions", Quantize(bits=3, granularity="block:16")),
    ("table", Quantize(bits=2, granularity="tensor")),
    ("table", Quantize(bits=6, granularity="block:16")),
    ("tokens", Quantize(bits=4, granularity="block:16")),
]


def built(name, rule, profile="portable"):
    classifier = classifier_of(name)
    weights = quantize_weights(classifier.network, rule)
    settings = Export(profile=profile)
    return classifier, weights, build_graph(
        classifier, weights, input_shape=NETS[name][1], class_names=NAMES, settings=settings, traced=traced(name)
    )  # fmt: skip


@pytest.mark.parametrize(("name", "rule"), CASES, ids=lambda value: str(value)[:40])
def test_the_file_computes_what_torch_computes_with_operators_of_the_standard(name, rule):
    classifier, weights, file = built(name, rule)
    model = onnx.load_from_string(file.content)
    onnx.checker.check_model(model, full_check=True)
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", 21)}
    assert sum(node.op_type == "DequantizeLinear" for node in model.graph.node) == file.dequantized
    x = inputs_of(name)
    expected = torch_probabilities(classifier, weights, x)
    np.testing.assert_allclose(predict(open_session(file.content), x), expected, atol=1e-5)
    prove_kernels(optimized_graph(file.content), file.packed_linears, file.dequantized)


def test_an_unpacked_weight_more_than_the_profile_means_is_refused():
    file = built("table", Quantize(bits=4))[2]
    with pytest.raises(UserError, match="where 2 DequantizeLinear were meant"):
        prove_kernels(optimized_graph(file.content), 0, file.dequantized - 1)


@pytest.mark.parametrize("bits", range(2, 9))
def test_weight_and_zero_point_have_the_narrowest_type_of_the_standard(bits):
    model = onnx.load_from_string(built("table", Quantize(bits=bits))[2].content)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    wanted = TensorProto.UINT4 if bits <= 4 else TensorProto.UINT8
    assert stored["first.weight"].data_type == stored["first.weight:zero_point"].data_type == wanted


def test_the_integers_are_those_that_torch_quantized():
    _, weights, file = built("table", Quantize(bits=3))
    stored = {tensor.name: tensor for tensor in onnx.load_from_string(file.content).graph.initializer}
    for name, tensor in weights.items():
        integers = numpy_helper.to_array(stored[name]).astype(np.uint8)
        turned = name != "second.weight"  # which two layers read
        np.testing.assert_array_equal(integers.T if turned else integers, tensor.integers)
        np.testing.assert_array_equal(numpy_helper.to_array(stored[name + ":scale"]), tensor.scale)


@pytest.mark.parametrize("granularity", ["channel", "tensor", "block:16"])
def test_linears_of_few_bits_stay_packed_and_compute_in_float(granularity):
    """For a session as the device kit opens it; one without its option rounds the activations."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    classifier = Classifier(network, (0.5,), (0.5,)).eval()
    weights = quantize_weights(network, Quantize(bits=4, granularity=granularity))
    file = build_graph(
        classifier,
        weights,
        input_shape=(3, 4, 4),
        class_names=list("abcde"),
        settings=Export(profile="portable"),
    )
    optimized = optimized_graph(file.content)
    packed = [node for node in optimized.graph.node if node.op_type == "MatMulNBits"]
    levels = [entry.i for node in packed for entry in node.attribute if entry.name == "accuracy_level"]
    assert (len(packed), levels, file.dequantized) == (2, [1, 1], 2)
    assert not any(node.op_type == "DequantizeLinear" for node in optimized.graph.node)
    prove_kernels(optimized, 0, file.dequantized)
    x = np.random.default_rng(0).random((8, 3, 4, 4), dtype=np.float32)
    expected = torch_probabilities(classifier, weights, x)
    np.testing.assert_allclose(predict(open_session(file.content), x), expected, rtol=0, atol=1e-5)


def test_a_last_block_that_is_shorter_is_stored_apart_without_padding():
    _, weights, file = built("table", Quantize(bits=4, granularity="block:16"))
    model = onnx.load_from_string(file.content)
    stored = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert weights["first.weight"].scale.shape == (24, 3)  # of 40 weights
    assert (stored["first.weight"], stored["first.weight:tail"]) == ([24, 32], [24, 8])
    assert (stored["first.weight:scale"], stored["first.weight:tail:scale"]) == ([24, 2], [24])
    assert file.dequantized == 2 * 3  # three weights of 40 or 24 columns
    assert [(layer.granularity, layer.parameters) for layer in layers(model)] == [
        ("block", 24 * 40),
        ("block", 24 * 24),
        ("block", 5 * 24),
    ]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("bits", [3, 4, 7])
def test_blocks_in_the_latency_profile_are_folded_at_load(name, bits):
    classifier, weights, file = built(name, Quantize(bits=bits, granularity="block:16"), "latency")
    x = inputs_of(name)
    np.testing.assert_allclose(
        predict(open_session(file.content), x), torch_probabilities(classifier, weights, x), atol=1e-5
    )
    unpacking = {"Expand", "Cast", "BitShift", "DequantizeLinear"}
    floats = build_graph(classifier, {}, input_shape=NETS[name][1], class_names=NAMES, traced=traced(name))
    executed, own = (
        [node.op_type for node in optimized_graph(content).graph.node if node.op_type in unpacking]
        for content in (file.content, floats.content)
    )
    assert executed == own, "the network itself repeats its class token, and nothing else"
    assert own == (["Expand"] if name == "tokens" else [])
    described = {layer.name: layer for layer in layers(onnx.load_from_string(file.content))}
    for layer, tensor in weights.items():
        count = tensor.integers.size
        if layer in described:  # attention's projection is split, and has its own reader
            assert (described[layer].bits, described[layer].parameters) == (bits, count)
            assert described[layer].granularity == ("block" if tensor.scale.shape[1] > 1 else "channel")


def test_scales_of_blocks_are_stored_once():
    stored = {
        tensor.name: int(np.prod(tensor.dims))
        for tensor in onnx.load_from_string(
            built("table", Quantize(bits=4, granularity="block:16"), "latency")[2].content
        ).graph.initializer
    }
    assert stored["first.weight:scale"] == 24 * 3


def test_a_folded_batch_norm_scales_and_mirrors_every_block():
    from edgepriv.artifact.fold import scale_channels
    from edgepriv.training.quantization import QuantizedTensor

    rng = np.random.default_rng(0)
    plain = quantized((4, 3, 3, 3), 4)
    scale = rng.uniform(0.01, 0.1, (4, 2)).astype(np.float32)
    zero_point = rng.integers(0, 16, (4, 2)).astype(np.uint8)
    tensor = QuantizedTensor(plain.integers, scale, zero_point, 4, 16)
    factor = np.array([2.0, -0.5, 1.0, -3.0])
    np.testing.assert_allclose(
        scale_channels(tensor, factor).dequantize(), tensor.dequantize() * factor[:, None, None, None], rtol=1e-6
    )
