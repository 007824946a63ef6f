import json

import numpy as np
import onnx
import pytest
from graphs import model, node
from nets import MIXED, built

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.describe import describe
from edgepriv.artifact.layers import layers
from edgepriv.errors import UserError


@pytest.fixture
def saved(tmp_path):
    def save(content):
        path = tmp_path / "model.onnx"
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return path

    return save


def described(path):
    return describe(DeployedModel.open(path))


def test_layers_of_a_file_with_many_widths(saved):
    classifier, weights, file = built("convolutions", MIXED)
    facts = described(saved(file.content))
    found = {layer["name"]: layer for layer in facts["layers"]}
    parameters = dict(classifier.network.named_parameters())
    assert {name: layer["bits"] for name, layer in found.items()} == {
        name: weights[name].bits if name in weights else 32 for name in found
    }
    assert set(weights) | {"head.weight"} == set(found)
    for name, layer in found.items():
        assert layer["parameters"] == parameters[name].numel(), name
        assert layer["granularity"] == ("channel" if name in weights else "none")
    rows = parameters["stem.weight"].shape[0]
    assert found["stem.weight"]["stored_bytes"] == 216 + rows * 4 + rows  # 8-bit integers, scales, zero points
    assert (found["stem.weight"]["op"], found["fc.weight"]["op"]) == ("Conv", "Gemm")
    total = facts["weights"]
    assert total["parameters"] == sum(layer["parameters"] for layer in facts["layers"])
    assert total["stored_bytes"] < facts["size_bytes"]
    assert facts["bits"] == "2,3,4,5,8,32"


def test_facts_are_json_and_name_inputs_outputs_and_classes(saved):
    path = saved(built("table", 4)[2].content)
    facts = json.loads(json.dumps(described(path)))
    assert facts["inputs"] == [{"name": "input", "type": "float", "shape": ["N", 40]}]
    assert facts["outputs"] == [{"name": "probabilities", "type": "float", "shape": ["N", 5]}]
    assert facts["profile"] == "latency"
    assert facts["class_names"] == [f"class {label}" for label in range(5)]
    assert facts["size_bytes"] == path.stat().st_size
    assert DeployedModel.open(path).class_names == tuple(facts["class_names"])


def test_packed_linears_are_told_apart(monkeypatch):
    from edgepriv.artifact import profiles
    from edgepriv.artifact.build import build_graph

    monkeypatch.setattr(profiles, "PACKED_LINEAR_FROM", 1)
    classifier, weights, _ = built("table", 3)
    file = build_graph(classifier, weights, input_shape=(40,), class_names=[*"abcde"])
    found = layers(onnx.load_from_string(file.content))
    assert [(layer.name, layer.op, layer.bits, layer.parameters) for layer in found] == [
        ("first.weight", "MatMulNBits", 3, 960),
        ("second.weight", "MatMulNBits", 3, 576),
        ("head.weight", "MatMulNBits", 3, 120),
    ]
    assert found[0].stored_bytes == 960 * 3 // 8 + 24 * 4 + 24  # integers, scales, zero points in pairs


FOREIGN = {
    "float": ([node("MatMul", "x w")], {"w": np.ones((4, 3), np.float32)}, ("w", "MatMul", 32, 12, 48, "none")),
    "half": (
        [node("Cast", "w", "f", to=1), node("MatMul", "x f")],
        {"w": np.ones((4, 3), np.float16)},
        ("w", "MatMul", 16, 12, 24, "none"),
    ),
    "int8 per tensor": (
        [node("DequantizeLinear", "w s", "f"), node("MatMul", "x f")],
        {"w": np.ones((4, 3), np.int8), "s": np.float32(0.1)},
        ("w", "MatMul", 8, 12, 16, "tensor"),
    ),
    "int8 per channel": (
        [node("DequantizeLinear", "w s", "f", axis=1), node("MatMul", "x f")],
        {"w": np.ones((4, 3), np.int8), "s": np.ones(3, np.float32)},
        ("w", "MatMul", 8, 12, 24, "channel"),
    ),
    "4 bits in blocks": (
        [node("MatMulNBits", "x w s", "y", domain="com.microsoft", K=64, N=3, bits=4, block_size=32)],
        {"w": np.ones((3, 2, 16), np.uint8), "s": np.ones(6, np.float32)},
        ("w", "MatMulNBits", 4, 192, 120, "block"),
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files(kind):
    nodes, constants, expected = FOREIGN[kind]
    (layer,) = layers(model(nodes, constants))
    assert (layer.name, layer.op, layer.bits, layer.parameters, layer.stored_bytes, layer.granularity) == expected


def test_products_of_activations_are_no_layers():
    assert layers(model([node("MatMul", "x x")], inputs={"x": [4, 4]})) == []


def test_files_without_metadata_say_nothing(saved):
    path = saved(model([node("MatMul", "x w")], {"w": np.ones((4, 3), np.float32)}))
    facts = described(path)
    assert (facts["profile"], facts["bits"], facts["class_names"], facts["edgepriv_version"]) == (
        None,
        None,
        None,
        None,
    )
    assert DeployedModel.open(path).class_names is None


def test_files_that_are_not_onnx(saved, tmp_path):
    with pytest.raises(UserError, match="not a readable ONNX file"):
        described(saved(b"\x00\x01"))
    with pytest.raises(UserError, match="no such file"):
        described(tmp_path / "missing.onnx")


def test_graphs_that_contradict_themselves(saved):
    proto = model(
        [node("MatMulNBits", "x w s", "y", domain="com.microsoft", bits=4)], {"w": np.ones((3, 2, 16), np.uint8)}
    )
    with pytest.raises(UserError, match="contradicts itself"):
        described(saved(proto))
