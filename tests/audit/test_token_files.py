"""Files that take tokens are audited on whole numbers, without perturbations; fractions are not rounded in silence."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepriv
from edgepriv.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("tokens")
    rng = np.random.default_rng(0)
    vectors, weights = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["E", "x"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["m", "W"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
    ]
    source = helper.make_tensor_value_info("x", TensorProto.INT32, ["N", 12])
    answer = helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", 3])
    kept = [numpy_helper.from_array(vectors, "E"), numpy_helper.from_array(weights, "W")]
    graph = helper.make_graph(nodes, "g", [source], [answer], kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), where / "model.onnx")
    x = rng.integers(0, 50, size=(200, 12))
    y = (vectors[x].mean(axis=1) @ weights).argmax(axis=1)
    np.savez(where / "members.npz", x=x[:100], y=y[:100])
    np.savez(where / "others.npz", x=x[100:], y=y[100:])
    np.savez(where / "fractions.npz", x=x[100:] + 0.25, y=y[100:])
    return where


def audit(folder, others):
    return edgepriv.audit(
        folder / "model.onnx",
        members=folder / "members.npz",
        non_members=folder / others,
        attacks="correctness",
        force=True,
        accept_accuracy_loss=True,
    )


def test_whole_numbers_are_fed_as_they_are(folder):
    audited = audit(folder, "others.npz")
    assert audited.utility["member_accuracy"] == audited.utility["non_member_accuracy"] == 1
    assert audited.robustness is None


def test_fractions_are_refused(folder):
    with pytest.raises(
        UserError, match="takes tokens, which are whole numbers, and 100 of 200 examples hold fractions"
    ):
        audit(folder, "fractions.npz")
