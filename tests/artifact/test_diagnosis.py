"""Where a quantized file loses: a layer that was spoilt on purpose is the one that is named."""

import numpy as np
import onnx
import pytest
import torch
from foreign_nets import angle_classifier
from torch import nn

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.diagnosis import Truth, _lost, diagnosed, option_of
from edgepriv.artifact.foreign_export import pack_graph
from edgepriv.artifact.foreign_inputs import random_examples, read_by
from edgepriv.artifact.layer_pairs import Side, decibels, powers
from edgepriv.artifact.layers import layers
from edgepriv.artifact.sensitivity import Overridable
from edgepriv.artifact.session import check_contract, started
from edgepriv.artifact.trace import trace
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Export, Quantize, bit_rules
from edgepriv.training.quantization import quantize_weights

RULE = Quantize(bits="second=2,*=8")


class Network(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.second, self.third = nn.Conv2d(16, 64, 3, padding=1), nn.Linear(64 * 4, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = torch.nn.functional.max_pool2d(torch.relu(self.second(x)), 4)
        return self.third(x.flatten(1))


def side(content, name="a file"):
    content = content if isinstance(content, bytes) else content.SerializeToString()
    model = onnx.load_from_string(content)
    return Side(model, check_contract(started(content, name), np.zeros((2, 3, 8, 8), np.float32)), name)


@pytest.fixture(scope="module")
def made():
    classifier = Classifier(Network(0), mean=(0.5,), std=(0.5,)).eval()
    traced = trace(classifier, (3, 8, 8))
    x = np.random.default_rng(0).random((40, 3, 8, 8), dtype=np.float32)

    def build(weights, **settings):
        return build_graph(
            classifier,
            weights,
            input_shape=(3, 8, 8),
            class_names=list("abcde"),
            settings=Export(**settings),
            traced=traced.clone(),
            calibration=x,
        ).content

    return build, quantize_weights(classifier.network, RULE), x, side(build({}), "float")


@pytest.mark.parametrize(
    "settings",
    [{"profile": "latency"}, {"profile": "memory"}, {"profile": "portable"}, {"compute": "int8-static"}],
    ids=lambda settings: "-".join(settings.values()),
)
def test_the_layer_of_two_bits_is_found_in_every_layout(made, settings):
    build, weights, x, floating = made
    deployed = side(build(weights, **settings))
    result = diagnosed(deployed, floating, layers(deployed.model), x, floating_labels(floating, x))
    by_name = {row["name"]: row for row in result["layers"]}
    assert list(by_name) == ["first", "second", "third"]
    assert result["widen"]["layers"][0]["name"] == "second"
    assert by_name["second"]["own_snr_db"] < 20 < by_name["first"]["own_snr_db"]
    assert by_name["second"]["snr_db"] <= by_name["second"]["own_snr_db"] + 0.1
    assert by_name["third"]["snr_db"] < by_name["third"]["own_snr_db"]  # behind a layer that is noisy
    assert result["widen"]["after"]["divergence"] < result["divergence"] / 4
    widen = result["widen"]
    assert (widen["chosen_on"], widen["told_on"], widen["others"]) == (len(x) // 2, len(x) - len(x) // 2, True)
    assert result["accuracy"]["float"] == 1.0
    assert not any(row["trained"] for row in result["layers"])


def floating_labels(floating, x):
    session = started(floating.model.SerializeToString(), "float")
    return session.run(None, {session.get_inputs()[0].name: x})[0].argmax(1)


def test_the_ratio_is_that_of_the_outputs(made):
    """Checked against torch, with the weights of one layer rounded."""
    build, weights, x, floating = made
    deployed = side(build(weights))
    result = diagnosed(deployed, floating, layers(deployed.model), x, None)
    network = Network(0).eval()
    with torch.no_grad():
        at = (torch.from_numpy(x) - 0.5) / 0.5
        at = torch.relu(network.norm(network.first(at)))
        before = torch.relu(network.second(at))
        network.second.weight[:] = torch.from_numpy(weights["second.weight"].dequantize())
        after = torch.relu(network.second(at))
    expected = decibels(*powers(before.numpy(), after.numpy()))
    [second] = [row for row in result["layers"] if row["name"] == "second"]
    assert second["own_snr_db"] == pytest.approx(expected, abs=0.01)
    assert "no labels" in result["notes"][0]
    assert (result["accuracy"], second["points"]) == (None, None)


def test_a_foreign_file_is_compared_with_batch_norms_folded_and_matrices_turned():
    model = angle_classifier()
    session = started(model.SerializeToString(), "angle")
    x = random_examples(session, (3, 8, 8), 8)
    contract = read_by(session, x, None)[0]
    packed = pack_graph(model, Quantize(bits=4), Export())
    deployed = onnx.load_from_string(packed.content)
    result = diagnosed(Side(deployed, contract, "packed"), Side(model, contract, "float"), layers(deployed), x, None)
    assert [row["name"] for row in result["layers"]] == ["conv0.w", "se.w", "fc.w"]
    assert all(8 < row["own_snr_db"] < 60 and row["snr_db"] is not None for row in result["layers"])


def test_another_network_and_another_training_are_refused(made):
    build, weights, x, _ = made
    deployed = side(build(weights), "model.onnx")
    other = angle_classifier()
    session = started(other.SerializeToString(), "angle")
    with pytest.raises(UserError, match="not of one network"):
        diagnosed(
            deployed, Side(other, read_by(session, x[:4], None)[0], "other.onnx"), layers(deployed.model), x[:4], None
        )
    own = Classifier(Network(1), mean=(0.5,), std=(0.5,)).eval()
    again = build_graph(own, {}, input_shape=(3, 8, 8), class_names=list("abcde")).content
    with pytest.raises(UserError, match=r"are of another training.*model.pt"):
        diagnosed(deployed, side(again, "again.onnx"), layers(deployed.model), x, None)


def test_the_option_gives_some_more_bits_and_leaves_the_others():
    option = option_of({"a": 4, "b": 4, "c": 4, "d": 8, "e,[1]": 4}, {"e,[1]": 8})
    assert option == "e??1?=8,d=8,*=4"
    assert dict(bit_rules(option)) == {"e??1?": 8, "d": 8, "*": 4}
    assert option_of({"a": 4}, {"a": 8}) == "a=8,*=8"


def test_records_of_few_persons_widen_the_interval():
    y = np.zeros(400, np.int64)
    before, after = np.eye(2)[y], np.eye(2)[(np.arange(400) < 40).astype(int)]
    alone, persons = (_lost(before, after, Truth(y, groups)) for groups in (None, np.arange(400) // 20))
    assert alone["points"] == persons["points"] == 10
    assert np.ptp(persons["ci"]) > 2 * np.ptp(alone["ci"])


def test_what_more_bits_bring_is_told_of_inputs_that_chose_nothing(made, monkeypatch):
    """Half of the inputs choose, whole persons: what is told of the proposal is measured on the others alone."""
    build, weights, x, floating = made
    deployed = side(build(weights))
    persons = np.arange(len(x)) // 4
    asked = []
    probabilities = Overridable.probabilities
    monkeypatch.setattr(
        Overridable, "probabilities", lambda self, x, *rest: asked.append(x) or probabilities(self, x, *rest)
    )
    result = diagnosed(deployed, floating, layers(deployed.model), x, floating_labels(floating, x), persons)
    places = {row.tobytes(): place for place, row in enumerate(x)}
    told = {places[row.tobytes()] for row in asked[-1]}
    assert len(told) == result["widen"]["told_on"] < len(x)
    assert not {persons[place] for place in told} & {persons[place] for place in set(range(len(x))) - told}
    few = diagnosed(deployed, floating, layers(deployed.model), x[:1], None)
    assert not few["widen"]["others"]
    assert any("too few to choose layers" in note for note in few["notes"])
