"""The shortest way to a hyperplane within [0, 1], against general solvers."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from edgepriv.audit.evasion.hyperplane import way_to

RNG = np.random.default_rng(0)
X = RNG.random((12, 5))
X[0], X[1] = 0.0, 1.0
WEIGHT = RNG.standard_normal((12, 5))
WEIGHT[2, :2] = 0
VALUE = 0.3 * RNG.standard_normal(12)


def found(norm, value=VALUE):
    tensors = (torch.from_numpy(array.astype(np.float32)) for array in (X, WEIGHT, value))
    return way_to(*tensors, norm).numpy()


def shortest(x, weight, value, norm):
    """By a linear program in (d, t), or by SLSQP in d; None where the box holds no such point."""
    if norm == "linf":
        bound = np.block([[np.eye(5), -np.ones((5, 1))], [-np.eye(5), -np.ones((5, 1))]])
        box = [*zip(-x, 1 - x, strict=True), (0, None)]
        answer = linprog([*np.zeros(5), 1], bound, np.zeros(10), [[*weight, 0]], [-value], box)
        return answer.fun if answer.success else None
    answer = minimize(
        lambda d: d @ d, np.zeros(5), jac=lambda d: 2 * d, bounds=list(zip(-x, 1 - x, strict=True)),
        constraints={"type": "eq", "fun": lambda d: value + weight @ d, "jac": lambda d: weight}, tol=1e-12,
    )  # fmt: skip
    return np.sqrt(answer.fun) if answer.success else None


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_is_as_short_as_general_solvers_say(norm):
    for way, x, weight, value in zip(found(norm), X, WEIGHT, VALUE, strict=True):
        expected = shortest(x, weight, value, norm)
        if expected is None:
            continue
        assert value + weight @ way == pytest.approx(0, abs=1e-5)
        assert np.linalg.norm(way, np.inf if norm == "linf" else 2) == pytest.approx(expected, abs=1e-4)
        assert (x + way).min() >= -1e-6
        assert (x + way).max() <= 1 + 1e-6


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_out_of_reach_it_goes_to_the_corner(norm):
    corner = np.where(WEIGHT < 0, 1 - X, -X) * (WEIGHT != 0)
    np.testing.assert_allclose(found(norm, np.full(12, 50.0)), corner, atol=1e-6)
