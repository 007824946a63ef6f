import numpy as np
import onnx
import pytest
import torch
from foreign_nets import angle_classifier, file_type_classifier
from onnx import helper, numpy_helper
from torch import nn

from edgepriv.artifact.foreign_inputs import random_examples, read_by
from edgepriv.artifact.sensitivity import divergence, of_network, overridable, sensitivity
from edgepriv.artifact.session import predict, started
from edgepriv.recipe import Quantize
from edgepriv.training.quantization import refuse_unmatched, widths
from edgepriv.tuning.bits import allocated


@pytest.fixture(scope="module")
def subject():
    model = file_type_classifier()
    session = started(model.SerializeToString(), "file type")
    x = random_examples(session, (32,), 16)
    return model, read_by(session, x, None)[0], x, predict(session, x)


def test_nothing_replaced_changes_nothing_and_a_weight_of_zeros_does(subject):
    model, contract, x, expected = subject
    own = overridable(model, contract)
    assert np.abs(own.probabilities(x) - expected).max() < 1e-6
    name, weight = next(iter(own.weights.items()))
    assert divergence(expected, own.probabilities(x, {name: np.zeros_like(weight.rows)})) > 1e-3


def test_each_layer_loses_less_with_more_bits(subject):
    model, contract, x, expected = subject
    table = sensitivity(overridable(model, contract), x, expected.argmax(1), Quantize(bits=4), (2, 8))
    assert {row["name"] for row in table["rows"]} == {"embed/Gather_0", "conv/kernel_0", "head/kernel_0"}
    for row in table["rows"]:
        assert row["divergence"]["8"] < row["divergence"]["2"]
        assert row["points"]["8"] <= row["points"]["2"]
    narrow = [row["divergence"]["2"] for row in table["rows"]]
    assert narrow == sorted(narrow, reverse=True)
    assert table["skipped"] == []


def test_without_classes_no_accuracy_is_claimed():
    model = angle_classifier()
    session = started(model.SerializeToString(), "angle")
    x = random_examples(session, (3, 8, 8), 4)
    table = sensitivity(overridable(model, read_by(session, x, None)[0]), x, None, Quantize(bits=4), (4,))
    assert [row["points"] for row in table["rows"]] == [None] * 3


def test_every_layer_is_called_as_a_rule_of_bits_calls_it():
    network = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3))
    table = sensitivity(of_network(network, network), np.zeros((4, 5, 8), np.float32), None, Quantize(bits=4), (2, 4))
    rules = allocated(table, 3.0)
    assert "1.self_attn=" in rules
    refuse_unmatched(network, Quantize(bits=rules))


@pytest.mark.parametrize("name", ["a[0]", "b*", "c,d", "e=1", "f g"])
def test_layers_with_signs_of_a_rule_in_their_names_have_their_bits(name):
    network = nn.ModuleDict({"plain": nn.Linear(4, 4), name: nn.Linear(4, 4)})
    row = {"parameters": 16, "divergence": {"2": 1.0, "4": 0.0}}
    rows = [{"name": "plain", **row}, {"name": name, **row, "divergence": {"2": 0.1, "4": 0.0}}]
    rule = Quantize(bits=allocated({"widths": [2, 4], "rows": rows, "skipped": []}, 3.0))
    assert widths(network, rule) == {"plain.weight": 4, f"{name}.weight": 2}
    refuse_unmatched(network, rule)


def test_divergence_is_zero_for_equal_answers_and_the_entropy_gained_else():
    even = np.array([[0.5, 0.5]])
    assert divergence(even, even) == 0
    assert divergence(even, np.array([[0.25, 0.75]])) == pytest.approx(0.5 * np.log(4 / 3))


def test_a_network_is_measured_as_its_graph_is():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)).eval()
    x, y = torch.randn(200, 8).numpy(), np.arange(200) % 4
    graph = _as_graph(network)
    session = started(graph.SerializeToString(), "net")
    rule = Quantize(bits=4)
    of_graph = sensitivity(overridable(graph, read_by(session, x, None)[0]), x, y, rule, (2, 4))
    of_net = sensitivity(of_network(network, network), x, y, rule, (2, 4))
    assert [row["name"] for row in of_net["rows"]] == [row["name"] for row in of_graph["rows"]]
    for own, other in zip(of_net["rows"], of_graph["rows"], strict=True):
        assert own["points"] == other["points"]
        assert own["divergence"]["2"] == pytest.approx(other["divergence"]["2"], rel=1e-3)
        low, high = own["ci"]["2"]
        assert low < own["points"]["2"] < high


def _as_graph(network):
    """Linear, Relu, Linear as an exporter writes them."""
    weights = [numpy_helper.from_array(value.numpy(), name) for name, value in network.state_dict().items()]
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "2.weight", "2.bias"], ["logits"], transB=1),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])
        for name, size in (("x", 8), ("logits", 4))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
