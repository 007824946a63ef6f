"""Whatever makes probabilities or labels of logits, the twin climbs on what stands before it."""

import numpy as np
import pytest
import torch
from graphs import model, node
from onnx import TensorProto

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.logits import keeps_order
from edgepriv.artifact.session import open_session, predict

RNG = np.random.default_rng(0)
X = RNG.random((16, 4)).astype(np.float32)
W = RNG.standard_normal((4, 3)).astype(np.float32)
ONE_COLUMN = W[:, :1] - 0.1
CONSTANTS = {
    "w": W,
    "v": ONE_COLUMN,
    "axis": np.array([1]),
    "last": np.array([-1]),
    "row": np.array([0, 3]),
    "deep": np.array([0, 3, 1, 1]),
    "sixty": np.float32(60),
    "one": np.float32(1),
    "low": np.float32(0.01),
    "high": np.float32(0.99),
    "keep": np.float32(0.9),
    "smooth": np.float32(0.1 / 3),
    "thousand": np.float32(1000),
    "scale": np.float32(1 / 255),
    "zero": np.uint8(0),
}


def tail(text):
    """Nodes from lines such as "Softmax s > p axis=1"; what names no output gives y."""
    nodes = []
    for line in text.split(";"):
        words = line.split()
        attributes = {name: int(value) for name, _, value in (word.partition("=") for word in words if "=" in word)}
        op, *inputs = [word for word in words if "=" not in word]
        output = inputs[inputs.index(">") + 1] if ">" in inputs else "y"
        inputs = inputs[: inputs.index(">")] if ">" in inputs else inputs
        nodes.append(node(op, " ".join(inputs), output, **attributes))
    return nodes


SCALED = "MatMul x w > l; Mul l sixty > s; "
TAILS = {
    "softmax": SCALED + "Softmax s axis=1",
    "written out": SCALED + "ReduceMax s axis > m; Sub s m > c; Exp c > e; ReduceSum e axis > z; Div e z",
    "unshifted": "MatMul x w > s; Exp s > e; ReduceSum e axis > z; Div e z",
    "reciprocal": "MatMul x w > s; Exp s > e; ReduceSum e axis > z; Reciprocal z > r; Mul r e",
    "exp of log": SCALED + "LogSoftmax s > g axis=1; Exp g",
    "log": SCALED + "LogSoftmax s axis=1",
    "clipped": SCALED + "Softmax s > p axis=1; Clip p low high > q; ReduceSum q axis > z; Div q z",
    "smoothed": SCALED + "Softmax s > p axis=1; Mul p keep > q; Add q smooth",
    "rounded": SCALED + "Softmax s > p axis=1; Mul p thousand > q; Round q > r; Div r thousand",
    "in bytes": SCALED + "Softmax s > p axis=1; QuantizeLinear p scale zero > q; DequantizeLinear q scale zero",
    "half": SCALED + "Cast s > h to=10; Softmax h > p axis=1; Cast p > y to=1",
    "another axis": SCALED + "Reshape s deep > d; Softmax d > p axis=1; Flatten p > y axis=1",
    "transposed": SCALED + "Transpose s > t; Softmax t > p axis=0; Transpose p",
    "a sigmoid": "MatMul x v > l; Mul l sixty > s; Sigmoid s > p; Sub one p > q; Concat q p > y axis=1",
    "two sigmoids": "MatMul x v > l; Mul l sixty > s; Neg s > t; Sigmoid s > p; Sigmoid t > q; Concat p q > y axis=1",
    "twice": SCALED + "Softmax s > p axis=1; Softmax p axis=1",
    "logits": SCALED + "Identity s",
}


@pytest.mark.parametrize("name", TAILS)
def test_gradients_of_the_logits_reach_every_input(name, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model(tail(TAILS[name]), CONSTANTS).SerializeToString())
    expected = predict(open_session(path), X)
    twin = DeployedModel.open(path).differentiable(X)
    x = torch.from_numpy(X).requires_grad_()
    logits = twin(x)
    assert logits.shape == expected.shape
    assert keeps_order(logits.detach().numpy(), expected)
    lead = logits.topk(2, dim=1).values.diff(dim=1).sum()
    (slope,) = torch.autograd.grad(lead, x)
    weight = W if logits.shape[1] == 3 else np.concatenate([-ONE_COLUMN, ONE_COLUMN], axis=1)
    weight = -weight if name == "two sigmoids" else weight
    first, second = np.argsort(-X @ weight, axis=1)[:, :2].T
    true = weight.T[second] - weight.T[first]
    along = (slope.numpy() * true).sum(1) / np.linalg.norm(slope.numpy(), axis=1) / np.linalg.norm(true, axis=1)
    np.testing.assert_allclose(along, 1, atol=1e-4)


def test_labels_are_followed_back_as_well(tmp_path):
    nodes = tail(SCALED + "Softmax s > p axis=1; ArgMax p > a axis=1 keepdims=1; Reshape a flat > y")
    made = model(nodes, CONSTANTS | {"flat": np.array([-1])}, outputs={"y": ["N"]})
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    twin = DeployedModel.open(path).differentiable(X, classes=3)
    torch.testing.assert_close(twin(torch.from_numpy(X)).detach(), torch.from_numpy(X @ W), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "MatMul x w > l; Neg l > n; Softmax n axis=1",
        "MatMul x w > l; Abs l > n; Softmax n axis=1",
        "MatMul x w > l; Mul l each > n; Softmax n axis=1",
        "MatMul x w > l; Mul l minus > n; Softmax n axis=1",
    ],
)
def test_what_changes_the_order_of_the_classes_stays(text, tmp_path):
    path = tmp_path / "model.onnx"
    constants = CONSTANTS | {"each": np.array([1, 2, 3], np.float32), "minus": np.float32(-2)}
    path.write_bytes(model(tail(text), constants).SerializeToString())
    found = DeployedModel.open(path).differentiable(X)(torch.from_numpy(X)).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, predict(open_session(path), X), atol=1e-5)


def test_order_is_judged_in_every_row():
    logits = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    assert keeps_order(logits, np.array([[0.0, 0.0, 1.0], [0.6, 0.2, 0.2]]))
    assert not keeps_order(logits, np.array([[0.0, 0.0, 1.0], [0.2, 0.6, 0.2]]))
    assert not keeps_order(logits, np.zeros((2, 2)))
