"""The twin has the artifact's outputs and the network's gradients."""

import numpy as np
import onnx
import pytest
import torch
from graphs import model, node
from nets import MIXED, built, inputs_of
from onnx import TensorProto, helper

from edgepriv.artifact.compiler import Untwinnable
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.session import open_session, predict
from edgepriv.errors import UserError

CASES = [
    ("convolutions", 32),
    ("convolutions", 4),
    ("convolutions", MIXED),
    ("table", 4),
    ("tokens", 32),
    ("tokens", 4),
]


def twin_of(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return DeployedModel.open(path).differentiable()


@pytest.fixture(params=CASES, ids=lambda case: "-".join(map(str, case))[:30])
def case(request, tmp_path):
    classifier, weights, file = built(*request.param)
    exact = {f"network.{name}": torch.from_numpy(tensor.dequantize()).double() for name, tensor in weights.items()}

    def original(x):
        return torch.func.functional_call(classifier.double(), exact, (x,))

    yield twin_of(file.content, tmp_path), original, file, inputs_of(request.param[0], 16)
    classifier.float()


def test_probabilities_equal_onnxruntimes(case):
    twin, _, file, x = case
    expected = predict(open_session(file.content), x)
    for n in (1, 5, len(x)):
        with torch.no_grad():
            found = twin(torch.from_numpy(x[:n])).softmax(dim=1).numpy()
        np.testing.assert_allclose(found, expected[:n], atol=1e-5)
    assert twin.max_difference < 1e-5


def test_logits_and_gradients_equal_the_networks_own(case):
    twin, original, _, x = case
    twin.double()
    ours, theirs = (torch.from_numpy(x).double().requires_grad_() for _ in range(2))
    logits, expected = twin(ours), original(theirs)
    # The file holds batch norms folded in float64 and rounded to float32.
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (logits * direction).sum().backward()
    (expected * direction).sum().backward()
    difference = (ours.grad - theirs.grad).norm() / theirs.grad.norm()
    assert difference < 1e-5


def test_twin_is_a_module_in_eval_mode_without_parameters_to_train(tmp_path):
    twin = twin_of(built("table", 4)[2].content, tmp_path)
    assert not twin.training
    assert not list(twin.parameters())
    assert all(buffer.dtype == torch.float32 for buffer in twin.buffers())


def test_large_linears_of_packed_integers(tmp_path, monkeypatch):
    from edgepriv.artifact import profiles
    from edgepriv.artifact.build import build_graph

    monkeypatch.setattr(profiles, "PACKED_LINEAR_FROM", 1)
    classifier, weights, _ = built("table", 4)
    file = build_graph(classifier, weights, input_shape=(40,), class_names=[*"abcde"])
    assert file.packed_linears == 4
    x = inputs_of("table")
    with torch.no_grad():
        found = twin_of(file.content, tmp_path)(torch.from_numpy(x)).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, torch_probabilities(classifier, weights, x), atol=1e-5)


W = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
X = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
LOGITS = X @ torch.from_numpy(W)


def test_foreign_logits_are_logits(tmp_path):
    torch.testing.assert_close(twin_of(model([node("MatMul", "x w")], {"w": W}), tmp_path)(X), LOGITS)


def test_a_softmax_at_the_end_is_left_out(tmp_path):
    nodes = [node("MatMul", "x w", "l"), node("Softmax", "l", "s"), node("Identity", "s")]
    torch.testing.assert_close(twin_of(model(nodes, {"w": W}), tmp_path)(X), LOGITS)


def test_a_softmax_written_out_is_left_out_too(tmp_path):
    nodes = [
        node("MatMul", "x w", "l"),
        node("Exp", "l", "e"),
        node("ReduceSum", "e axes", "t"),
        node("Div", "e t"),
    ]
    twin = twin_of(model(nodes, {"w": W, "axes": np.array([1])}), tmp_path)
    torch.testing.assert_close(twin(X), LOGITS)


@pytest.mark.parametrize("rows", [1, 2])
def test_graphs_of_a_fixed_batch_take_any(tmp_path, rows):
    nodes = [node("Reshape", "x shape", "r"), node("MatMul", "r w")]
    proto = model(nodes, {"w": W, "shape": np.array([rows, 4])}, inputs={"x": [rows, 2, 2]})
    twin = twin_of(proto, tmp_path)
    x = X.reshape(5, 2, 2).clone().requires_grad_()
    logits = twin(x)
    torch.testing.assert_close(logits, LOGITS)
    logits.sum().backward()
    torch.testing.assert_close(x.grad.reshape(5, 4), torch.from_numpy(W).sum(dim=1).expand(5, 4))


def test_labels_beside_the_probabilities_do_not_disturb(tmp_path):
    nodes = [node("MatMul", "x w", "l"), node("Softmax", "l", "p"), node("ArgMax", "p", "label", axis=1)]
    proto = model(nodes, {"w": W}, outputs={"p": ["N", 3]})
    proto.graph.output.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, ["N", 1]))
    torch.testing.assert_close(twin_of(proto, tmp_path)(X), LOGITS)


def test_weights_dequantized_by_standard_operators(tmp_path):
    q, s = np.arange(12, dtype=np.int8).reshape(4, 3), np.array([0.1, 0.2, 0.3], np.float32)
    nodes = [node("DequantizeLinear", "q s", "w", axis=1), node("MatMul", "x w")]
    torch.testing.assert_close(
        twin_of(model(nodes, {"q": q, "s": s}), tmp_path)(X), X @ torch.from_numpy(q.astype(np.float32) * s)
    )


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("ArgMax", "x", "a", axis=1), node("Cast", "a", "f", to=1), node("MatMul", "f w")], "ArgMax"),
        ([node("Hardmax", "x", "r", name="/top"), node("MatMul", "r w")], r"counterpart of Hardmax \(node /top\)"),
    ],
)
def test_operators_without_gradient_are_named(tmp_path, nodes, reason):
    constants = {"w": np.ones((1, 3) if "ArgMax" in reason else (4, 3), np.float32)}
    with pytest.raises(Untwinnable, match=reason):
        twin_of(model(nodes, constants), tmp_path)


def test_dynamic_int8_has_no_twin(tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(model([node("MatMul", "x w")], {"w": W}), source)
    quantize_dynamic(source, target)
    with pytest.raises(Untwinnable, match="DynamicQuantizeLinear"):
        DeployedModel.open(target).differentiable()


def test_branches_have_no_twin(tmp_path):
    branch = helper.make_graph(
        [node("Identity", "x", "z")], "b", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4])]
    )
    nodes = [node("If", "c", "y", then_branch=branch, else_branch=branch)]
    with pytest.raises(Untwinnable, match="If"):
        twin_of(model(nodes, {"c": np.array(True)}), tmp_path)


def test_a_twin_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    from edgepriv.artifact import compiler as module

    monkeypatch.setitem(module.OPERATORS, "Relu", lambda a, x: x)
    with pytest.raises(Untwinnable, match="torch and onnxruntime disagree"):
        twin_of(model([node("MatMul", "x w", "m"), node("Relu", "m")], {"w": W * 9}), tmp_path)


def test_files_that_are_no_classifier_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="not a readable ONNX file"):
        twin_of(b"nothing", tmp_path)
    with pytest.raises(UserError, match="no such file"):
        DeployedModel.open(tmp_path / "missing.onnx").differentiable()
