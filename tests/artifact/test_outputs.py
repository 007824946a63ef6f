"""Which of a file's outputs holds the scores of the classes is found by what they hold on real rows."""

import numpy as np
import onnx
import pytest
from graphs import model, node
from onnx import TensorProto, helper

from edgepriv.artifact.choice import choose
from edgepriv.artifact.contract import divided_by_sum, source_of
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.outputs import collect, declared_classes
from edgepriv.artifact.session import agree_on, open_session, predict
from edgepriv.errors import UserError

RNG = np.random.default_rng(0)
W = RNG.standard_normal((6, 3)).astype(np.float32)
V = RNG.standard_normal((6, 1)).astype(np.float32)
X = RNG.random((200, 6), dtype=np.float32) - 0.5
LOGITS = X @ W
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
TRUTH = LOGITS.argmax(axis=1)


def described(nodes, constants, outputs, types=None):
    """A model of six features with several outputs of declared types."""
    proto = model(nodes, constants, inputs={"x": ["N", 6]}, outputs=dict.fromkeys(outputs))
    for value in proto.graph.output:
        kind = (types or {}).get(value.name, TensorProto.FLOAT)
        value.type.CopyFrom(helper.make_tensor_type_proto(kind, None))
    return proto


def chosen(proto, truth=TRUTH, classes=3, output_name=None, names=None):
    session = open_session(proto.SerializeToString())
    source = source_of(session)
    found = collect(session, source, X.astype(source.dtype), names or declared_classes(proto))
    contract, said = choose(found, source, lambda names: truth, classes, output_name)
    agree_on(session, contract)
    return contract, said, predict(session, X)


def twin_read_by(contract, path):
    model = DeployedModel.open(path)
    agree_on(model.session, contract)
    return model.differentiable(X[:8])


SCORES = [node("MatMul", "x w", "scores")]


def test_an_embedding_before_the_logits_is_passed_over():
    embedding = RNG.standard_normal((6, 8)).astype(np.float32)
    nodes = [node("MatMul", "x e", "embedding"), *SCORES]
    contract, said, found = chosen(described(nodes, {"w": W, "e": embedding}, ["embedding", "scores"]))
    assert contract.outputs == ("scores",)
    np.testing.assert_allclose(found, SOFTMAX, rtol=1e-5)
    assert any("embedding float32 [N, 8]" in sentence for sentence in said)


def test_logits_are_preferred_to_their_own_softmax_which_tells_less():
    nodes = [*SCORES, node("Softmax", "scores", "p", axis=1)]
    contract, _, found = chosen(described(nodes, {"w": W}, ["p", "scores"]))
    assert (contract.outputs, contract.returns) == (("scores",), "logits")
    np.testing.assert_allclose(found, SOFTMAX, rtol=1e-5)


def test_probabilities_are_preferred_to_logits_of_another_temperature():
    nodes = [*SCORES, node("Mul", "scores two", "sharper"), node("Softmax", "sharper", "p", axis=1)]
    proto = described(nodes, {"w": W, "two": np.float32(2)}, ["scores", "p"])
    assert chosen(proto)[0].outputs == ("p",)


def test_positive_scores_are_shares_or_logits_by_what_gives_the_true_classes_more():
    drawn = (SOFTMAX.cumsum(axis=1) > np.random.default_rng(1).random((len(X), 1))).argmax(axis=1)
    powers = described([*SCORES, node("Exp", "scores", "y")], {"w": W}, ["y"])
    contract, said, found = chosen(powers, drawn)
    assert contract.returns == "unnormalized"
    np.testing.assert_allclose(found, SOFTMAX, rtol=1e-5)
    assert any("each row is divided by its sum" in sentence for sentence in said)
    raised = described([*SCORES, node("Add", "scores ten", "y")], {"w": W, "ten": np.float32(10)}, ["y"])
    contract, _, found = chosen(raised, drawn)
    assert contract.returns == "logits"  # which happen to be positive
    np.testing.assert_allclose(found, SOFTMAX, rtol=1e-4)


def test_a_row_of_zero_votes_tells_nothing():
    votes = divided_by_sum(np.array([[0, 0, 0, 0], [3, 1, 0, 0]], np.float32))
    np.testing.assert_array_equal(votes, [[0.25, 0.25, 0.25, 0.25], [0.75, 0.25, 0, 0]])


def test_two_outputs_that_disagree_are_refused_with_their_accuracies():
    nodes = [node("MatMul", "x a", "auxiliary"), *SCORES]
    proto = described(nodes, {"w": W, "a": -W}, ["auxiliary", "scores"])
    with pytest.raises(UserError, match=r"auxiliary .* right for .*scores .*100\.0% .*--output-name"):
        chosen(proto)
    assert chosen(proto, output_name="scores")[0].outputs == ("scores",)
    with pytest.raises(UserError, match=r"'logit': there is no such output; the model's outputs are auxiliary"):
        chosen(proto, output_name="logit")


def labelled(last, constants=None, scores="p"):
    nodes = [*SCORES, node("ArgMax", "scores", "label", axis=1, keepdims=0), last]
    return described(nodes, {"w": W, **(constants or {})}, ["label", scores], {"label": TensorProto.INT64})


def test_scores_that_contradict_the_files_own_label_are_refused():
    proto = labelled(node("MatMul", "x o", "p"), {"o": RNG.standard_normal((6, 3)).astype(np.float32)})
    with pytest.raises(UserError, match="none of the model's outputs gives the labels"):
        chosen(proto)
    contract, _, found = chosen(proto, output_name="label")
    assert contract.returns == "label"
    np.testing.assert_array_equal(found.argmax(1), TRUTH)


