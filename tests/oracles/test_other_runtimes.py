"""The shipped bytes in runtimes that share no code with onnxruntime.

Tolerance 1e-5 of a probability: float32 sums in another order. OpenVINO is told to compute in float32 and not to quantize
activations by itself, which its CPU plugin does by default for quantized matrix products.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.recipe import Export, Quantize
from edgepriv.training.quantization import quantize_weights

sys.path.append(str(Path(__file__).parents[1] / "artifact"))

from nets import CLASSES, NETS, classifier_of, inputs_of

TOLERANCE = 1e-5
NAMES = [f"class {label}" for label in range(CLASSES)]


def shipped(name, rule, profile, **forms):
    classifier = classifier_of(name)
    weights = quantize_weights(classifier.network, rule)
    settings = Export(profile=profile, **forms)
    file = build_graph(classifier, weights, input_shape=NETS[name][1], class_names=NAMES, settings=settings)
    x = inputs_of(name, 4)
    return file.content, x, torch_probabilities(classifier, weights, x)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("granularity", ["channel", "block:16"])
@pytest.mark.parametrize("profile", ["portable", "latency"])
def test_the_reference_evaluator_of_onnx(name, granularity, profile):
    content, x, expected = shipped(name, Quantize(bits=4, granularity=granularity), profile)
    found = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"input": x})[0]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("profile", "granularity"), [("portable", "channel"), ("portable", "block:16"), ("latency", "channel")]
)
def test_openvino(profile, granularity):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    content, x, expected = shipped("convolutions", Quantize(bits=4, granularity=granularity), profile)
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    found = core.compile_model(core.read_model(content), "CPU", exact)(x)[0]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
