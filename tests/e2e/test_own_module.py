"""A network of the user's own: every verb takes it under --model, and none imports it unless it is named."""

import sys

import pytest

NET = """
from torch import nn


def make(num_classes, input_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, num_classes))
"""
RECIPE = """
seed = 5
[data]
name = 'digits'
members = 100
non_members = 100
reference = 200
validation = 40
"""
OWN = ("--model", "own_network:make")
TINY = ("--accept-accuracy-loss",)
"""Two epochs make no good model."""


@pytest.fixture
def trained(edgepriv, tmp_path, monkeypatch):
    (tmp_path / "own_network.py").write_text(NET)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    ran = edgepriv("train", "--recipe", "recipe.toml", *OWN, *TINY, "--epochs", "2", "-o", "m.pt")
    assert ran.code == 0, ran.err
    yield tmp_path
    sys.modules.pop("own_network", None)


def test_what_a_refusal_asks_for_is_enough(edgepriv, trained):
    short = ("--bits", "4", "--epochs", "1", "--qat-epochs", "1", "--steps", "1", "--robust", "none", "-o", "out")
    verbs = (("harden", "m.pt", *short, *TINY), ("export", "m.pt", "-o", "m.onnx", *TINY), ("show", "m.pt"))
    sys.modules.pop("own_network", None)
    for verb in verbs:
        refused = edgepriv(*verb)
        assert refused.code == 2
        assert "m.pt asks to import 'own_network:make': pass --model own_network:make" in refused.err
        assert "own_network" not in sys.modules
        accepted = edgepriv(*verb, *OWN)
        assert accepted.code == 0, accepted.err
        sys.modules.pop("own_network", None)


def test_an_audit_imports_only_what_is_named(edgepriv, trained):
    assert edgepriv("export", "m.pt", *OWN, "--bits", "4", "-o", "m.onnx", *TINY).code == 0
    sys.modules.pop("own_network", None)
    few = ("--robust", "quick", "--robust-examples", "20", "--steps", "1", "--no-float-twin", "--force", *TINY)
    assert edgepriv("audit", "m.onnx", "--attacks", "quick", *few).code == 0
    assert "own_network" not in sys.modules
    fleet = ("--attacks", "lira-online", "--references", "2", "--threat-model", "adaptive", "--cache-dir", "cache")
    refused = edgepriv("audit", "m.onnx", *fleet, *few)
    assert refused.code == 2
    assert "m.manifest.json asks to import 'own_network:make': pass --model own_network:make" in refused.err
    assert "own_network" not in sys.modules
    accepted = edgepriv("audit", "m.onnx", *fleet, *few, *OWN)
    assert accepted.code == 0, accepted.err
    assert "--model own_network:make" in (trained / "m.audit.html").read_text()


def test_another_name_than_the_checkpoints_is_refused(edgepriv, trained):
    refused = edgepriv("export", "m.pt", "--model", "lenet", "-o", "m.onnx")
    assert refused.code == 2
    assert "asks to import 'own_network:make'" in refused.err
