"""Files of others: what can be read is read, what cannot is refused in one sentence."""

import numpy as np
import onnx
import pytest
from graphs import model, node
from nets import built, inputs_of
from onnx import TensorProto, helper

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.session import check_contract, histogram, op_histogram, open_session, predict
from edgepriv.errors import UserError

W = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
X = np.random.default_rng(1).random((10, 4), dtype=np.float32)
LOGITS = X @ W
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def session_of(*arguments, **options):
    return open_session(model(*arguments, **options).SerializeToString())


def test_probabilities_are_returned_as_they_are():
    session = session_of([node("MatMul", "x w", "l"), node("Softmax", "l")], {"w": W})
    np.testing.assert_allclose(predict(session, X), SOFTMAX, rtol=1e-5)
    assert check_contract(session).returns == "probabilities"


def test_logits_become_probabilities():
    session = session_of([node("MatMul", "x w")], {"w": W})
    contract = check_contract(session)
    assert (contract.returns, contract.classes, contract.row_shape, contract.fixed_batch) == ("logits", 3, (4,), None)
    np.testing.assert_allclose(predict(session, X), SOFTMAX, rtol=1e-5)


def test_the_decision_does_not_depend_on_the_rows_asked_about():
    session = session_of([node("MatMul", "x w")], {"w": np.eye(4, dtype=np.float32)})
    row = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    expected = np.exp(row) / np.exp(row).sum()
    np.testing.assert_allclose(predict(session, row), expected, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 3, 4, 10])
def test_graphs_of_a_fixed_batch_are_fed_in_its_size(n):
    session = session_of([node("MatMul", "x w", "l"), node("Softmax", "l")], {"w": W}, inputs={"x": [4, 4]})
    assert check_contract(session).fixed_batch == 4
    np.testing.assert_allclose(predict(session, X[:n]), SOFTMAX[:n], rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 256])
def test_batches_do_not_change_the_result(batch):
    session = open_session(built("convolutions", 4)[2].content)
    x = inputs_of("convolutions", 7)
    np.testing.assert_allclose(predict(session, x, batch=batch), predict(session, x), atol=1e-6)


def test_no_rows_give_no_rows():
    session = session_of([node("MatMul", "x w")], {"w": W})
    assert predict(session, X[:0]).shape == (0, 3)


def test_files_that_take_bytes_are_fed_whole_bytes():
    nodes = [node("Cast", "x", "f", to=1), node("Softmax", "f")]
    session = session_of(nodes, inputs={"x": ["N", 4]}, input_type=TensorProto.UINT8)
    assert check_contract(session).input_dtype == "uint8"
    found = predict(session, np.array([[0.0, 1 / 255, 1.4 / 255, 2.0]], np.float32))
    powers = np.exp(np.array([[0.0, 1, 1, 255]]) - 255)  # not beyond a byte
    np.testing.assert_allclose(found, powers / powers.sum(), atol=1e-6)
    found = predict(session, np.array([[0.0, 1 / 255, 1.4 / 255, 1.6 / 255]], np.float32))
    powers = np.exp(np.array([[0.0, 1, 1, 2]]))
    np.testing.assert_allclose(found, powers / powers.sum(), atol=1e-6)
    with pytest.raises(UserError, match="hold NaN or infinity"):
        predict(session, np.full((1, 4), np.nan, np.float32))


def test_labels_without_names_of_classes_are_refused():
    proto = labels_only()
    helper.set_model_props(proto, {"edgepriv_version": "1", "output": "label"})
    with pytest.raises(UserError, match="does not name the classes"):
        check_contract(open_session(proto.SerializeToString()))


def test_large_images_are_fed_few_at_a_time(monkeypatch):
    from edgepriv.artifact import session as module

    fed = []
    real = module.ask
    monkeypatch.setattr(module, "ask", lambda s, o, i, x: fed.append(len(x)) or real(s, o, i, x))
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p")]
    session = session_of(nodes, inputs={"x": ["N", 3, 512, 512]})
    predict(session, np.zeros((20, 3, 512, 512), np.float32))
    assert fed == [5, 5, 5, 5]


