"""The noise of each member: every constraint checked by other means, and which gives way when all cannot hold."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from edgepriv.models import Classifier
from edgepriv.recipe import Noise, Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.examples import Examples
from edgepriv.training.noise import entropy, feature_bounds, least_noise, noisy_members, norm_bound
from edgepriv.training.shapley import shapley_values

STAGE = {"epochs": 15, "lr": 0.01, "batch_size": 32}
TEACHERS = {"cnn": {"width": 4}, "mlp": {"widths": [32]}}


@pytest.fixture(scope="module", params=TEACHERS)
def teacher(request, toy, split):
    recipe = Recipe(model={"name": request.param, "args": TEACHERS[request.param]}, train=STAGE)
    trained = new_classifier(recipe, 4, (1, 8, 8))
    run_stages(trained, recipe, ("train",), toy, split, quiet=True)
    return trained.eval()


@pytest.fixture
def members(examples, split):
    return examples(split.members)


def answers(teacher, x):
    """float64 [N, K], by NumPy."""
    with torch.no_grad():
        logits = teacher(x).double().numpy()
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def entropies(p):
    return -(p * np.log(np.maximum(p, 1e-300))).sum(1)


def radii(teacher, x):
    """(gap between the two largest logits) / (norm of its gradient), one example at a time."""
    found = []
    for one in x:
        one = one[None].clone().requires_grad_(True)
        logits = teacher(one)[0]
        first, second = logits.argsort(descending=True)[:2]
        gap = logits[first] - logits[second]
        gap.backward()
        found.append(gap.item() / one.grad.norm().item())
    return np.array(found)


def limits(teacher, members, noise):
    """Eq. 7, by NumPy."""
    phi = shapley_values(teacher, members, seed=0).numpy()
    largest = phi.reshape(len(phi), -1).max(1).reshape(-1, *(1,) * (phi.ndim - 1))
    return noise.eps * (1 - noise.beta * np.maximum(phi, 0) / largest)


@pytest.mark.parametrize("noise", [Noise(method="shapley"), Noise(method="shapley", eps=0.3, tau=0.6, beta=0.5)])
def test_every_constraint_holds_as_reported(teacher, members, noise):
    noisy, facts = noisy_members(teacher, members, noise, seed=0, quiet=True)
    eta = (noisy.x - members.x).numpy()
    before, after = answers(teacher, members.x), answers(teacher, noisy.x)
    norms = np.sqrt((eta**2).reshape(len(eta), -1).sum(1))
    reached = entropies(after) >= noise.tau
    assert noisy.x.min() >= 0
    assert noisy.x.max() <= 1
    assert (np.abs(eta) <= limits(teacher, members, noise) + 1e-5).all()
    assert (norms <= radii(teacher, members.x) + 1e-5).all()
    assert (before.argmax(1) == after.argmax(1)).all()
    assert (entropies(before) < noise.tau).mean() > 0.3, "else there is nothing to do"
    assert facts["share_entropy"] == pytest.approx(reached.mean(), abs=0.01)
    assert facts["share_all"] == facts["share_entropy"]
    assert [facts[f"share_{name}"] for name in ("label_kept", "feature_bounds", "norm_bound")] == [1, 1, 1]
    assert facts["mean_norm"] == pytest.approx(norms.mean(), abs=1e-5)
    assert facts["mean_entropy_before"] == pytest.approx(entropies(before).mean(), abs=1e-5)
    assert facts["mean_entropy_after"] == pytest.approx(entropies(after).mean(), abs=1e-5)
    assert facts["members"] == len(members)
    np.testing.assert_allclose(noisy.teacher.exp().numpy(), after, atol=1e-5)
    assert torch.equal(noisy.y, members.y)


def test_members_that_are_uncertain_already_get_no_noise(teacher, members):
    noise = Noise(method="shapley", tau=0.3, eps=0.5)
    noisy, _ = noisy_members(teacher, members, noise, seed=0, quiet=True)
    uncertain = torch.from_numpy(entropies(answers(teacher, members.x)) >= 0.3)
    assert torch.equal(noisy.x[uncertain], members.x[uncertain])
    assert (noisy.x[~uncertain] != members.x[~uncertain]).flatten(1).any(1).all()


@pytest.mark.parametrize("seed", range(4))
def test_no_solver_finds_much_smaller_noise(seed):
    """SLSQP from several starts, on a smooth network of six features."""
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
    with torch.no_grad():
        layers[2].weight.mul_(6)
    teacher = Classifier(layers, (0.5,) * 6, (0.3,) * 6).eval()
    x = 0.2 + 0.6 * torch.rand(300, 6)
    bounds, radius = torch.full_like(x, 0.15), norm_bound(teacher, x)
    eta = least_noise(teacher, x, bounds, radius, 0.5)
    reached = entropy(teacher(x + eta).detach()) >= 0.5
    moved = (reached & (eta.norm(dim=1) > 0)).nonzero().flatten()[:6].tolist()
    assert len(moved) >= 4
    for i in moved:

        def log_entropy(delta, i=i):
            with torch.no_grad():
                return float(entropy(teacher(x[i : i + 1] + torch.from_numpy(delta).float()[None])).log())

        starts = [eta[i].double().numpy(), *np.random.default_rng(i).uniform(-0.1, 0.1, (2, 6))]
        solved = [
            minimize(
                lambda d: (d**2).sum(),
                start,
                bounds=[(-0.15, 0.15)] * 6,
                constraints={"type": "ineq", "fun": lambda d: log_entropy(d) - np.log(0.5)},
                method="SLSQP",
                options={"eps": 1e-3},
            )
            for start in starts
        ]
        best = min(np.sqrt(s.fun) for s in solved if s.success and log_entropy(s.x) > np.log(0.5) - 1e-3)
        assert float(eta[i].norm()) < 1.1 * best + 2e-3


# --- when all cannot hold, the entropy gives way ---


@pytest.mark.parametrize("noise", [Noise(method="shapley", tau=5.0), Noise(method="shapley", tau=0.9, eps=0.01)])
def test_the_entropy_gives_way_and_comes_as_near_as_it_can(teacher, members, noise):
    noisy, facts = noisy_members(teacher, members, noise, seed=0, quiet=True)
    before, after = answers(teacher, members.x), answers(teacher, noisy.x)
    low = entropies(after) < noise.tau
    assert low.mean() > 0.3
    assert facts["share_all"] < 0.7
    assert (entropies(after)[low] > entropies(before)[low]).mean() > 0.99
    assert (before.argmax(1) == after.argmax(1)).all()
    assert (np.abs((noisy.x - members.x).numpy()) <= limits(teacher, members, noise) + 1e-5).all()
    assert facts["share_label_kept"] == facts["share_feature_bounds"] == facts["share_norm_bound"] == 1


def test_more_room_brings_the_entropy_nearer(teacher, members):
    found = [
        noisy_members(teacher, members, Noise(method="shapley", tau=1.3, eps=eps), seed=0, quiet=True)[1]
        for eps in (0.01, 0.05, 0.2)
    ]
    reached = [facts["mean_entropy_after"] for facts in found]
    assert reached == sorted(reached)
    assert found[0]["mean_norm"] < found[1]["mean_norm"]


# --- the bounds ---


def test_what_speaks_for_the_class_loses_budget_and_what_speaks_against_it_keeps_eps():
    phi = torch.tensor([[2.0, 1.0, 0.0, -4.0], [-1.0, -2.0, -3.0, 0.0]])
    found = feature_bounds(phi, 0.1, 0.8)
    torch.testing.assert_close(found, torch.tensor([[0.02, 0.06, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]]))


def test_the_norm_bound_of_a_linear_model_is_the_distance_to_its_boundary():
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]))
        layer.bias.zero_()
    x = torch.tensor([[1.0, 0.0, 0.7]])
    assert float(norm_bound(Classifier(layer, (0.0,) * 3, (1.0,) * 3), x)) == pytest.approx(3 / 5)


# --- the rest ---


def test_equal_arguments_give_equal_noise(teacher, members):
    noise = Noise(method="shapley")
    first, again, other = (noisy_members(teacher, members, noise, seed=seed, quiet=True)[0] for seed in (0, 0, 1))
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.teacher, again.teacher)
    assert not torch.equal(first.x, other.x)


def test_no_entropy_asked_for_is_no_noise(teacher, members):
    noisy, facts = noisy_members(teacher, members, Noise(method="shapley", tau=0.0), seed=0, quiet=True)
    assert torch.equal(noisy.x, members.x)
    assert (facts["mean_norm"], facts["share_all"]) == (0, 1)


def test_uniform_noise_has_one_budget_for_every_feature_and_no_other_bound(teacher, members):
    noisy, facts = noisy_members(teacher, members, Noise(method="uniform", eps=0.2), seed=0, quiet=True)
    inside = (members.x > 0.2) & (members.x < 0.8)
    eta = (noisy.x - members.x)[inside]
    assert eta.abs().max() <= 0.2 + 1e-6
    assert float(eta.mean()) == pytest.approx(0, abs=0.01)
    assert float(eta.std()) == pytest.approx(0.4 / 12**0.5, rel=0.02)
    assert (noisy.x.min(), noisy.x.max()) >= (0, 0)
    assert noisy.x.max() <= 1
    assert "share_all" not in facts
    assert torch.equal(
        noisy.x, noisy_members(teacher, members, Noise(method="uniform", eps=0.2), seed=0, quiet=True)[0].x
    )


def test_members_of_bytes_become_floats(teacher, toy, split):
    images = torch.from_numpy((toy.x[split.members] * 255).astype(np.uint8))
    members = Examples(images, torch.from_numpy(toy.y[split.members]))
    noisy, facts = noisy_members(teacher, members, Noise(method="shapley"), seed=0, quiet=True)
    assert noisy.x.dtype == torch.float32
    assert facts["share_label_kept"] == 1