def test_it_is_told_where_the_files_own_labels_are_not_its_largest_scores():
    """As of a support vector machine, which breaks ties by votes: accuracy by one is not accuracy by the other."""
    by_vote = W + np.float32(0.02) * RNG.standard_normal(W.shape).astype(np.float32)
    labels = (X @ by_vote).argmax(axis=1)
    differing = int((labels != TRUTH).sum())
    assert 0 < differing <= 2
    nodes = [*SCORES, node("MatMul", "x v", "votes"), node("ArgMax", "votes", "label", axis=1, keepdims=0)]
    proto = described(nodes, {"w": W, "v": by_vote}, ["label", "scores"], {"label": TensorProto.INT64})
    contract, said, _ = chosen(proto, truth=labels)
    assert contract.outputs == ("scores",)
    sentence = next(sentence for sentence in said if "the labels that the file returns in 'label'" in sentence)
    assert f"for {differing / 200:.1%} of 200 rows (right for 100.0% and {1 - differing / 200:.1%})" in sentence


def test_two_columns_in_reverse_are_turned():
    """As the scores of a binary support vector machine are converted."""
    truth = (X @ V > 0).astype(int)[:, 0]
    nodes = [
        node("MatMul", "x v", "s"),
        node("Neg", "s", "minus"),
        node("Concat", "s minus", "p", axis=1),
        node("ArgMin", "p", "label", axis=1, keepdims=0),
    ]
    proto = described(nodes, {"v": V}, ["label", "p"], {"label": TensorProto.INT64})
    contract, said, found = chosen(proto, truth, 2)
    assert contract.order == (1, 0)
    np.testing.assert_array_equal(found.argmax(1), truth)
    assert any("reverse order" in sentence for sentence in said)


@pytest.mark.parametrize("last", ["Sigmoid", "Identity"])
def test_one_number_is_the_second_of_two_classes(last, tmp_path):
    truth = (X @ V > 0).astype(int)[:, 0]
    proto = described([node("MatMul", "x v", "s"), node(last, "s", "p")], {"v": V}, ["p"])
    contract, _, found = chosen(proto, truth, 2)
    expected = 1 / (1 + np.exp(-(X @ V)[:, 0]))
    np.testing.assert_allclose(found, np.stack([1 - expected, expected], axis=1), atol=1e-6)
    onnx.save(proto, tmp_path / "m.onnx")
    assert twin_read_by(contract, tmp_path / "m.onnx").max_difference < 1e-6


def test_an_output_for_each_class_is_joined():
    nodes = [
        *SCORES,
        node("Softmax", "scores", "p", axis=1),
        *[node("Gather", f"p i{column}", f"c{column}", axis=1) for column in range(3)],
        node("ArgMax", "scores", "label", axis=1, keepdims=0),
    ]
    columns = {f"i{column}": np.array(column) for column in range(3)}
    proto = described(nodes, {"w": W, **columns}, ["label", "c0", "c1", "c2"], {"label": TensorProto.INT64})
    contract, _, found = chosen(proto)
    assert contract.layout == "parts"
    np.testing.assert_allclose(found, SOFTMAX, rtol=1e-5)


def test_probabilities_of_8_bits_are_probabilities(tmp_path):
    nodes = [
        *SCORES,
        node("Softmax", "scores", "exact", axis=1),
        node("QuantizeLinear", "exact step zero", "q"),
        node("DequantizeLinear", "q step zero", "p"),
    ]
    constants = {"w": W, "step": np.float32(1 / 255), "zero": np.uint8(0)}
    contract, said, found = chosen(described(nodes, constants, ["p"]))
    assert contract.returns == "probabilities"
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, SOFTMAX, atol=0.01)
    assert any("rounded" in sentence for sentence in said)


def test_the_last_convolution_of_a_network_may_keep_its_pixels():
    for pixels_last in ([-1, 3, 1, 1], [-1, 1, 1, 3]):
        nodes = [*SCORES, node("Reshape", "scores shape", "p")]
        proto = described(nodes, {"w": W, "shape": np.array(pixels_last)}, ["p"])
        np.testing.assert_allclose(chosen(proto)[2], SOFTMAX, rtol=1e-5)


def test_doubles_go_in_and_come_out(tmp_path):
    proto = model(
        [node("MatMul", "x w", "p")],
        {"w": W.astype(np.float64)},
        inputs={"x": ["N", 6]},
        outputs={"p": None},
        input_type=TensorProto.DOUBLE,
    )
    proto.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.DOUBLE, None))
    contract, _, found = chosen(proto)
    assert (contract.input_dtype, found.dtype) == ("float64", np.float64)
    onnx.save(proto, tmp_path / "m.onnx")
    assert twin_read_by(contract, tmp_path / "m.onnx").max_difference < 1e-6


def test_classes_are_those_that_the_graph_names():
    classifier = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "p"],
        domain="ai.onnx.ml",
        classlabels_strings=["high", "low", "mid"],
        coefficients=W.T.ravel().tolist(),
        intercepts=[0.0] * 3,
        multi_class=1,
        post_transform="SOFTMAX",
    )
    proto = described([classifier], {}, ["label", "p"], {"label": TensorProto.STRING})
    assert declared_classes(proto) == ("high", "low", "mid")
    contract, _, found = chosen(proto)
    assert contract.names == ("high", "low", "mid")
    np.testing.assert_allclose(found, SOFTMAX, rtol=1e-4)
