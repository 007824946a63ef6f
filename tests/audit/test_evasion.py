import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgepriv.audit.evasion import robustness
from edgepriv.errors import UserError
from edgepriv.training.pgd import cross_entropy, fgsm, margin, perturbed, pgd_budget


class Linear(nn.Module):
    """Two or more classes, logits W x + b: the nearest wrong label is known in closed form."""

    def __init__(self, classes=2, features=20, seed=0):
        super().__init__()
        self.layer = nn.Linear(features, classes)
        torch.manual_seed(seed)
        nn.init.normal_(self.layer.weight)

    def forward(self, x):
        return self.layer(x.flatten(1))


def served(model):
    """The model as the artifact: float32 arrays in, probabilities out."""
    return lambda x: model(torch.from_numpy(x)).softmax(dim=1).detach().numpy()


def examples(model, n=200, features=20, seed=1):
    """Inputs far from the edges of [0, 1], labelled by the model itself, and their logit margins [n]."""
    x = (0.4 + 0.2 * np.random.default_rng(seed).random((n, features))).astype(np.float32)
    logits = model(torch.from_numpy(x)).detach().numpy()
    ordered = np.sort(logits, axis=1)
    return x, logits.argmax(axis=1).astype(np.int64), ordered[:, -1] - ordered[:, -2]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_model_is_fooled_exactly_where_its_optimum_says(norm):
    model = Linear()
    x, y, margins = examples(model)
    weight = (model.layer.weight[0] - model.layer.weight[1]).detach().numpy()
    # Hölder: the margin falls by at most eps times the dual norm of the weight difference.
    distance = margins / (np.abs(weight).sum() if norm == "linf" else np.linalg.norm(weight))
    radii = [0.0, *np.quantile(distance, [0.25, 0.5, 0.75])]
    found = robustness(model, served(model), x, y, norm=norm, eps=radii[2], eps_curve=radii)
    assert found["clean_accuracy"] == 1
    for point in found["curve"]:
        # One example lies on the radius itself.
        assert point["accuracy"] == pytest.approx(np.mean(distance > point["eps"]), abs=0.006)
    assert found["worst_case_accuracy"] == pytest.approx(0.5, abs=0.006)
    assert found["ci"][0] < found["worst_case_accuracy"] < found["ci"][1]
    assert found["warnings"] == []


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("objective", [cross_entropy, margin])
def test_perturbed_inputs_stay_within_the_budget_and_in_the_unit_range(norm, objective):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 3))
    x, y = torch.rand(64, 3, 4, 4).round(decimals=1), torch.randint(3, (64,))
    starts = torch.Generator().manual_seed(0)
    for eps in (0.01, 0.3):
        for moved in (
            fgsm(model, x, y, norm=norm, eps=eps),
            perturbed(model, x, y, pgd_budget(norm, eps, 5), starts, objective=objective, keep_best=True),
        ):
            change = (moved - x).flatten(1)
            size = change.abs().amax(dim=1) if norm == "linf" else change.norm(dim=1)
            assert size.max() <= eps * (1 + 1e-5)
            assert size.max() > 0.5 * eps
            assert moved.min() >= 0
            assert moved.max() <= 1


def test_fgsm_is_one_signed_step():
    model = Linear(classes=3)
    x, y, _ = examples(model)
    inputs = torch.from_numpy(x).requires_grad_(True)
    F.cross_entropy(model(inputs), torch.from_numpy(y)).backward()
    expected = inputs.detach() + 0.05 * inputs.grad.sign()
    moved = fgsm(model, torch.from_numpy(x), torch.from_numpy(y), norm="linf", eps=0.05)
    torch.testing.assert_close(moved, expected)


def trained_network():
    """A small non-linear net on a problem it solves, and the data."""
    torch.manual_seed(0)
    x = torch.rand(600, 10)
    y = ((x[:, 0] - 0.5) * (x[:, 1] - 0.5) > 0).long() + (x[:, 2] > 0.7).long()
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(200):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval(), x.numpy(), y.numpy()


def reference_pgd(model, x, y, eps, steps):
    """An independent PGD (L-inf): final iterate, no bookkeeping."""
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    moved = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
    for _ in range(steps):
        moved.requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
        moved = moved.detach() + 2.5 * eps / steps * slope.sign()
        moved = torch.min(torch.max(moved, x - eps), x + eps).clamp(0, 1)
    return (model(moved).argmax(dim=1) == y).float().mean().item()


def test_robust_accuracy_is_that_of_an_independent_pgd_or_better():
    model, x, y = trained_network()
    expected = reference_pgd(model, x, y, 0.05, 20)
    found = robustness(model, served(model), x, y, norm="linf", eps=0.05, restarts=2)
    accuracies = {attack["name"]: attack["robust_accuracy"] for attack in found["attacks"]}
    assert 0.2 < expected < 0.9
    assert accuracies["pgd"] == pytest.approx(expected, abs=0.02)
    assert accuracies["pgd"] <= expected + 0.005
    assert accuracies["pgd"] < accuracies["fgsm"] < found["clean_accuracy"]
    assert found["worst_case_accuracy"] <= min(accuracies.values())


