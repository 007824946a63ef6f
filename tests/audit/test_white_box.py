"""What whoever holds the weights sees, against autograd; and the inverse Hessian attack, against the authors' formula."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks import ATTACKS, Unavailable
from edgepriv.audit.attacks.white_box import MOST_WEIGHTS, iha, layer
from edgepriv.audit.evidence import Evidence, Queried
from edgepriv.audit.statistics import auc
from edgepriv.audit.weights import NoLastLayer, gradient_norms, last_layer_of

CLASSES, WIDTH, MEMBERS = 10, 24, 120


def small_network(steps):
    """Of random labels, learnt in ``steps`` steps; inputs, labels, and who of them was learnt from."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES)
    )
    x, y = torch.rand(2 * MEMBERS, 1, 8, 8), torch.randint(CLASSES, (2 * MEMBERS,))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        loss = functional.cross_entropy(network(x[:MEMBERS]), y[:MEMBERS])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval(), x.numpy(), y.numpy(), np.arange(2 * MEMBERS) < MEMBERS


def evidence_of(network, x, y):
    probabilities = network(torch.from_numpy(x)).softmax(1).detach().numpy()
    queried = {
        "last-layer": Queried(last_layer_of(network, x)),
        "gradient-norm": Queried(gradient_norms(network, x, y)[:, None]),
    }
    return Evidence(Outputs(probabilities, y), queried=queried)


def test_the_inputs_of_the_last_layer_and_gradients_are_those_of_autograd():
    network, x, y, _ = small_network(30)
    seen = last_layer_of(network, x)
    np.testing.assert_allclose(seen[:, CLASSES:], network[:-1](torch.from_numpy(x)).detach(), rtol=1e-5)
    norms, last = gradient_norms(network, x[:5], y[:5]), layer(seen[:5], y[:5], CLASSES)
    for i in range(5):
        network.zero_grad()
        functional.cross_entropy(network(torch.from_numpy(x[i : i + 1])), torch.tensor(y[i : i + 1])).backward()
        whole = np.sqrt(sum(float((parameter.grad.double() ** 2).sum()) for parameter in network.parameters()))
        assert norms[i] == pytest.approx(whole, rel=1e-5)
        by_class = last.gradients[i].reshape(CLASSES, WIDTH + 1)
        np.testing.assert_allclose(by_class[:, :-1], network[-1].weight.grad, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(by_class[:, -1], network[-1].bias.grad, rtol=1e-5, atol=1e-6)


def test_weights_that_are_used_twice_have_one_gradient():
    shared = nn.Linear(6, 6)
    network = nn.Sequential(shared, nn.Tanh(), shared)
    x, y = np.random.default_rng(0).random((1, 6), dtype=np.float32), np.array([2])
    functional.cross_entropy(network(torch.from_numpy(x)), torch.tensor(y)).backward()
    whole = np.sqrt(sum(float((parameter.grad.double() ** 2).sum()) for parameter in shared.parameters()))
    assert gradient_norms(network, x, y)[0] == pytest.approx(whole, rel=1e-5)


def test_a_network_that_does_not_end_in_a_linear_layer_is_said_to_be_such():
    x = np.random.default_rng(0).random((4, 6), dtype=np.float32)
    with pytest.raises(NoLastLayer, match="not the outputs of its last linear layer"):
        last_layer_of(nn.Sequential(nn.Linear(6, 3), nn.Tanh()), x)
    with pytest.raises(NoLastLayer, match="no linear layer"):
        last_layer_of(nn.Tanh(), x)


def authors_score(loss, gradient, hessian, all_data_gradient, samples, rate, damping):
    """``ProperTheoryRef.compute_scores`` of the authors' code for a member, by the eigenvectors that it inverts with."""
    values, vectors = torch.linalg.eigh(hessian)
    inverse = vectors @ torch.diag(1 / (values + damping)) @ vectors.T
    others = (all_data_gradient * samples - gradient) / (samples - 1)
    own, of_others = inverse @ gradient, inverse @ others
    second = torch.dot(own, own) / samples / rate
    third = torch.dot(of_others, own) * 2 / rate
    return float(loss - (second + third))


@pytest.mark.parametrize(("damping", "rate"), [(0.2, 0.1), (0.02, 1.0)])
def test_iha_is_the_authors_on_the_hessian_of_autograd(damping, rate):
    rng = np.random.default_rng(0)
    n, features, classes = 30, 5, 3
    h, y = torch.from_numpy(rng.normal(size=(n, features))), torch.from_numpy(rng.integers(classes, size=n))
    weights = torch.from_numpy(rng.normal(size=classes * (features + 1)))

    def losses(flat):
        matrix = flat.reshape(classes, features + 1)
        return functional.cross_entropy(h @ matrix[:, :-1].T + matrix[:, -1], y, reduction="none")

    hessian = torch.autograd.functional.hessian(lambda flat: losses(flat).mean(), weights)
    gradients = torch.autograd.functional.jacobian(losses, weights)
    expected = [
        authors_score(loss, gradient, hessian, gradients.mean(0), n, rate, damping)
        for loss, gradient in zip(losses(weights), gradients, strict=True)
    ]
    matrix = weights.reshape(classes, features + 1)
    logits = h @ matrix[:, :-1].T + matrix[:, -1]
    of = layer(np.column_stack([logits, h]), y.numpy(), classes)
    np.testing.assert_allclose(of.hessian(), hessian, atol=1e-12)
    scores = iha(of.losses, of.gradients, of.hessian(), of.gradients.mean(axis=0), n, damping=damping, rate=rate)
    np.testing.assert_allclose(scores, expected, atol=1e-8)


@pytest.mark.parametrize("name", ["inverse-hessian", "gradient-norm"])
def test_a_memorised_label_is_found_and_an_untrained_network_is_chance(name):
    learnt, untrained = small_network(120), small_network(0)
    member = learnt[3]
    assert auc(ATTACKS[name].run(evidence_of(*learnt[:3])), member)[0] > 0.95
    scores, rng, covered = ATTACKS[name].run(evidence_of(*untrained[:3])), np.random.default_rng(1), 0
    for _ in range(200):
        low, high = auc(scores, rng.permutation(member))[1]
        covered += low <= 0.5 <= high
    assert covered >= 0.9 * 200
    assert abs(auc(scores, member)[0] - 0.5) < 4 * 0.037


def test_a_layer_too_large_for_its_hessian_is_said_to_be():
    network, x, y, _ = small_network(0)
    evidence = evidence_of(network, x[:4], y[:4])
    wide = np.zeros((4, CLASSES + MOST_WEIGHTS // CLASSES + 1))
    with pytest.raises(Unavailable, match="more than the 3,000 whose Hessian is inverted"):
        ATTACKS["inverse-hessian"].run(replace(evidence, queried={"last-layer": Queried(wide)}))
