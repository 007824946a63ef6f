"""Parity is proven to the precision that float32 has where the logits are, and no looser than it is elsewhere."""

import numpy as np
import pytest
import torch

from edgepriv.artifact.export import export
from edgepriv.artifact.parity import TOLERANCE, prove_parity, tolerance_of
from edgepriv.artifact.session import open_session
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.models.small import MLP
from edgepriv.recipe import Quantize
from edgepriv.training import quantize_weights

X = np.random.default_rng(0).random((400, 20), dtype=np.float32)


def network():
    torch.manual_seed(0)
    return Classifier(MLP(5, (20,), (256, 128)), [0.5], [0.25])


def test_only_logits_that_round_by_more_widen_the_tolerance():
    assert tolerance_of(np.array([[800.0, -3.0]])) == TOLERANCE
    assert tolerance_of(np.array([[-np.inf, 3.0]])) == TOLERANCE
    assert tolerance_of(np.array([[8e4, -3.0]])) == pytest.approx(8e4 * 2**-23)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_dorefa_after_training_deploys_whatever_its_logits(bits, tmp_path):
    classifier = network()
    weights = quantize_weights(classifier.network, Quantize(bits=bits, quantizer="dorefa", granularity="tensor"))
    made = export(classifier, weights, input_shape=(20,), class_names="abcde", x=X, path=tmp_path / "model.onnx")
    assert made.parity.labels_changed == 0
    assert made.parity.max_difference <= made.parity.tolerance < 0.01


def test_another_network_is_still_refused(tmp_path):
    classifier = network()
    export(classifier, {}, input_shape=(20,), class_names="abcde", x=X, path=tmp_path / "model.onnx")
    with torch.no_grad():
        classifier.network.layers[-1].bias[0] += 0.002
    with pytest.raises(UserError, match="does not compute what was trained"):
        prove_parity(classifier, {}, open_session(tmp_path / "model.onnx"), X)
