"""Perturbations: inside the budget, inside [0, 1], and optimal where the optimum is known in closed form."""

import pytest
import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.recipe import Adversary
from edgepriv.training.pgd import SETTLED, Budget, budget_of, margin, noisy_fgsm, perturbed, pgd_budget

SHAPE = (3, 6, 6)


@pytest.fixture
def linear():
    """Two classes: the loss rises fastest along the difference of the two rows, wherever x is."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(108, 2))


@pytest.fixture
def deep():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(count=20, low=0.0, high=1.0, classes=2):
    torch.manual_seed(2)
    return torch.rand(count, *SHAPE) * (high - low) + low, torch.arange(count) % classes


def sizes(delta, norm):
    return delta.flatten(1).abs().amax(1) if norm == "linf" else delta.flatten(1).norm(dim=1)


BUDGETS = [
    Budget("linf", 0.1, 0.025, 10),
    Budget("linf", 0.1, 0.125, 1),
    Budget("l2", 1.0, 0.25, 10),
    Budget("l2", 1.0, 1.25, 1),
    Budget("linf", 0.5, 5.0, 3),
    Budget("l2", 20.0, 5.0, 3),
]


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_perturbations_stay_inside_the_budget_and_the_input_range(deep, budget):
    x, y = inputs(classes=5)
    x[0], x[1] = 0.0, 1.0
    adversarial = perturbed(deep, x, y, budget, generator())
    assert (sizes(adversarial - x, budget.norm) <= budget.eps * (1 + 1e-5)).all()
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert not adversarial.requires_grad


@pytest.mark.parametrize("budget", BUDGETS[:4], ids=str)
def test_the_loss_rises(deep, budget):
    x, y = inputs(classes=5)
    loss = nn.CrossEntropyLoss(reduction="none")
    before, after = loss(deep(x), y), loss(deep(perturbed(deep, x, y, budget, generator())), y)
    assert (after > before).float().mean() > 0.9


def ascent(linear, y):
    """Gradient of the loss with respect to x, up to a positive factor."""
    rows = linear[1].weight
    return (rows[1 - y] - rows[y]).view(-1, *SHAPE).detach()


def test_linf_pgd_reaches_the_optimum_of_a_linear_model(linear):
    x, y = inputs(low=0.3, high=0.7)
    found = perturbed(linear, x, y, Budget("linf", 0.1, 0.025, 10), generator())
    torch.testing.assert_close(found, x + 0.1 * ascent(linear, y).sign())


def test_l2_pgd_reaches_the_optimum_of_a_linear_model(linear):
    x, y = inputs(low=0.45, high=0.55)
    g = ascent(linear, y)
    best = x + 0.5 * g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    found = perturbed(linear, x, y, Budget("l2", 0.5, 0.1, 60), generator())
    torch.testing.assert_close(found, best, rtol=0, atol=2e-3)


def test_at_the_edge_of_the_input_range_the_optimum_is_clipped(linear):
    x, y = inputs()
    found = perturbed(linear, x, y, Budget("linf", 0.3, 0.1, 10), generator())
    torch.testing.assert_close(found, (x + 0.3 * ascent(linear, y).sign()).clamp(0, 1))


def test_fgsm_with_a_random_start_is_one_step_of_5_4_eps(linear):
    """A start in [-eps, eps] and a step of 1.25 eps: a coordinate ends at +eps unless it began below -eps / 4."""
    x, y = inputs(low=0.3, high=0.7)
    budget = budget_of(Adversary(method="fgsm", eps=0.1), SHAPE)
    along = (perturbed(linear, x, y, budget, generator()) - x) * ascent(linear, y).sign()
    assert along.min() > 0.1 * 0.25 - 1e-6
    assert ((along - 0.1).abs() < 1e-6).float().mean() == pytest.approx(0.625, abs=0.03)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_seed_one_perturbation(deep, norm):
    x, y = inputs(classes=5)
    budget = Budget(norm, 0.3, 0.1, 3)
    first, again, other = (perturbed(deep, x, y, budget, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_random_starts_are_spread_over_the_ball():
    """A step of 0 leaves the start. In L2 the length is uniform, in L-inf each entry."""
    x, y = torch.full((4000, 3), 0.5), torch.zeros(4000, dtype=torch.int64)
    still = nn.Linear(3, 2)
    start = perturbed(still, x, y, Budget("l2", 0.4, 0.0, 1), generator()) - x
    assert (start.norm(dim=1) < 0.2).float().mean() == pytest.approx(0.5, abs=0.02)
    assert start.mean(0).abs().max() < 0.02
    start = perturbed(still, x, y, Budget("linf", 0.4, 0.0, 1), generator()) - x
    assert (start.abs() < 0.2).float().mean() == pytest.approx(0.5, abs=0.02)


def test_it_leaves_no_gradient_in_the_model_and_works_without_grad(linear):
    x, y = inputs()
    with torch.no_grad():
        moved = perturbed(linear, x, y, BUDGETS[0], generator())
    assert not torch.equal(moved, x)
    assert all(parameter.grad is None for parameter in linear.parameters())
    assert not x.requires_grad


@pytest.mark.parametrize(
    ("settings", "shape", "expected"),
    [
        ({"method": "pgd", "eps": 0.1, "steps": 5}, (1, 28, 28), Budget("linf", 0.1, 0.05, 5)),
        ({"method": "pgd", "eps": 0.1, "steps": 5, "step": 0.01}, (1, 28, 28), Budget("linf", 0.1, 0.01, 5)),
        ({"method": "fgsm", "eps": 0.1, "steps": 9}, (1, 28, 28), Budget("linf", 0.1, 0.125, 1)),
        ({"method": "pgd", "steps": 10}, (3, 32, 32), Budget("linf", 8 / 255, 2 / 255, 10)),
        ({"method": "pgd", "norm": "l2", "steps": 5}, (446,), Budget("l2", 0.5, 0.25, 5)),
    ],
)
def test_budgets_fill_in_what_the_recipe_leaves_open(settings, shape, expected):
    found = budget_of(Adversary(**settings), shape)
    assert (found.norm, found.steps) == (expected.norm, expected.steps)
    assert (found.eps, found.step) == pytest.approx((expected.eps, expected.step))


def test_an_unknown_norm_names_the_known(linear):
    x, y = inputs()
    with pytest.raises(UserError, match="unknown norm 'l1': known are linf, l2"):
        perturbed(linear, x, y, Budget("l1", 0.1, 0.1, 1), generator())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_best_iterate_is_never_behind_the_last_nor_the_start(deep, norm):
    x, y = inputs(classes=5)
    y = deep(x).argmax(1)
    budget = pgd_budget(norm, 0.05 if norm == "linf" else 0.3, 4)
    last = perturbed(deep, x, y, budget, generator(), objective=margin)
    best = perturbed(deep, x, y, budget, generator(), objective=margin, keep_best=True)
    reached, of_last, of_start = (margin(deep(each), y) for each in (best, last, x))
    assert (reached >= torch.minimum(of_last, torch.tensor(SETTLED)) - 1e-6).all()
    assert (perturbed(deep, x, y, budget, None, keep_best=True) != x).any()
    assert (margin(deep(perturbed(deep, x, y, budget, None, keep_best=True)), y) >= of_start).all()


def test_a_settled_example_is_left_alone_while_the_others_go_on(linear):
    """An example that is wrong by a margin is returned as it was; its neighbours still reach their optimum."""
    x, y = inputs(low=0.3, high=0.7)
    y = linear(x).argmax(1)
    y[0] = 1 - y[0]
    wrong = x.clone()
    wrong[0] += 0.2 * ascent(linear, y)[0].sign()
    assert margin(linear(wrong), y)[0] > SETTLED
    found = perturbed(linear, wrong, y, Budget("linf", 0.01, 0.0025, 10), None, objective=margin, keep_best=True)
    assert torch.equal(found[0], wrong[0])
    torch.testing.assert_close(found[1:], (wrong + 0.01 * ascent(linear, y).sign())[1:])


def test_inputs_without_a_gradient_stay_where_they_are():
    x, y = inputs()
    constant = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    nn.init.zeros_(constant[1].weight)
    for norm in ("linf", "l2"):
        assert torch.equal(perturbed(constant, x, y, Budget(norm, 0.1, 0.1, 3), None), x)


def test_what_is_fixed_does_not_move_in_training():
    generator, x, y = torch.Generator().manual_seed(0), torch.full((4, 3), 0.5), torch.tensor([0, 1, 0, 1])
    weight = torch.tensor([[1.0, -1.0, 2.0], [-1.0, 1.0, 1.0]])
    for norm in ("linf", "l2"):
        for attack in (perturbed, noisy_fgsm):
            moved = attack(lambda x: x @ weight.T, x, y, pgd_budget(norm, 0.1, 3, fixed=(1,)), generator)
            assert torch.equal(moved[:, 1], x[:, 1])
            assert (moved != x)[:, [0, 2]].all()
