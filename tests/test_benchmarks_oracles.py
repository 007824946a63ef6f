"""The comparison of each attack with its oracle: both are counted on the file, within the budget."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from edgepriv.audit.evasion import attacks
from edgepriv.data import Dataset

X = np.full((4, 1, 2, 2), 0.5, np.float32)
Y = np.array([0, 0, 0, 1])


class Twin(torch.nn.Module):
    def forward(self, x):
        lead = x.mean(dim=(1, 2, 3)) - 0.55
        return torch.stack([0 * lead, lead], dim=1)


@pytest.fixture
def oracles(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    module = importlib.import_module("attack_oracles")
    data = Dataset("toy", X, Y, ("a", "b")), SimpleNamespace(non_members=np.arange(4))
    monkeypatch.setattr(module.project, "recorded_data", lambda *given: data)
    monkeypatch.setattr(module.session, "predict", lambda opened, x: Twin()(torch.from_numpy(x)).softmax(1).numpy())
    return module


def test_both_are_counted_on_the_file_within_the_budget(oracles, monkeypatch):
    def other(twin, name, norm, eps, seed, classes):
        assert (name, norm, eps, classes) == ("apgd-ce", "linf", 0.1, 2)
        return lambda x, y: x + torch.tensor([eps, 2 * eps, 0, 0]).view(4, 1, 1, 1)

    monkeypatch.setattr(oracles, "auto_attack", other)
    model = SimpleNamespace(
        verified_manifest=lambda: SimpleNamespace(data={}), session=None, path="m", name="m", sha256="0"
    )
    options = SimpleNamespace(data_dir=None, seed=0, examples=4, norm="linf", eps=0.1)
    row = oracles.compared(model, Twin(), options, "apgd-ce")
    assert row["clean_accuracy"] == 0.75
    assert row["robust_accuracy"]["edgepriv"] == 0
    assert row["only_other_fools"] == 0
    assert oracles.asked(model, options, "apgd-ce").items() <= row.items()
    # One is moved within the budget, one beyond it, one not at all; which one each is, the draw of the examples tells.
    assert row["robust_accuracy"]["other"] in (0.5, 0.75)


def test_every_attack_has_an_oracle_but_the_audits_own(oracles):
    named = {*oracles.OF_AUTO_ATTACK, *oracles.OF_TORCHATTACKS}
    assert named == attacks.EVASIONS.keys() - {"pgd-margin"}
