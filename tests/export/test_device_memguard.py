"""A model guarded by MemGuard: the kit answers as the audit was answered, and a lost guard is said."""

import json

import numpy as np
import pytest

from edgepriv import api
from edgepriv.audit.deployed import _target
from edgepriv.data import load
from edgepriv.device import memguard, predict
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe

RECIPE = Recipe(
    data={"name": "digits", "members": 120, "non_members": 120, "reference": 120, "holdout": 120, "validation": 60},
    model={"name": "mlp", "args": {"widths": [64]}},
    train={"epochs": 20, "lr": 5e-3},
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    api.train(RECIPE, folder / "model.pt")
    changes = {
        "adversary": {"method": "none"},
        "quantize": {"bits": 32},
        "head": {"method": "memguard", "epochs": 40, "lr": 5e-3},
    }
    api.harden(folder / "model.pt", None, changes, folder / "out")
    return folder / "out" / "model.onnx"


def test_the_kit_and_the_audit_answer_alike(guarded, tmp_path, monkeypatch, capsys):
    dataset = load("digits")
    x = dataset.inputs(np.arange(40))
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr("sys.argv", ["predict.py", str(guarded), str(tmp_path / "x.npy"), "--json"])
    predict.main()
    rows = json.loads(capsys.readouterr().out)["predictions"]
    shown = np.array([row["probabilities"] for row in rows])
    assert np.allclose(shown, _target(guarded, dataset).predict(x), atol=1e-5)
    plain = predict.predict(predict.open_session(guarded), x)
    assert np.allclose(_target(guarded, dataset, cut_head=True).predict(x), plain, atol=1e-5)
    assert (shown.argmax(1) == plain.argmax(1)).all()
    assert not np.allclose(shown, plain, atol=1e-3)


def test_the_audit_warns_and_the_manifest_says_where_the_guard_is(guarded):
    changes = {"audit": {"attacks": "entropy,shadow-mlp", "robust_examples": 10, "pgd_steps": 1}}
    found = api.audit(guarded, changes, cache_dir=guarded.parent / "cache", float_twin=False)
    assert found["head"] == {"kind": "memguard", "cut": False}
    assert "--cut-head" in found["warnings"][0]
    record = json.loads(guarded.with_name("model.manifest.json").read_text())
    assert record["guard"]["file"] == "model.memguard.npz"
    assert record["defences"]["head"]["mean_l1_distance"] <= 1.5


def test_a_guard_that_has_changed_is_refused(guarded):
    path = memguard.beside(guarded)
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    try:
        with pytest.raises(UserError, match="export the model again"):
            _target(guarded, load("digits"))
    finally:
        path.write_bytes(content)
