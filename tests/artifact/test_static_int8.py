"""Activations on fixed grids: what computes on integers, from what the ranges come, and what is done where it does not pay."""

from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from nets import CLASSES, NETS, classifier_of, inputs_of, traced, weights_of
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgepriv.artifact import computing
from edgepriv.artifact.build import Built, build_graph
from edgepriv.artifact.computing import Calibration, Candidate, choices_of, in_order
from edgepriv.artifact.export import export, prove_integers, prove_runs
from edgepriv.artifact.layers import layers
from edgepriv.artifact.parity import torch_logits
from edgepriv.artifact.session import open_session, optimized_graph, predict
from edgepriv.artifact.twin import differentiable
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Export

STATIC = Export(compute="int8-static")
NAMES = [f"class {label}" for label in range(CLASSES)]


@cache
def static_file(name: str, bits: int | str = 4) -> Built:
    classifier = classifier_of(name)
    return build_graph(
        classifier,
        weights_of(classifier, bits),
        input_shape=NETS[name][1],
        class_names=NAMES,
        settings=STATIC,
        traced=traced(name),
        calibration=inputs_of(name, 64, seed=3),
    )


def executed(built: Built) -> Counter[str]:
    return Counter(node.op_type for node in optimized_graph(built.content).graph.node)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6])
