"""The comparison with the reference implementation counts on the file, and no perturbation that leaves the budget."""

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

X = np.full((4, 1, 2, 2), 0.5, np.float32)
Y = np.array([0, 0, 0, 1])


class AutoAttack:
    """A tool that moves the first input within the budget, the second out of it, and leaves the others."""

    def __init__(self, model, *, norm, eps, version, device, verbose, seed):
        assert (norm, version) == ("Linf", "standard")
        self.eps, self.apgd_targeted, self.fab = eps, SimpleNamespace(), SimpleNamespace()
        assert model(torch.from_numpy(X)).shape == (4, 2)

    def run_standard_evaluation(self, x, y, bs):
        assert self.fab.n_target_classes == self.apgd_targeted.n_target_classes == 1
        moved = x.clone()
        moved[0] += self.eps
        moved[1] += 2 * self.eps
        return moved


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    module = importlib.import_module("robust_peers")
    monkeypatch.setitem(sys.modules, "autoattack", ModuleType("autoattack"))
    sys.modules["autoattack"].AutoAttack = AutoAttack
    monkeypatch.setattr(module.session, "predict", lambda opened, x: opened(x))
    return module


def test_success_is_counted_on_the_file_within_the_budget(peers):
    model = SimpleNamespace(session=lambda x: np.eye(2)[(x.mean(axis=(1, 2, 3)) > 0.55).astype(int)])
    twin = lambda x: torch.zeros(len(x), 2)  # noqa: E731
    held, _ = peers.reference(model, twin, X, Y, "linf", 0.1, 0)
    assert held.tolist() == [False, True, True, False]  # fooled, out of the budget, left alone, wrong already
