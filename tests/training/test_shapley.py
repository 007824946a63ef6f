"""captum's estimate against Shapley values by their definition."""

import numpy as np
import pytest
import torch
from exact_shapley import exact_shapley_values
from torch import nn

from edgepriv.models import Classifier
from edgepriv.training import shapley
from edgepriv.training.examples import Examples
from edgepriv.training.shapley import shapley_values


class _Additive(nn.Module):
    """log p(class 0) = -0.05 - sum of w x^2: no feature interacts with another."""

    weights = torch.tensor([0.1, 0.2, 0.0, 0.02, 0.3])

    def forward(self, x):
        log_p = -0.05 - (self.weights * x**2).sum(1)
        return torch.stack([log_p, (-log_p.expm1()).log()], dim=1)


@pytest.fixture
def members():
    generator = torch.Generator().manual_seed(1)
    return Examples(torch.rand(40, 5, generator=generator), torch.zeros(40, dtype=torch.int64))


@pytest.fixture
def network():
    torch.manual_seed(2)
    layers = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        layers[2].weight.mul_(4)
    return Classifier(layers, (0.5,) * 5, (0.3,) * 5).eval()


def exact(classifier, members):
    with torch.no_grad():
        predicted = classifier(members.x).argmax(1)
        return torch.stack(
            [
                exact_shapley_values(lambda z, k=k: classifier(z).log_softmax(1)[:, k], x, members.x)
                for x, k in zip(members.x, predicted, strict=True)
            ]
        )


def test_the_definition_is_efficient_and_symmetric():
    x, baselines = torch.tensor([1.0, 1.0, 3.0]), torch.zeros(1, 3)
    phi = exact_shapley_values(lambda z: z[:, 0] * z[:, 1] + 2 * z[:, 2], x, baselines)
    assert phi.tolist() == pytest.approx([0.5, 0.5, 6.0])


def test_features_that_add_up_get_their_shapley_values(members, monkeypatch):
    monkeypatch.setattr(shapley, "SAMPLES", 1000)
    classifier = _Additive()
    found = shapley_values(classifier, members, seed=0)
    torch.testing.assert_close(found, exact(classifier, members), rtol=0, atol=0.02)


def test_a_network_s_values_are_close_to_the_exact_ones(members, network, monkeypatch):
    wanted = exact(network, members)
    few = shapley_values(network, members, seed=0)
    assert np.corrcoef(few.flatten(), wanted.flatten())[0, 1] > 0.9
    monkeypatch.setattr(shapley, "SAMPLES", 1000)
    many = shapley_values(network, members, seed=0)
    assert np.corrcoef(many.flatten(), wanted.flatten())[0, 1] > 0.97
    assert (many - wanted).abs().mean() < (few - wanted).abs().mean()


def test_the_values_of_an_example_sum_to_what_it_gains_over_the_baselines(members, network, monkeypatch):
    monkeypatch.setattr(shapley, "SAMPLES", 1000)
    with torch.no_grad():
        answers = network(members.x).log_softmax(1)
    gains = answers.amax(1) - answers[:, answers.argmax(1)].mean(0)
    torch.testing.assert_close(shapley_values(network, members, seed=0).sum(1), gains, rtol=0, atol=0.15)


def test_equal_seeds_give_equal_values_and_leave_the_global_generators_alone(members, network):
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    expected = np.random.random(), torch.rand(1)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    first = shapley_values(network, members, seed=3)
    assert (np.random.random(), torch.rand(1)) == expected  # noqa: NPY002
    assert torch.equal(first, shapley_values(network, members, seed=3))
    assert not torch.equal(first, shapley_values(network, members, seed=4))


def test_images_of_bytes_keep_their_shape(toy, classifier):
    images = torch.from_numpy((toy.x[:30] * 255).astype(np.uint8))
    done = []
    found = shapley_values(classifier(), Examples(images, torch.zeros(30)), seed=0, after=done.append)
    assert found.shape == images.shape
    assert sum(done) == 30
