"""A head in the file: proven in every profile, cut off by name, left out of the twin."""

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.export import export
from edgepriv.artifact.head import bytes_of, head_of, without_head
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.session import open_session, predict
from edgepriv.heads.masks import build, masked
from edgepriv.models import build_classifier
from edgepriv.recipe import Export, Model, Quantize
from edgepriv.training import load_quantized, quantize_weights

X = np.random.default_rng(0).random((60, 1, 8, 8), dtype=np.float32)


@pytest.fixture
def exported(tmp_path):
    """(path, plain probabilities, head) of a small 4-bit network behind a head."""
    torch.manual_seed(0)
    classifier = build_classifier(Model(name="cnn", args={"width": 4}), 6, (1, 8, 8)).eval()
    weights = quantize_weights(classifier.network, Quantize(bits=4))
    load_quantized(classifier.network, weights)

    def exported(method, **settings):
        head = build(method, 6).eval()
        path = tmp_path / "model.onnx"
        found = export(
            classifier,
            weights,
            input_shape=(1, 8, 8),
            class_names=list("abcdef"),
            x=X,
            path=path,
            settings=Export(**settings),
            head=head,
        )
        assert found.parity.head is not None
        assert found.parity.head.n == len(X)
        return path, torch_probabilities(classifier, weights, X), head

    return exported


@pytest.mark.parametrize("method", ["rank", "nonmember"])
@pytest.mark.parametrize("profile", ["latency", "memory", "portable"])
def test_every_profile_answers_through_the_head_and_without_it_once_cut(exported, method, profile):
    path, plain, head = exported(method, profile=profile)
    assert head_of(onnx.load(path)) == head.kind
    assert np.allclose(predict(open_session(path), X), masked(head, plain), atol=1e-5)
    cut = bytes_of(without_head(onnx.load(path)))
    assert head_of(onnx.load_from_string(cut)) is None
    assert b"head/" not in cut
    assert np.allclose(predict(open_session(cut), X), plain, atol=1e-5)


def test_a_file_of_labels_can_be_cut_as_well(exported):
    path, plain, head = exported("nonmember", output="label")
    labels = predict(open_session(path), X).argmax(1)
    assert (labels == masked(head, plain).argmax(1)).all()
    assert (labels != plain.argmax(1)).any()  # random weights: this head changes labels
    assert (predict(open_session(bytes_of(without_head(onnx.load(path)))), X).argmax(1) == plain.argmax(1)).all()


def test_the_reference_implementation_ranks_alike(exported):
    path, plain, head = exported("rank", profile="portable")
    (found,) = ReferenceEvaluator(str(path)).run(None, {"input": X})
    assert np.allclose(found, masked(head, plain), atol=1e-5)


def test_ties_break_as_argmax_breaks_them(exported):
    path, _, head = exported("rank")
    zeros = np.zeros((2, 6), np.float32)
    tied = onnx.load(path)
    inside = [node for node in tied.graph.node if node.name.startswith("head/")]
    constants = [tensor for tensor in tied.graph.initializer if tensor.name.startswith("head/")]
    given = onnx.helper.make_tensor_value_info("head/input", onnx.TensorProto.FLOAT, ["N", 6])
    graph = onnx.helper.make_graph(inside, "head", [given], list(tied.graph.output), constants)
    alone = onnx.helper.make_model(graph, opset_imports=tied.opset_import, ir_version=10)
    (found,) = open_session(alone.SerializeToString()).run(None, {"head/input": zeros})
    assert (found == head.values.numpy()).all()


@pytest.mark.parametrize("method", ["rank", "member"])
def test_the_twin_gives_the_logits_before_the_head(exported, method):
    path, plain, _ = exported(method)
    twin = DeployedModel.open(path).differentiable()
    inputs = torch.from_numpy(X).requires_grad_()
    logits = twin(inputs)
    assert np.allclose(logits.softmax(1).detach().numpy(), plain, atol=1e-5)
    logits[:, 0].sum().backward()
    assert (inputs.grad != 0).any()
