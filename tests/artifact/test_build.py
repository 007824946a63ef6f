"""The whole way from a classifier to bytes."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from nets import CLASSES, MIXED, NETS, built, classifier_of, inputs_of, weights_of
from torch import nn

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.session import histogram, open_session, optimized_graph, predict
from edgepriv.errors import UserError
from edgepriv.models import build as build_network
from edgepriv.models.classifier import Classifier
from edgepriv.training.quantization import QuantizedTensor

CASES = [
    ("convolutions", 32),
    ("convolutions", 4),
    ("convolutions", MIXED),
    ("table", 4),
    ("tokens", 32),
    ("tokens", 4),
]


def names(k=CLASSES):
    return [f"class {label}" for label in range(k)]


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_file_computes_what_torch_computes_at_any_batch_size(name, bits):
    classifier, weights, file = built(name, bits)
    assert set(file.left_float) == ({"head.weight"} if bits == MIXED else set())
    x = inputs_of(name)
    expected = torch_probabilities(classifier, weights, x)
    assert np.ptp(expected, axis=0).max() > 0.1, "the network must tell its inputs apart for this to mean anything"
    session = open_session(file.content)
    for n in (1, 7, len(x)):
        np.testing.assert_allclose(session.run(None, {"input": x[:n]})[0], expected[:n], atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_quantized_file_runs_the_very_graph_of_its_float_twin(name):
    executed = {bits: histogram(optimized_graph(built(name, bits)[2].content)) for bits in (32, 4)}
    assert executed[4] == executed[32]


@pytest.mark.parametrize("name", ["convolutions", "table"])
def test_one_wrong_integer_shows(name):
    classifier, weights, file = built(name, 4)
    changed = dict(weights)
    first = next(iter(weights))
    integers = weights[first].integers.copy()
    integers.reshape(-1)[0] ^= 8
    changed[first] = QuantizedTensor(integers, weights[first].scale, weights[first].zero_point, 4)
    x = inputs_of(name)
    difference = np.abs(torch_probabilities(classifier, changed, x) - predict(open_session(file.content), x))
    assert difference.max() > 1e-4


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_nothing_but_the_model_is_in_the_file(name, bits):
    content = built(name, bits)[2].content
    proto = onnx.load_from_string(content)
    assert {entry.key for entry in proto.metadata_props} == {"edgepriv_version", "class_names", "bits", "profile"}
    assert not proto.doc_string
    assert not proto.graph.doc_string
    assert not proto.graph.value_info
    for part in [*proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output]:
        assert not part.doc_string
        assert not part.metadata_props
    here = Path(__file__)
    for leak in (str(here.parent), here.name, "torch", "stack_trace", str(Path.home()), "site-packages", "network."):
        assert leak.encode() not in content, leak


def metadata_of(name, bits):
    proto = onnx.load_from_string(built(name, bits)[2].content)
    return {entry.key: entry.value for entry in proto.metadata_props}


def test_metadata_says_what_a_device_may_know():
    assert metadata_of("convolutions", MIXED) == {
        "edgepriv_version": version("edgepriv"),
        "class_names": json.dumps(names(), separators=(",", ":")),
        "bits": "2,3,4,5,8,32",
        "profile": "latency",
    }


def test_bits_in_metadata_name_the_widths():
    assert metadata_of("table", 4)["bits"] == "4"
    assert metadata_of("tokens", 32)["bits"] == "32"


def test_a_shared_weight_is_stored_once():
    proto = onnx.load_from_string(built("table", 4)[2].content)
    assert {tensor.name for tensor in proto.graph.initializer if "second" in tensor.name or "third" in tensor.name} == {
        "second.bias",
        "third.bias",
        "second.weight",
        "second.weight:scale",
        "second.weight:zero_point",
    }


def test_the_same_classifier_gives_the_same_bytes():
    again = build_graph(
        classifier_of("table"), weights_of(classifier_of("table"), 4), input_shape=(40,), class_names=names()
    )
    assert again.content == built("table", 4)[2].content


def test_lenet_is_as_small_as_promised():
    classifier = Classifier(build_network("lenet", 10, (1, 28, 28)), [0.5], [0.25])
    sizes = {
        bits: len(
            build_graph(
                classifier, weights_of(classifier, bits), input_shape=(1, 28, 28), class_names=names(10)
            ).content
        )
        for bits in (32, 4, 2)
    }
    assert sizes[4] / sizes[32] <= 0.15
    assert sizes[2] / sizes[32] <= 0.09


def test_integers_of_another_shape_are_refused():
    classifier = classifier_of("table")
    weights = weights_of(classifier, 4)
    weights["head.weight"] = weights["first.weight"]
    with pytest.raises(UserError, match=r"head.weight have shape \[24, 40\]"):
        build_graph(classifier, weights, input_shape=(40,), class_names=names())


def test_class_names_must_match_the_logits():
    with pytest.raises(UserError, match="5 logits, but there are 3 class names"):
        build_graph(classifier_of("table"), {}, input_shape=(40,), class_names=names(3))


def test_a_layer_left_out_of_forward_is_reported_not_lost():
    class WithAuxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)
            self.auxiliary = nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(x) + self.auxiliary(x) if self.training else self.fc(x)

    classifier = Classifier(WithAuxiliary(), [0.0] * 4, [1.0] * 4)
    file = build_graph(classifier, weights_of(classifier, 4), input_shape=(4,), class_names=names(2))
    assert list(file.left_float) == ["auxiliary.weight"]


@pytest.mark.slow
def test_a_torchvision_network():
    torch.manual_seed(0)
    classifier = Classifier(build_network("mobilenet_v3_small", 10, (3, 64, 64)), [0.5] * 3, [0.25] * 3).eval()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, mean=1.0, std=0.6)
    weights = weights_of(classifier, 4)
    x = np.random.default_rng(0).random((4, 3, 64, 64), dtype=np.float32)
    file = build_graph(classifier, weights, input_shape=(3, 64, 64), class_names=names(10))
    assert not file.left_float
    np.testing.assert_allclose(
        predict(open_session(file.content), x), torch_probabilities(classifier, weights, x), atol=1e-5
    )
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    assert len(file.content) / (4 * parameters) < 0.15
    assert "BatchNormalization" not in histogram(onnx.load_from_string(file.content))