def test_the_same_seed_gives_the_same_report_and_progress_ends_at_the_total():
    model, x, y = trained_network()
    seen = []

    def run(seed):
        return robustness(
            model, served(model), x[:100], y[:100], norm="l2", eps=0.1, steps=5, restarts=2, eps_curve=[0, 0.05, 0.1],
            seed=seed, batch=32, progress=lambda done, total: seen.append((done, total)),
        )  # fmt: skip

    assert run(3) == run(3)
    assert seen[-1][0] == seen[-1][1]
    assert all(0 < done <= total for done, total in seen)


def test_success_is_counted_on_the_artifact_not_on_the_twin():
    model = Linear()
    x, y, _ = examples(model)
    stubborn = robustness(model, lambda x: np.eye(2)[y[: len(x)]], x, y, norm="linf", eps=0.5)
    assert stubborn["worst_case_accuracy"] == 1
    assert all(attack["robust_accuracy"] == 1 for attack in stubborn["attacks"])


def test_what_is_wrong_on_clean_inputs_is_not_robust():
    model = Linear()
    x, y, _ = examples(model)
    y[:50] = 1 - y[:50]
    found = robustness(model, served(model), x, y, norm="linf", eps=1e-6)
    assert found["clean_accuracy"] == 0.75
    assert found["worst_case_accuracy"] <= 0.75


class Scaled(Linear):
    """Logits so large that the float32 softmax is exactly one-hot and the cross-entropy has no slope."""

    def forward(self, x):
        return 1e4 * super().forward(x)


def test_a_saturated_softmax_hides_nothing():
    model = Scaled()
    x, y, _ = examples(model)
    plain, scaled = (robustness(one, served(one), x, y, norm="linf", eps=0.1) for one in (Linear(), model))
    assert [warning.split(":")[0] for warning in scaled["warnings"]] == ["hidden scores", "saturated softmax"]
    assert 0.05 < scaled["worst_case_accuracy"] < 0.95
    for own, other in zip(scaled["attacks"], plain["attacks"], strict=True):
        assert own["robust_accuracy"] == pytest.approx(other["robust_accuracy"], abs=0.02), own["name"]


def test_a_twin_of_another_model_is_reported():
    x, y, _ = examples(Linear())
    found = robustness(Linear(seed=5), served(Linear()), x, y, norm="linf", eps=0.01)
    assert any(warning.startswith("twin and artifact disagree") for warning in found["warnings"])


def test_a_curve_that_rises_is_reported():
    model = Linear()
    x, y, margins = examples(model)
    weight = (model.layer.weight[0] - model.layer.weight[1]).detach().numpy()
    enough = float(np.median(margins) / np.abs(weight).sum())

    def wary(moved):
        """Answers the other way round far from all clean inputs, where strong attacks end up."""
        answer, strange = served(model)(moved), np.abs(moved - 0.5).max(axis=1) > 0.3
        answer[strange] = answer[strange, ::-1]
        return answer

    found = robustness(model, wary, x, y, norm="linf", eps=enough, steps=2, eps_curve=[0, 0.5])
    assert [warning.split(":")[0] for warning in found["warnings"]] == ["non-monotone curve"]


def test_an_artifact_that_answers_at_random_is_reported():
    model, rng = Linear(), np.random.default_rng(0)
    x, y, _ = examples(model)
    noisy = lambda x: served(model)(x) + 1e-6 * rng.random((len(x), 2))  # noqa: E731
    found = robustness(model, noisy, x, y, norm="linf", eps=0.01)
    assert any(warning.startswith("randomised output") for warning in found["warnings"])


def test_the_twin_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(20, 2), nn.Dropout(0.5)).train()
    x, y, _ = examples(Linear())
    robustness(model, served(Linear()), x, y, norm="linf", eps=0.01, steps=2)
    assert model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "l1"}, "unknown norm 'l1'"),
        ({"eps": 0.0}, "must be finite and positive"),
        ({"eps_curve": [-1.0]}, "must be finite and positive"),
        ({"x": np.full((4, 20), 2.0, np.float32)}, r"inputs must lie in \[0, 1\] \(they lie in 2..2\)"),
        ({"x": np.zeros((4, 20))}, "expected float32"),
        ({"y": np.zeros(3, np.int64)}, r"int64 \(3,\)"),
    ],
)
def test_bad_input_is_named(change, message):
    model = Linear()
    arguments = {"x": np.zeros((4, 20), np.float32), "y": np.zeros(4, np.int64), "norm": "linf", "eps": 0.1} | change
    x, y = arguments.pop("x"), arguments.pop("y")
    with pytest.raises(UserError, match=message):
        robustness(model, served(model), x, y, **arguments)
