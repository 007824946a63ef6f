"""Activations that are rounded in training: where, on what ranges, and that the file rounds the same."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgepriv.artifact.activation_places import activation_places
from edgepriv.artifact.build import build_graph
from edgepriv.artifact.calibration import TrainedRanges
from edgepriv.artifact.parity import prove_rounded, torch_logits
from edgepriv.artifact.session import open_session, predict
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.models import Checkpoint, Classifier, checkpoint
from edgepriv.models.rounded_activations import (
    RANGES,
    Kind,
    attach,
    exact_activations,
    ranges_of,
    rounded,
    seen_ranges,
    watch,
)
from edgepriv.recipe import Export, Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.quantization import quantize_weights
from edgepriv.training.ranges import watched_of

SHAPE = (3, 12, 12)
NAMES = ("a", "b", "c")
RECIPE = Recipe().with_changes(quantize={"bits": 4}, qat={"epochs": 1, "activations": 8})


class Everything(nn.Module):
    """A norm behind a convolution, a residual, a gate, branches, an activation in place and one that is two operators."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.again, self.gate, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 3)
        self.fc, self.drop, self.head = nn.Linear(8, 12), nn.Dropout(0.2), nn.Linear(12, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.stem(x)))
        x = self.relu(x + functional.silu(self.again(x)))
        gated = functional.hardswish(x) * functional.hardsigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        x = functional.max_pool2d(functional.relu6(self.last(torch.cat([gated, x], dim=1))), 2)
        return self.head(self.drop(self.relu(self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1)))))


@pytest.fixture(scope="module")
def watched():
    """A classifier of ``Everything`` that rounds, its integers, and its file."""
    torch.manual_seed(0)
    classifier = Classifier(Everything(), [0.45, 0.5, 0.4], [0.25, 0.3, 0.2]).eval()
    with torch.no_grad():  # so that there are labels of every class
        classifier.network.head.bias -= classifier(torch.rand(64, *SHAPE)).mean(0)
    attach(classifier.network, activation_places(classifier, RECIPE, SHAPE))
    weights = quantize_weights(classifier.network, RECIPE.quantize)
    numbers = {name: torch.from_numpy(tensor.dequantize()) for name, tensor in weights.items()}
    ends = classifier.normalised(torch.stack([torch.zeros(SHAPE), torch.ones(SHAPE)]))
    watch(classifier.network, numbers, classifier.normalised(torch.rand(64, *SHAPE)), ends)
    return classifier, weights


def file_of(classifier, weights, calibration):
    with exact_activations(classifier.network):
        built = build_graph(
            classifier,
            weights,
            input_shape=SHAPE,
            class_names=NAMES,
            settings=Export(compute="int8-static"),
            calibration=calibration,
        )
    return open_session(built.content)


def test_torch_rounds_where_the_file_does(watched):
    classifier, weights = watched
    x = np.random.default_rng(0).random((128, *SHAPE), dtype=np.float32)
    file = predict(file_of(classifier, weights, TrainedRanges(seen_ranges(classifier.network), 64)), x)
    rounding = torch_logits(classifier, weights, x).softmax(1).numpy()
    with exact_activations(classifier.network):
        floating = torch_logits(classifier, weights, x).softmax(1).numpy()
    assert np.abs(file - rounding).mean() < 0.4 * np.abs(file - floating).mean()


def test_a_range_that_is_not_the_trained_one_is_noticed(watched):
    classifier, weights = watched
    x = np.random.default_rng(1).random((128, *SHAPE), dtype=np.float32)
    ranges = seen_ranges(classifier.network).copy()
    ranges[:, 1] *= 0.3
    with pytest.raises(UserError, match="does not round activations as training did"):
        prove_rounded(classifier, weights, file_of(classifier, weights, TrainedRanges(ranges, 64)), x)
    with pytest.raises(UserError, match="trained to round"):
        file_of(classifier, weights, TrainedRanges(ranges[1:], 64))