def test_the_label_that_scikit_learn_exporters_put_first_is_passed_over():
    nodes = [
        node("MatMul", "x w", "l"),
        node("Softmax", "l", "p"),
        node("ArgMax", "p", "label", axis=1, keepdims=0),
    ]
    proto = model(nodes, {"w": W}, outputs={"p": ["N", 3]})
    proto.graph.output.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    session = open_session(proto.SerializeToString())
    assert check_contract(session).output_name == "p"
    np.testing.assert_allclose(predict(session, X), SOFTMAX, rtol=1e-5)


def zip_map():
    to_dictionaries = node("ZipMap", "l", domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    proto = model([node("MatMul", "x w", "l"), to_dictionaries], {"w": W})
    element = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    proto.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(element))
    return proto


def labels_only():
    proto = model([node("ArgMax", "x", "y", axis=1, keepdims=0)])
    proto.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.INT64, ["N"]))
    return proto


def test_dictionaries_are_read_as_rows():
    session = open_session(zip_map().SerializeToString())
    np.testing.assert_allclose(predict(session, X), SOFTMAX, rtol=1e-5)
    assert check_contract(session).names == ("0", "1", "2")


REFUSED = {
    "two inputs": (model([node("Add", "a b")], inputs={"a": ["N", 4], "b": ["N", 4]}), "one input"),
    "no input": (model([node("Identity", "w")], {"w": W}, inputs={"w": [4, 3]}), "one input"),
    "integers": (
        model([node("Cast", "x", "y", to=1)], inputs={"x": ["N", 4]}, input_type=TensorProto.INT8),
        r"uint8 or tokens \(int32, int64\) \[N, ...\] \(its input 'x' is tensor\(int8\)",
    ),
    "one number per row": (model([node("ReduceSum", "x a", keepdims=1)], {"a": np.array([1])}), "K of 2 or more"),
    "images out": (
        model([node("Identity", "x")], inputs={"x": ["N", 3, 4, 4]}),
        r"one number per class.*y float32 \[N, 3, 4, 4\]",
    ),
    "labels only": (labels_only(), r"its outputs are: y int64 \[N\]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_classifier_is_refused_in_one_sentence(kind):
    proto, reason = REFUSED[kind]
    with pytest.raises(UserError, match=reason) as raised:
        check_contract(open_session(proto.SerializeToString()))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.zeros((3, 5), np.float32), r"shape \[N, 4\], but these have \[3, 5\]"),
        (np.zeros((3, 4, 1), np.float32), r"but these have \[3, 4, 1\]"),
        (np.zeros(4, np.float32), r"but these have \[4\]"),
        (np.zeros((3, 4), np.uint8), "divide images of bytes by 255"),
        (np.full((3, 4), np.nan, np.float32), "not finite"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, reason):
    session = session_of([node("MatMul", "x w")], {"w": W})
    with pytest.raises(UserError, match=reason):
        predict(session, x)


def test_images_of_any_size_are_accepted_where_the_graph_does():
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p")]
    session = session_of(nodes, inputs={"x": ["N", 3, "H", "W"]})
    assert predict(session, np.zeros((2, 3, 9, 7), np.float32)).shape == (2, 3)
    with pytest.raises(UserError, match=r"\[N, 3, any, any\]"):
        predict(session, np.zeros((2, 4, 9, 7), np.float32))


def test_text_that_is_no_text_is_damage():
    content = built("table", 4)[2].content.replace(b"latency", b"lat\xff\xfecy")
    with pytest.raises(UserError, match="not valid text"):
        check_contract(open_session(content))


@pytest.mark.parametrize("damage", ["empty", "noise", "truncated", "missing", "text"])
def test_broken_files_are_refused_by_name(tmp_path, damage):
    path = tmp_path / "broken.onnx"
    content = built("table", 4)[2].content
    damaged = {
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "truncated": content[: len(content) // 2],
        "text": b"hello\n",
    }
    if damage != "missing":
        path.write_bytes(damaged[damage])
    for opener in (
        open_session,
        lambda path: DeployedModel.open(path).session,
        lambda path: DeployedModel.open(path).graph,
    ):
        with pytest.raises(UserError, match=r"broken\.onnx") as raised:
            opener(path)
        assert "\n" not in str(raised.value)


def test_histogram_is_of_the_graph_that_runs(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(built("table", 4)[2].content)
    assert "Cast" in histogram(onnx.load(path))
    executed = op_histogram(path.read_bytes())
    assert "Cast" not in executed
    assert list(executed.values()) == sorted(executed.values(), reverse=True)
