"""Each symptom of a figure that flatters is provoked and named; what fools the model is found all the same."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.audit.evasion import apgd, attacks, fab, robustness, square, without_gradients

RNG = np.random.default_rng(0)
WEIGHT = torch.from_numpy(RNG.standard_normal((8, 4)).astype(np.float32))
X = RNG.uniform(0.3, 0.7, (100, 8)).astype(np.float32)
EPS = 0.06


class Network(nn.Module):
    """A linear model whose inputs and logits go through two functions."""

    def __init__(self, of_logits=lambda logits: logits, of_inputs=lambda x: x, classes=4):
        super().__init__()
        self.of_logits, self.of_inputs, self.classes = of_logits, of_inputs, classes

    def forward(self, x):
        return self.of_logits((self.of_inputs(x) - 0.5) @ WEIGHT[:, : self.classes])


def served(model):
    return lambda x: model(torch.from_numpy(np.ascontiguousarray(x))).softmax(dim=1).detach().numpy()


Y = served(Network())(X).argmax(axis=1)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(square, "QUERIES", 100)
    monkeypatch.setattr(apgd, "STEPS", 30)
    monkeypatch.setattr(fab, "STEPS", 15)


def symptoms(found):
    return [line.split(":")[0] for line in found["warnings"]]


def audited(twin, predict=None, x=X, y=Y, level="quick", eps=EPS, **given):
    return robustness(twin, predict or served(twin), x, y, norm="linf", eps=eps, level=level, **given)


def test_a_slope_that_is_too_small_to_matter():
    """A nearly flat function before a steep one: float32 keeps a slope, and it leads nowhere."""

    def flat(logits):
        return 5 * logits.detach().sign() + 1e-6 * logits

    found = audited(Network(flat), served(Network()))
    assert "tiny gradients" in symptoms(found)
    assert "(--robust autoattack runs Square)" in " ".join(found["warnings"])


def test_fewer_classes_than_the_targeted_loss_needs():
    model = Network(classes=3)
    found = audited(model, y=served(model)(X).argmax(axis=1), level="autoattack")
    assert symptoms(found) == ["too few classes"]
    assert "needs 4, the model has 3" in found["warnings"][0]


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.41), ("l2", 0.41 * np.sqrt(8))])
def test_a_radius_as_large_as_the_range_of_the_data(norm, eps):
    found = robustness(Network(), served(Network()), X, Y, norm=norm, eps=eps)
    assert any("is as large as the data's range" in line for line in found["warnings"])
    found = without_gradients(served(Network()), X[:8], Y[:8], norm=norm, eps=eps, reason="an LSTM")
    assert any("is as large as the data's range" in line for line in found["warnings"])


def test_a_gradient_that_leads_away_from_errors():
    wrong = np.where(np.arange(100) < 30, (Y + 1) % 4, Y)
    found = audited(Network(lambda logits: -logits), served(Network()), y=wrong)
    assert "robust above clean" in symptoms(found)


def test_square_fools_what_gradients_do_not(monkeypatch):
    """The twin's slope is that of another feature order, so that white-box attacks step beside the way."""
    monkeypatch.setattr(square, "QUERIES", 300)
    twin = Network(of_inputs=lambda x: x.detach() + (x - x.detach()).flip(1))
    found = audited(twin, served(Network()), level="autoattack", eps=0.04)
    last = found["attacks"][-1]
    assert last["name"] == attacks.SQUARE
    assert last["fooled"] > 0
    assert "gradients mislead" in symptoms(found)


LEVELS = 12


def rounded(x):
    """Inputs at one of a few levels, and a slope as if they were not rounded."""
    return x + ((x * LEVELS).round() / LEVELS - x).detach()


def worst_case_of_rounded(x, y, eps):
    """In closed form: each feature goes to whichever level within reach is worst, towards each other class by itself."""
    low, high = (np.rint((x + sign * eps) * LEVELS) / LEVELS - 0.5 for sign in (-1, 1))
    weight = WEIGHT.numpy()
    held = np.ones(len(x), np.bool_)
    for other in range(4):
        change = weight[:, y].T - weight[:, [other]].T
        lead = np.minimum(change * low, change * high).sum(axis=1)
        held &= (other == y) | (lead > 0)
    return held.mean()


def test_rounding_of_the_input_hides_nothing():
    twin = Network(of_inputs=rounded)
    twin.straight_through = ("Round (node r)",)
    y = served(twin)(X).argmax(axis=1)
    found = audited(twin, y=y, level="autoattack")
    assert 0.1 < found["worst_case_accuracy"] < 0.9
    assert found["worst_case_accuracy"] == pytest.approx(worst_case_of_rounded(X, y, EPS), abs=0.01)
    assert found["warnings"][0].startswith("the model rounds inside (Round (node r))")


def test_fab_leaves_who_is_out_of_reach_and_nobody_else(monkeypatch):
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    logits = Network()(x)
    pairs = (WEIGHT.T[:, None] - WEIGHT.T[None]).abs().sum(dim=2)[y]
    rival = logits.scatter(1, y[:, None], -torch.inf).argmax(dim=1)
    away = (logits.gather(1, y[:, None])[:, 0] - logits.gather(1, rival[:, None])[:, 0]) / pairs[
        torch.arange(100), rival
    ]
    asked = []

    def model(inputs):
        asked.append(len(inputs))
        return Network()(inputs)

    moved = fab.fab_targeted(model, x, y, rank=0, norm="linf", eps=EPS, steps=30)
    fooled = Network()(moved).argmax(dim=1) != y
    assert fooled[away < EPS].all()
    assert not fooled[away > EPS * 1.001].any()
    assert asked[-1] <= int((away < 1.5 * EPS).sum()) < 100
