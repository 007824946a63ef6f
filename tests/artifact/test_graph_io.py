"""What a file takes and returns: bytes or floats, probabilities, logits or labels, and all of it proven."""

import itertools
import json

import numpy as np
import onnx
import pytest
import torch
from nets import CLASSES, NETS, classifier_of, inputs_of, weights_of

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.describe import describe
from edgepriv.artifact.export import export
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.session import check_contract, open_session, predict
from edgepriv.errors import UserError
from edgepriv.recipe import Export

NAMES = [f"class {label}" for label in range(CLASSES)]
FORMS = list(itertools.product(("float32", "uint8"), ("probabilities", "logits", "label")))


@pytest.fixture(scope="module")
def table():
    classifier = classifier_of("table")
    return classifier, weights_of(classifier, 4), inputs_of("table")


@pytest.fixture(scope="module", params=FORMS, ids="-".join)
def shipped(request, table, tmp_path_factory):
    taken, returned = request.param
    path = tmp_path_factory.mktemp("forms") / "model.onnx"
    classifier, weights, x = table
    settings = Export(input=taken, output=returned)
    exported = export(
        classifier, weights, input_shape=NETS["table"][1], class_names=NAMES, x=x, path=path, settings=settings
    )
    return taken, returned, exported


def test_the_file_declares_its_forms_and_checks_as_onnx(shipped):
    taken, returned, exported = shipped
    onnx.checker.check_model(str(exported.path), full_check=True)
    facts = describe(DeployedModel.open(exported.path))
    assert facts["inputs"] == [{"name": "input", "type": "uint8" if taken == "uint8" else "float", "shape": ["N", 40]}]
    kind, shape = ("int64", ["N"]) if returned == "label" else ("float", ["N", CLASSES])
    assert facts["outputs"] == [{"name": returned, "type": kind, "shape": shape}]
    assert (facts.get("input"), facts.get("output")) == (
        None if taken == "float32" else taken,
        None if returned == "probabilities" else returned,
    )


def test_parity_is_of_what_the_form_can_show(shipped):
    _, returned, exported = shipped
    assert (exported.parity.n, exported.parity.labels_changed) == (64, 0)
    assert (exported.parity.max_difference is None) == (returned == "label")


def test_predict_reads_every_form(shipped, table):
    taken, returned, exported = shipped
    classifier, weights, x = table
    session = open_session(exported.path)
    contract = check_contract(session)
    assert (contract.returns, contract.input_dtype, contract.classes) == (returned, taken, CLASSES)
    seen = np.rint(x * 255).astype(np.float32) / 255 if taken == "uint8" else x
    expected = torch_probabilities(classifier, weights, seen)
    if returned == "label":
        expected = np.eye(CLASSES)[expected.argmax(axis=1)]
    np.testing.assert_allclose(predict(session, x), expected, atol=1e-5)


def test_the_twin_has_the_logits_and_gradients_of_every_form(shipped, table):
    exported = shipped[2]
    classifier, weights, x = table
    twin = DeployedModel.open(exported.path).differentiable()
    leaf = torch.from_numpy(x).requires_grad_()
    logits = twin(leaf)
    np.testing.assert_allclose(logits.softmax(dim=1).detach(), torch_probabilities(classifier, weights, x), atol=1e-5)
    logits[:, 0].sum().backward()
    assert leaf.grad.abs().max() > 1e-3, "bytes are scaled, not rounded, inside the twin"
    assert twin.max_difference < (1e-6 if exported.parity.max_difference is None else 1e-5)


def test_a_wrong_weight_shows_in_labels_too(table, tmp_path, monkeypatch):
    classifier, weights, x = table
    from edgepriv.artifact import export as module

    other = dict(weights)
    real = module.build_graph
    flipped = weights["head.weight"].integers[::-1].copy()
    other["head.weight"] = weights["head.weight"].__class__(
        flipped, weights["head.weight"].scale, weights["head.weight"].zero_point, 4
    )
    monkeypatch.setattr(module, "build_graph", lambda net, given, **options: real(net, other, **options))
    with pytest.raises(UserError, match=r"on 64 inputs [0-9]+ labels change"):
        export(
            classifier, weights, input_shape=(40,), class_names=NAMES, x=x, path=tmp_path / "m.onnx",
            settings=Export(output="label"),
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_the_metadata_of_default_forms_says_nothing_of_them(table, tmp_path):
    classifier, weights, x = table
    exported = export(classifier, weights, input_shape=(40,), class_names=NAMES, x=x, path=tmp_path / "m.onnx")
    metadata = {entry.key: entry.value for entry in onnx.load(exported.path).metadata_props}
    assert set(metadata) == {"edgepriv_version", "class_names", "bits", "profile"}
    assert json.loads(metadata["class_names"]) == NAMES
