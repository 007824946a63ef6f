"""Training behind fixed features: computed once or for each batch, the weights are the same; the filters stay, and ship."""

import numpy as np
import pytest
import torch

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.session import started
from edgepriv.errors import UserError
from edgepriv.recipe import Quantize, Recipe
from edgepriv.training import featured, load_quantized, new_classifier, quantize_weights
from edgepriv.training.examples import Examples
from edgepriv.training.featured import behind_features, features_of, unchanged_inputs
from edgepriv.training.held import layers_of
from edgepriv.training.loop import fit
from edgepriv.training.quantization import refuse_unmatched, widths
from edgepriv.training.task import task_of

SHAPE = (1, 12, 12)
RECIPE = Recipe(
    model={"name": "linear", "features": "scattering"},
    train={"epochs": 2, "batch_size": 16, "lr": 0.05},
)


@pytest.fixture
def members():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (40,), generator=generator)
    return Examples(torch.rand(40, *SHAPE, generator=generator) * (y.view(-1, 1, 1, 1) + 1) / 3, y)


def task(recipe, classifier):
    return task_of(classifier.network, recipe, "train", SHAPE)


def test_features_that_are_computed_once_train_the_same_weights(members):
    whole, cached = (new_classifier(RECIPE, 3, SHAPE) for _ in range(2))
    fit(whole, members, task(RECIPE, whole), seed=0)
    assert unchanged_inputs(cached, task(RECIPE, cached), members)
    fit(behind_features(cached), features_of(cached, members, quiet=True), task(RECIPE, cached), seed=0)
    fresh = new_classifier(RECIPE, 3, SHAPE).state_dict()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(cached.state_dict()[name], value, rtol=1e-3, atol=1e-4)
        assert torch.equal(value, fresh[name]) == (not name.startswith("network.head"))  # the filters stay


@pytest.mark.parametrize(
    "change",
    [{"train": {"augment": "crop"}}, {"train": {"adversarial": True}, "adversary": {"method": "pgd", "eps": 0.1}}],
)
def test_where_inputs_are_changed_features_are_of_each_batch(members, change):
    recipe = RECIPE.with_changes(**change)
    classifier = new_classifier(recipe, 3, SHAPE)
    assert not unchanged_inputs(classifier, task(recipe, classifier), members)
    before = classifier.network.head.fc.weight.detach().clone()
    fit(classifier, members, task(recipe, classifier), seed=0)
    assert not torch.equal(classifier.network.head.fc.weight, before)


def test_features_that_do_not_fit_are_not_kept(members, monkeypatch):
    classifier = new_classifier(RECIPE, 3, SHAPE)
    monkeypatch.setattr(featured, "_MOST_BYTES", 4 * 40 * 81 * 9 - 1)
    assert not unchanged_inputs(classifier, task(RECIPE, classifier), members)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(4, 8), (12, 12), ("features.*=6,*=4", 6), ("head.*=4", 32), (32, 32)],
)
def test_the_filters_have_bits_of_their_own(bits, expected):
    network = new_classifier(RECIPE, 3, SHAPE).network
    integers = quantize_weights(network, Quantize(bits=bits, quantizer="dorefa"))
    assert {own.bits for name, own in integers.items() if name.startswith("features.")} == ({expected} - {32})
    assert list(widths(network, Quantize(bits=4))) == ["head.fc.weight"]
    assert list(layers_of(network)) == ["head.fc"]


def test_only_layers_that_are_trained_are_counted():
    network = new_classifier(RECIPE, 3, SHAPE).network
    with pytest.raises(UserError, match="the model has 1 layers that can be quantized"):
        refuse_unmatched(network, Quantize(bits=4, last_k=2))


@pytest.mark.parametrize("profile", ["latency", "memory", "portable"])
def test_the_file_computes_features_and_answers(profile):
    classifier = new_classifier(RECIPE, 3, SHAPE).eval()
    weights = quantize_weights(classifier.network, Quantize(bits=4))
    settings = Recipe(export={"profile": profile}).export
    built = build_graph(classifier, weights, input_shape=SHAPE, class_names=["a", "b", "c"], settings=settings)
    load_quantized(classifier.network, weights)
    x = torch.rand(5, *SHAPE)
    x[:2, :, 4:] = 0.0  # flat, as the margins of real images are
    session = started(built.content, profile)
    with torch.no_grad():
        expected = classifier(x).softmax(1).numpy()
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], expected, atol=1e-4)
