"""Every quantizer and width computes in onnxruntime what it computes in torch, whatever the profile."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgepriv.artifact import export as exporting
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.export import export
from edgepriv.artifact.layers import layers
from edgepriv.models import Classifier
from edgepriv.models.lsq_steps import steps_of
from edgepriv.recipe import Export, Quantize
from edgepriv.training import quantize_weights
from edgepriv.training.quantization import attach_steps, widths
from edgepriv.training.quantizers import QUANTIZERS

PROFILES = ("latency", "memory", "portable")


def network(kind, wide=False):
    torch.manual_seed(0)
    if kind == "mlp":
        return Classifier(
            nn.Sequential(nn.Linear(40, 256 if wide else 16), nn.ReLU(), nn.Linear(256 if wide else 16, 3)),
            [0.0],
            [1.0],
        )
    convolutions = nn.Sequential(
        nn.Conv2d(2, 24, 3, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 48 if wide else 6, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48 if wide else 6, 3),
    )
    nn.init.normal_(convolutions[1].weight)  # of both signs: folding mirrors the grid
    return Classifier(convolutions, [0.5] * 2, [0.25] * 2)


SHAPES = {"mlp": (40,), "conv": (2, 9, 9)}
TRACED: dict[tuple, ir.Model] = {}


@pytest.fixture(autouse=True)
def traced_once(monkeypatch):
    """Tracing takes most of an export's time, and these networks are always the same."""
    trace = exporting.trace

    def remembered(classifier, input_shape):
        key = (input_shape, sum(parameter.numel() for parameter in classifier.parameters()))
        if key not in TRACED:
            TRACED[key] = trace(classifier, input_shape)
        return TRACED[key].clone()

    monkeypatch.setattr(exporting, "trace", remembered)


def shipped(kind, rule, profile, folder, wide=False, **settings):
    classifier = network(kind, wide).eval()
    x = np.random.default_rng(0).random((32, *SHAPES[kind]), dtype=np.float32)
    weights = quantize_weights(classifier.network, rule)
    done = export(
        classifier,
        weights,
        input_shape=SHAPES[kind],
        class_names=list("abc"),
        x=x,
        path=folder / "model.onnx",
        settings=Export(profile=profile, **settings),
    )
    return done, classifier, weights, x


def combinations():
    """Each quantizer with each width once in each profile; kinds and granularities take turns."""
    turn = 0
    for quantizer in QUANTIZERS:
        for bits in (2, 4, 8, 15 if quantizer == "famili-printed" else 16):
            for profile in PROFILES:
                turn += 1
                yield quantizer, bits, profile, ("conv", "mlp")[turn % 2], ("tensor", "channel")[turn // 2 % 2]


@pytest.mark.parametrize(("quantizer", "bits", "profile", "kind", "granularity"), list(combinations()))
def test_the_file_is_proven_to_compute_what_was_trained(quantizer, bits, profile, kind, granularity, tmp_path):
    rule = Quantize(bits=bits, quantizer=quantizer, granularity=granularity)
    done, *_ = shipped(kind, rule, profile, tmp_path)
    assert done.parity.max_difference < 1e-5


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("granularity", ["tensor", "channel", "block:16"])
@pytest.mark.parametrize(("kind", "bits"), [("mlp", 9), ("conv", 16)])
def test_nine_to_sixteen_bits_are_kept_as_uint16(kind, bits, granularity, profile, tmp_path):
    rule = Quantize(bits=bits, granularity=granularity)
    done, classifier, weights, x = shipped(kind, rule, profile, tmp_path, wide=True)
    model = onnx.load(done.path)
    for name, tensor in weights.items():
        assert tensor.integers.dtype == tensor.zero_point.dtype == np.uint16
        (stored,) = [entry for entry in model.graph.initializer if entry.name == name]
        assert stored.data_type == TensorProto.UINT16
    assert {layer.bits for layer in layers(model)} == {16}
    assert {layer.granularity for layer in layers(model)} <= {"tensor", "channel", "block"}
    expected = torch.from_numpy(x)
    with torch.no_grad():
        logits = DeployedModel.open(done.path).differentiable()(expected)
        plain = classifier(expected)
    np.testing.assert_allclose(logits.softmax(1), plain.softmax(1), atol=5e-2)
    (found,) = ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_allclose(found, logits.softmax(1), atol=1e-5)


def test_sixteen_bits_also_in_the_ort_format_and_computing_in_int8(tmp_path):
    for profile, compute in (("latency", "int8"), ("memory", "int8"), ("memory", "float32")):
        done, *_ = shipped("conv", Quantize(bits="0=16,*=8"), profile, tmp_path, wide=True, compute=compute, ort=True)
        assert done.ort["size_bytes"] > 0


def test_the_layers_before_the_last_k_are_float_in_training_and_in_the_file(tmp_path):
    rule = Quantize(bits=4, last_k=1)
    done, classifier, weights, _ = shipped("conv", rule, "latency", tmp_path)
    assert list(weights) == list(widths(classifier.network, rule)) == ["7.weight"]
    assert [layer.bits for layer in done.layers] == [32, 32, 4]
    assert set(done.left_float.values()) == {"the recipe leaves it at 32 bits"}
    assert list(widths(classifier.network, Quantize(bits=4, last_k=2, first_last=8)).values()) == [8, 8]
    assert len(widths(classifier.network, Quantize(bits=4, last_k=9))) == 3


@pytest.mark.parametrize(("bits", "stored"), [(4, 5), (8, 16)])
def test_the_printed_algorithm_is_stored_one_size_up(bits, stored, tmp_path):
    done, *_ = shipped("conv", Quantize(bits=bits, quantizer="famili-printed"), "latency", tmp_path)
    assert {layer.bits for layer in done.layers} == {stored}


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_learned_steps_are_the_scales_of_the_file_and_nothing_else_in_it(bits, granularity, tmp_path):
    rule = Quantize(bits=bits, quantizer="lsq", granularity=granularity)
    classifier = network("conv").eval()
    classifier.network[1] = nn.Identity()  # folding would change the scales
    attach_steps(classifier.network, rule)
    with torch.no_grad():
        for step in steps_of(classifier.network).values():
            step.mul_(torch.linspace(0.8, 1.2, len(step)))
    weights = quantize_weights(classifier.network, rule)
    done = export(
        classifier,
        weights,
        input_shape=SHAPES["conv"],
        class_names=list("abc"),
        x=np.random.default_rng(0).random((32, *SHAPES["conv"]), dtype=np.float32),
        path=tmp_path / "model.onnx",
        settings=Export(profile="portable"),
    )
    assert done.parity.max_difference < 1e-5
    assert not done.left_float
    stored = {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(done.path).graph.initializer}
    for name, tensor in weights.items():
        np.testing.assert_array_equal(tensor.scale, steps_of(classifier.network)[name].detach())
        assert any(np.array_equal(value.reshape(-1), tensor.scale) for value in stored.values())
    assert not [name for name in stored if "lsq" in name]