def test_the_answers_are_those_of_the_float_activations_but_for_rounding(bits: int) -> None:
    classifier = classifier_of("convolutions")
    x = inputs_of("convolutions")
    expected = torch_logits(classifier, weights_of(classifier, bits), x).softmax(dim=1).numpy()
    actual = predict(open_session(static_file("convolutions", bits).content), x)
    # Batch norms with random factors make channels of very different size share a grid, as no trained network's do.
    assert 0 < np.abs(actual - expected).mean() < 0.03
    assert (actual.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.85


def test_products_and_what_joins_them_run_on_integers() -> None:
    built = static_file("convolutions")
    ops = executed(built)
    assert ops["QLinearConv"] == 7
    assert ops["QGemm"] == 2
    assert ops["Conv"] + ops["FusedConv"] + ops["Gemm"] + ops["HardSwish"] == 0
    assert ops["QLinearMul"] == 2  # hard swish and SiLU
    assert built.static is not None
    # What has no kernel is named: a batch norm before its convolution with the gate before it, paddings, and a GELU.
    assert {"BatchNormalization", "HardSigmoid", "Pad", "Gelu"} <= built.static.float_operators.keys()
    assert not {"HardSwish", "Add", "Sigmoid", "AveragePool"} & built.static.float_operators.keys()


class Gated(nn.Module):
    """A gate as in MobileNetV3, a rectifier whose input is read elsewhere too, and branches that are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 3)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        gated = nn.functional.hardswish(x) * nn.functional.hardsigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        x = nn.functional.relu6(self.last(torch.cat([gated, nn.functional.relu(x)], dim=1)))
        return self.head(x.mean((2, 3), keepdim=True).flatten(1))


def test_a_hard_sigmoid_costs_nothing_and_a_hard_swish_a_product() -> None:
    torch.manual_seed(0)
    classifier = Classifier(Gated(), [0.5] * 3, [0.3] * 3).eval()
    weights = weights_of(classifier, 4)
    x = np.random.default_rng(0).random((32, 3, 12, 12), dtype=np.float32)
    built = build_graph(classifier, weights, input_shape=(3, 12, 12), class_names=NAMES, settings=STATIC, calibration=x)
    assert built.static is not None
    assert dict(built.static.float_operators) == {"Softmax": 1}
    ops = executed(built)
    assert (ops["QLinearMul"], ops["QLinearConcat"], ops["HardSigmoid"], ops["Relu"]) == (2, 1, 0, 0)
    expected = torch_logits(classifier, weights, x).softmax(dim=1).numpy()
    np.testing.assert_allclose(predict(open_session(built.content), x), expected, atol=0.01)


def test_the_file_holds_standard_operators_that_mean_the_same_elsewhere() -> None:
    built = static_file("convolutions")
    model = onnx.load_from_string(built.content)
    assert {node.domain for node in model.graph.node} == {""}
    x = inputs_of("convolutions", 4)
    (reference,) = ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_allclose(reference, predict(open_session(built.content), x), atol=0.05)


def test_weights_take_their_bits_and_no_more() -> None:
    summaries = {
        summary.name: summary for summary in layers(onnx.load_from_string(static_file("convolutions").content))
    }
    assert {summary.bits for summary in summaries.values()} == {4}
    assert summaries["dilated.weight"].parameters == 12 * 12 * 9
    assert summaries["dilated.weight"].stored_bytes < 12 * 12 * 9 // 2 + 12 * 5 + 8


def test_tokens_keep_their_attention_in_float_and_multiply_on_integers() -> None:
    built = static_file("tokens")
    assert built.static is not None
    assert built.static.matrices >= 2
    prove_runs(built)
    assert "LayerNormalization" in built.static.float_operators


def test_what_16_bit_sums_may_not_hold_is_multiplied_in_float() -> None:
    built = static_file("table", "first=8,*=4")
    assert built.static is not None
    assert list(built.static.float_weights) == ["first.weight"]
    assert "16-bit sums" in built.static.float_weights["first.weight"]
    assert executed(built)["QGemm"] == 3


def test_a_dead_channel_keeps_its_bias() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    norm = network[1]
    with torch.no_grad():
        norm.weight[1], norm.bias[1] = 1e-20, 2.0
    classifier = Classifier(network, [0.0] * 3, [1.0] * 3).eval()
    weights = weights_of(classifier, 4)
    x = np.random.default_rng(0).random((16, 3, 8, 8), dtype=np.float32)
    built = build_graph(classifier, weights, input_shape=(3, 8, 8), class_names="abc", settings=STATIC, calibration=x)
    assert built.static is not None
    assert built.static.regridded == 1
    expected = torch_logits(classifier, weights, x).softmax(dim=1).numpy()
    np.testing.assert_allclose(predict(open_session(built.content), x), expected, atol=0.02)


def test_the_twin_rounds_as_the_file_does_and_has_gradients() -> None:
    built = static_file("convolutions")
    session = open_session(built.content)
    twin = differentiable(onnx.load_from_string(built.content), session)
    x = torch.from_numpy(inputs_of("convolutions", 32)).requires_grad_(True)
    logits = twin(x)
    np.testing.assert_allclose(logits.softmax(dim=1).detach().numpy(), predict(session, x.detach().numpy()), atol=0.05)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    assert (gradient.flatten(1).abs().sum(dim=1) > 0).all()
    assert any("QuantizeLinear" in name for name in twin.straight_through)


def test_a_file_whose_products_run_in_float_is_refused() -> None:
    static = static_file("convolutions").static
    assert static is not None
    with pytest.raises(UserError, match="would run 0 of 7 convolutions on integers"):
        prove_integers(onnx.ModelProto(), static)


def candidate(compute: str, ratio: float) -> Candidate:
    return Candidate(compute, Built(b"", 0, {}), ratio)


@pytest.mark.parametrize(
    ("asked", "static", "dynamic", "taken"),
    [
        ("int8", 0.3, 0.6, "int8-static"),
        ("int8", 1.8, 1.0, "int8-dynamic"),
        ("int8", 1.8, 1.3, "float32"),
        ("auto", 0.3, 0.6, "int8-static"),
        ("auto", 1.8, 0.99, "float32"),
    ],
)
def test_the_fastest_form_is_taken_and_none_that_loses(asked: str, static: float, dynamic: float, taken: str) -> None:
    candidates = [candidate("float32", 1.0), candidate("int8-static", static), candidate("int8-dynamic", dynamic)]
    assert in_order(candidates, asked)[0].compute == taken


def test_without_a_holdout_there_are_no_fixed_grids() -> None:
    weights = weights_of(classifier_of("table"), 4)
    assert choices_of(Export(compute="int8"), weights, None) == ["float32", "int8-dynamic"]
    with pytest.raises(UserError, match="never from members"):
        choices_of(STATIC, weights, None)
    with pytest.raises(UserError, match="layout of the profile latency"):
        choices_of(Export(profile="memory", compute="int8-static"), weights, Calibration(np.zeros((1, 40)), "holdout"))


def test_an_export_says_what_it_took_and_what_the_ranges_come_from(
    tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios = {"float32": 1.0, "int8-static": 0.4, "int8-dynamic": 0.9}
    monkeypatch.setattr(
        "edgepriv.artifact.export.compared",
        lambda built, x: [Candidate(name, one, ratios[name]) for name, one in built.items()],
    )
    classifier = classifier_of("convolutions")
    exported = export(
        classifier,
        weights_of(classifier, 6),
        input_shape=NETS["convolutions"][1],
        class_names=NAMES,
        x=inputs_of("convolutions", 200),
        path=tmp_path / "model.onnx",  # type: ignore[operator]
        settings=Export(compute="int8"),
        calibration=Calibration(inputs_of("convolutions", 64, seed=3), "privacy holdout"),
    )
    assert exported.compute is not None
    assert exported.compute["taken"] == "int8-static"
    assert exported.compute["activations"] == {
        "bits": 8, "ranges_from": "privacy holdout", "trained": False, "examples": 64, "method": computing.METHOD,
    }  # fmt: skip
    assert exported.parity.int8 is not None
    assert any("64 examples of the privacy holdout" in line for line in exported.compute["notes"])
    session = open_session(exported.path)
    assert session.get_modelmeta().custom_metadata_map["compute"] == "int8-static"
