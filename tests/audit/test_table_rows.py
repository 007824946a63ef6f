"""Perturbed rows of a table: only what a row can hold counts, whole numbers by whole steps, categories as they are."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.audit.evasion import Setting, robustness, without_gradients
from edgepriv.audit.table_rows import TableRows

ROWS = TableRows(
    free=np.array([True, True, False, False, True, False]),
    levels=np.array([10.0, 0, 0, 0, 3, 0]),
    missing=np.array([-1, 5, -1, -1, -1, -1]),
)
"""A whole number of 0 to 10, any number, two categories, a whole number of 0 to 3, and that the second has no value."""
X = np.array([[0.3, 0.5, 1, 0, 1 / 3, 0], [0.9, 0.5, 0, 1, 1, 1]], np.float32)


def test_perturbations_are_moved_to_rows_that_a_table_can_hold():
    moved = ROWS.nearest(X, X + np.float32([0.14, 0.15, 0.5, 0.5, 0.15, 0.5]), "linf", 0.15)
    np.testing.assert_allclose(moved[0], [0.4, 0.65, 1, 0, 1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(moved[1], [1.0, 0.5, 0, 1, 1, 1], atol=1e-6)  # the second has no value there
    assert ROWS.movable("linf", 0.15).tolist() == [True, True, False, False, False, False]
    assert ROWS.movable("linf", 0.05).tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_rounding_never_leaves_the_budget(norm):
    rng = np.random.default_rng(0)
    x = np.repeat(X, 200, axis=0)
    x[:, 0] = rng.integers(0, 11, len(x)) / np.float32(10)
    moved = np.clip(x + rng.uniform(-0.25, 0.25, x.shape), 0, 1).astype(np.float32)
    found = ROWS.nearest(x, moved, norm, 0.25)
    change = np.abs(found - x)
    length = change.max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
    assert length.max() <= 0.25 * (1 + 1e-5)
    assert (change[:, 0] > 0).mean() > 0.2
    np.testing.assert_allclose(found[:, 0] * 10, np.rint(found[:, 0] * 10), atol=1e-5)
    assert not change[:, [2, 3, 5]].any()


def attacked(weights, eps, level="quick"):
    """Robustness of sign(w x - b), where b lies just above what the first row has."""
    network = nn.Linear(6, 2)
    with torch.no_grad():
        network.weight.copy_(torch.stack([torch.zeros(6), torch.tensor(weights)]))
        network.bias.copy_(torch.tensor([float(np.float32(weights) @ X[0]) + 0.04, 0.0]))
    network.requires_grad_(False)
    asked = []

    def predict(x):
        asked.append(x)
        return network(torch.tensor(np.array(x))).softmax(1).numpy()

    x, y = X[:1], np.zeros(1, np.int64)
    found = robustness(network, predict, x, y, norm="linf", eps=eps, level=level, setting=Setting(ROWS.free, rows=ROWS))
    return found["worst_case_accuracy"], np.concatenate(asked)


@pytest.mark.parametrize(
    ("weights", "eps", "stands"),
    [
        ([1.0, 0, 0, 0, 0, 0], 0.09, 1.0),  # less than a whole step
        ([1.0, 0, 0, 0, 0, 0], 0.11, 0.0),
        ([0.0, 1, 0, 0, 0, 0], 0.09, 0.0),
        ([0.0, 0.001, -1, 1, 0, 0], 0.3, 1.0),  # a category is never moved in part
        ([0.0, 0, 0, 0, 1, 0], 0.3, 1.0),
        ([0.0, 0, 0, 0, 1, 0], 0.34, 0.0),
    ],
)
def test_only_rows_that_exist_count(weights, eps, stands):
    worst, _ = attacked(weights, eps)
    assert worst == stands


def test_a_file_without_gradients_is_asked_rows_too():
    def predict(x):
        shown = (x[:, 0] > 0.35).astype(np.float32)
        return np.stack([0.9 - 0.5 * shown, 0.1 + 0.5 * shown], axis=1)

    x = np.repeat(X[:1], 30, axis=0)
    x[:15, 0] = 0.9
    y = (x[:, 0] > 0.35).astype(np.int64)
    setting = Setting(ROWS.free, rows=ROWS)
    stands = [
        without_gradients(predict, x, y, norm="linf", eps=eps, reason="none", setting=setting)["at_most"]
        for eps in (0.08, 0.12)
    ]
    assert stands == [1.0, 0.5]
