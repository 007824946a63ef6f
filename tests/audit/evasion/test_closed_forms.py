"""Every attack reaches the optimum where it is known: linear and piecewise-linear models, L-infinity and L2."""

from functools import partial

import numpy as np
import pytest
import torch
from closed_forms import Linear, Polytope, inputs, length

from edgepriv.audit.evasion import robustness
from edgepriv.audit.evasion.apgd import apgd, apgd_targeted
from edgepriv.audit.evasion.fab import fab_targeted
from edgepriv.audit.evasion.square import square
from edgepriv.training.pgd import margin

NORMS = ["linf", "l2"]


def by_cross_entropy(model, x, y, norm, eps, free=None):
    return apgd(model, x, y, norm=norm, eps=eps, generator=torch.Generator().manual_seed(0), steps=50, free=free)


def by_targets(attack, model, x, y, norm, eps):
    """The best over all targets, as the ensemble uses it."""
    tries = [attack(model, x, y, rank=rank, norm=norm, eps=eps) for rank in range(model(x).shape[1] - 1)]
    best = torch.stack([margin(model(moved), y) for moved in tries]).argmax(dim=0)
    return torch.stack(tries)[best, torch.arange(len(x))]


ATTACKS = {
    "apgd-ce": by_cross_entropy,
    "apgd-t": partial(by_targets, partial(apgd_targeted, generator=torch.Generator().manual_seed(0), steps=50)),
    "fab-t": partial(by_targets, partial(fab_targeted, steps=20)),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("attack", "classes"),
    # The cross-entropy climbs towards the likeliest class, which need not be the nearest of several.
    [("apgd-ce", 2), ("apgd-t", 2), ("apgd-t", 3), ("apgd-t", 5), ("fab-t", 2), ("fab-t", 5)],
)
def test_whoever_is_within_reach_is_fooled_and_nobody_else(attack, classes, norm):
    model = Linear(classes)
    x, y = inputs(model)
    distance = model.distances(x, y, norm)
    eps = float(np.median(distance))
    moved = ATTACKS[attack](model, x, y, norm, eps)
    assert (length(moved - x, norm) <= eps * (1 + 1e-4)).all()
    assert moved.min() >= 0
    assert moved.max() <= 1
    fooled = (model(moved).argmax(dim=1) != y).numpy()
    assert fooled[distance < eps * 0.98].all()
    assert not fooled[distance > eps * 1.001].any()


@pytest.mark.parametrize("norm", NORMS)
def test_all_together_find_the_nearest_face_of_a_polytope(norm):
    model = Polytope(norm)
    x, y = inputs(model)
    distance = model.distances(x, y, norm)
    eps = float(np.median(distance))

    def predict(moved):
        return model(torch.from_numpy(moved)).softmax(dim=1).numpy()

    found = robustness(model, predict, x.numpy(), y.numpy(), norm=norm, eps=eps, level="quick")
    assert found["worst_case_accuracy"] == pytest.approx(np.mean(distance > eps), abs=0.02)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_the_box_is_respected_and_used(attack):
    """At the corner of [0, 1] half of the features cannot move further: the optimum is smaller, and still reached."""
    model = Linear(2, seed=3)
    x = torch.rand(40, 12, generator=torch.Generator().manual_seed(0)).round()
    y = model(x).argmax(dim=1)
    slope = (model.weight[1 - y] - model.weight[y]).sign()
    value = [margin(model((x + eps * slope).clamp(0, 1)), y) for eps in (0.3, 0.33, 0.27)]
    fooled = model(attack(model, x, y, "linf", 0.3)).argmax(dim=1) != y
    assert fooled[value[2] > 0].all()
    assert not fooled[value[1] < 0].any()
    assert 0.1 < fooled.float().mean() < 0.9


@pytest.mark.parametrize(("norm", "reached"), [("linf", 0.95), ("l2", 0.6)])
@pytest.mark.parametrize("shape", [(12,), (1, 6, 6)], ids=["table", "image"])
def test_square_comes_near_the_optimum_by_scores_alone(shape, norm, reached):
    features = int(np.prod(shape))
    model = Linear(3, features=features)
    x, y = inputs(model, features=features)
    eps = float(np.median(model.distances(x, y, norm)))

    def scores(moved):
        return model(torch.from_numpy(moved)).numpy()

    found = square(
        scores, x.numpy().reshape(-1, *shape), y.numpy(), norm=norm, eps=eps, rng=np.random.default_rng(0), queries=600
    )
    moved = torch.from_numpy(found).flatten(1)
    assert (length(moved - x, norm) <= eps * (1 + 1e-4)).all()
    fooled = (model(moved).argmax(dim=1) != y).numpy()
    assert not fooled[model.distances(x, y, norm) > eps * 1.001].any()
    assert fooled.mean() >= reached / 2


def test_features_that_may_not_change_do_not():
    model, free = Linear(3), torch.arange(12) % 2 == 0
    x, y = inputs(model)
    held = lambda moved: model(torch.where(free, moved, moved.detach()))  # noqa: E731
    generator = torch.Generator().manual_seed(0)
    tried = [
        by_cross_entropy(held, x, y, "linf", 0.2, free=free),
        apgd_targeted(held, x, y, rank=0, norm="l2", eps=0.2, generator=generator, free=free),
        fab_targeted(held, x, y, rank=0, norm="linf", eps=0.2),
        torch.from_numpy(
            square(
                lambda moved: model(torch.from_numpy(moved)).numpy(), x.numpy(), y.numpy(), norm="l2", eps=0.2,
                rng=np.random.default_rng(0), queries=50, free=free.numpy(),
            )
        ),
    ]  # fmt: skip
    for moved in tried:
        torch.testing.assert_close(moved[:, ~free], x[:, ~free], rtol=0, atol=1e-7)
        assert not torch.equal(moved, x)