def test_what_is_made_of_the_input_alone_spans_what_any_input_gives(watched):
    network = watched[0].network
    kinds = network._buffers["activation_places"][:, 1].tolist()
    bounded = ranges_of(network)[kinds.index(Kind.BOUNDED_INPUT)]
    np.testing.assert_allclose(bounded, [-2.0, 3.0], atol=1e-6)


def test_codes_are_those_of_the_standard_and_gradients_pass_straight_through():
    x = torch.tensor([-9.0, -0.5, 0.04, 0.26, 99.0], requires_grad=True)
    y = rounded(x, 0.1, 5)
    y.sum().backward()
    torch.testing.assert_close(y.detach(), torch.tensor([-0.5, -0.5, 0.0, 0.3, 25.0]))
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.attention = nn.Conv2d(3, 8, 4, stride=4), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def test_what_torch_computes_in_one_large_call_is_refused():
    with pytest.raises(UserError, match="inside a larger call: leave out --qat-activations"):
        activation_places(Classifier(Attention(), [0.0] * 3, [1.0] * 3), RECIPE, SHAPE)


def test_a_network_without_products_of_integers_is_refused():
    wide = RECIPE.with_changes(quantize={"bits": 8})
    with pytest.raises(UserError, match="no layer of this network would compute on integers"):
        activation_places(Classifier(Everything(), [0.0] * 3, [1.0] * 3), wide, SHAPE)


@pytest.fixture(scope="module")
def toy():
    draw = np.random.default_rng(0)
    return Dataset("toy", draw.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8), np.arange(60) % 3, NAMES)


SPLIT = Split(0, *np.split(np.arange(60), [24, 34, 44, 54]))


def trained(toy, split, resume_file=None, epochs=2, **changes):
    recipe = RECIPE.with_changes(model={"name": "mlp", "args": {"widths": [16, 12]}}, qat={"epochs": epochs}, **changes)
    classifier = new_classifier(recipe, 3, toy.input_shape)
    run_stages(classifier, recipe, ("qat",), toy, split, quiet=True, resume_file=resume_file, places=activation_places)
    return recipe, classifier


def test_ranges_are_what_the_holdout_gives_and_nobody_else(toy):
    recipe, classifier = trained(toy, SPLIT)
    assert watched_of(toy, SPLIT).role == "privacy holdout"
    inputs = classifier.normalised(torch.from_numpy(toy.inputs(SPLIT.holdout))).flatten(1)
    weight = quantize_weights(classifier.network, recipe.quantize)["layers.0.weight"].dequantize()
    with torch.no_grad():
        seen = (inputs @ torch.from_numpy(weight).T + classifier.network.layers[0].bias).relu()
    np.testing.assert_allclose(ranges_of(classifier.network)[0], [0.0, float(seen.max())], rtol=1e-5)


def test_ranges_are_kept_with_the_weights(toy, tmp_path):
    recipe, classifier = trained(toy, SPLIT)
    checkpoint.save(tmp_path / "model.pt", Checkpoint({}, NAMES, toy.input_shape, recipe).with_weights(classifier))
    read = checkpoint.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(ranges_of(read.classifier().network), ranges_of(classifier.network))
    x = torch.rand(5, *toy.input_shape)
    torch.testing.assert_close(read.classifier()(x), classifier(x))
    # Weights that are rounded otherwise give other activations.
    assert RANGES not in read.with_recipe(recipe.with_changes(quantize={"bits": 5})).state_dict


def test_a_killed_run_goes_on_to_the_same_bits(toy, tmp_path, dies_after):
    _, whole = trained(toy, SPLIT, epochs=3)
    dies_after(1, trained, toy, SPLIT, tmp_path / "run", epochs=3)
    _, resumed = trained(toy, SPLIT, tmp_path / "run", epochs=3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_private_training_rounds_too(toy):
    _, classifier = trained(toy, SPLIT, dp={"epsilon": 8.0, "total": 16.0}, train={"epochs": 1})
    assert ranges_of(classifier.network) is not None


def test_without_non_members_it_is_refused(toy):
    alone = Split(0, SPLIT.members, SPLIT.non_members, SPLIT.reference, SPLIT.holdout[:0], SPLIT.validation[:0])
    with pytest.raises(UserError, match="never from members"):
        trained(toy, alone)
