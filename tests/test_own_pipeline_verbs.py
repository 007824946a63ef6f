"""A network hardened on the batches and loss of its own script, and attacked by models that were trained alike."""

import os
import sys

import numpy as np
import pytest
import torch

from edgepriv import pipeline
from edgepriv.data import TrainingData
from edgepriv.errors import UserError
from edgepriv.models.scripts import loaded, script_of
from edgepriv.pipeline import _audit
from edgepriv.recipe import Recipe
from edgepriv.training import upfront

SCRIPT = """
import torch
from torch import nn
from torch.utils.data import DataLoader


def loader(data, *, seed):
    return DataLoader(data, batch_size=16, shuffle=True)


def loss(data):
    return nn.CrossEntropyLoss(torch.tensor([1.0, 2.0]))


def train(data, *, seed, device):
    net = make(data.classes, data.x.shape[1:])
    optimizer, criterion = torch.optim.Adam(net.parameters(), 0.01), loss(data)
    for _ in range(30):
        for x, y in loader(data, seed=seed):
            optimizer.zero_grad()
            criterion(net(x), y).backward()
            optimizer.step()
    return net


def make(num_classes, input_shape):
    return nn.Sequential(nn.Linear(input_shape[0], 32), nn.ReLU(), nn.Linear(32, num_classes))
"""
ASKED = {
    "robust": {"epochs": 1},
    "qat": {"epochs": 1},
    "adversary": {"method": "pgd", "eps": 0.02, "steps": 1},
    "quantize": {"bits": 8},
}
AUDIT = {"audit": {"attacks": "loss,rmia-offline", "references": 2, "robust": "none", "accept_weak_references": True}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the script stands, weights that it trained, and their members."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(_audit, "write_report", lambda *given: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SCRIPT)
    rng = np.random.default_rng(0)
    x, y = rng.random((80, 6)).astype(np.float32), np.arange(80) % 2
    for name, part in (("in", slice(None, 40)), ("out", slice(40, None))):
        np.savez(tmp_path / f"{name}.npz", x=x[part], y=y[part])
    yield tmp_path
    sys.modules.pop("mine", None)


@pytest.fixture
def hardened(folder):
    name = f"members:{folder / 'in.npz'}|{folder / 'out.npz'}"
    with np.load(folder / "in.npz", allow_pickle=False) as own:
        data = TrainingData(own["x"], own["y"], 2)
    torch.manual_seed(1)
    network = loaded(script_of("--trainer", "mine.py:train"))(data, seed=1, device=torch.device("cpu"))
    torch.save(network.state_dict(), folder / "weights.pt")
    recipe = Recipe(model={"name": "mine:make", "mean": [0.0], "std": [1.0]}, data={"name": name})
    return lambda **options: pipeline.harden(
        folder / "weights.pt", recipe, ASKED, folder / "out", max_drop=100, accept_accuracy_loss=True, **options
    )


def test_reference_models_go_through_the_same_batches_and_loss(folder, hardened, monkeypatch):
    content = hardened(trainer="mine.py:train")
    assert content["history"][0]["stage"] == "robust"
    model, asked = folder / "out" / "model.onnx", []
    pipeline_of = upfront.pipeline_of
    monkeypatch.setattr(
        upfront,
        "pipeline_of",
        lambda script, data, *rest, **more: asked.append(len(data)) or pipeline_of(script, data, *rest, **more),
    )

    def audited(**options):
        where = {"cache_dir": folder / "cache", "factory": "mine:make", "float_twin": False, "force": True}
        return pipeline.audit(model, AUDIT, **where, **options)

    with pytest.raises(
        UserError, match=r"hardened on the batches and loss of mine.py:train, and so must reference models"
    ):
        audited()
    found = audited(trainer="mine.py:train")
    assert asked[:2] == [40, 40]
    assert not any("is not the version" in line for line in found["said"])
    (folder / "mine.py").write_text(SCRIPT.replace("0.01)", "0.02)"))
    assert any(
        "mine.py:train, or what it imports, is not the version" in line
        for line in audited(trainer="mine.py:train")["said"]
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"robust": {"epochs": 0}, "qat": {"epochs": 0}, "adversary": {"method": "none"}}, "no stage trains here"),
        ({"robust": {"relax": 0.5}}, "RelaxLoss has a loss of its own"),
    ],
)
def test_a_script_that_nothing_uses_or_that_a_defence_excludes_is_refused(hardened, monkeypatch, changes, said):
    monkeypatch.setattr(sys.modules[__name__], "ASKED", ASKED | changes)
    with pytest.raises(UserError, match=said):
        hardened(trainer="mine.py:train")
