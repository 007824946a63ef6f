"""A model guarded by MemGuard: the kit answers as the audit was answered, and a lost guard is said."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edgepriv import pipeline
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.examples import of_dataset
from edgepriv.audit.feeding import Told
from edgepriv.audit.target import open_target
from edgepriv.data import load
from edgepriv.device import memguard, predict
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe

ACCEPTING = Told(accept=True)

RECIPE = Recipe(
    data={"name": "digits", "members": 120, "non_members": 120, "reference": 120, "holdout": 120, "validation": 60},
    model={"name": "mlp", "args": {"widths": [64]}},
    train={"epochs": 20, "lr": 5e-3},
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    pipeline.train(RECIPE, folder / "model.pt")
    changes = {
        "adversary": {"method": "none"},
        "quantize": {"bits": 32},
        "head": {"method": "memguard", "epochs": 40, "lr": 5e-3},
    }
    pipeline.harden(folder / "model.pt", None, changes, folder / "out")
    return folder / "out" / "model.onnx"


def test_the_kit_and_the_audit_answer_alike(guarded, tmp_path, monkeypatch, capsys):
    dataset = load("digits")
    x = dataset.inputs(np.arange(40))
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr("sys.argv", ["predict.py", str(guarded), str(tmp_path / "x.npy"), "--json"])
    predict.main()
    rows = json.loads(capsys.readouterr().out)["predictions"]
    shown = np.array([row["probabilities"] for row in rows])
    model = DeployedModel.open(guarded)
    assert np.allclose(shown, open_target(model, of_dataset(dataset), ACCEPTING).target.predict(x), atol=1e-5)
    plain = predict.predict(predict.open_session(guarded), x)
    assert np.allclose(
        open_target(model.cut_open(), of_dataset(dataset), ACCEPTING).target.predict(x), plain, atol=1e-5
    )
    assert (shown.argmax(1) == plain.argmax(1)).all()
    assert not np.allclose(shown, plain, atol=1e-3)


def test_the_audit_warns_and_the_manifest_says_where_the_guard_is(guarded):
    changes = {"audit": {"attacks": "entropy,shadow-mlp", "robust": "none"}}
    found = pipeline.audit(guarded, changes, cache_dir=guarded.parent / "cache", float_twin=False)
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
            open_target(DeployedModel.open(guarded), of_dataset(load("digits")), ACCEPTING)
    finally:
        path.write_bytes(content)


def test_the_kit_refuses_to_answer_without_the_guard_it_was_made_with(guarded, tmp_path):
    for name in ("model.onnx", "model.memguard.npz"):
        shutil.copy(guarded.with_name(name), tmp_path)
    shutil.copytree(guarded.with_name("device"), tmp_path / "device")
    np.save(tmp_path / "x.npy", load("digits").inputs(np.arange(3)))

    def run(*command):
        ended = subprocess.run([*command], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        return ended.returncode, ended.stderr.strip() or ended.stdout

    commands = (
        [sys.executable, "device/verify.py"],
        [sys.executable, "device/predict.py", "model.onnx", "x.npy"],
    )
    for command in commands:
        assert run(*command)[0] == 0
    assert "model.memguard.npz" in run(*commands[0])[1]
    changed = dict(np.load(tmp_path / "model.memguard.npz")) | {"epsilon": np.array(0.0)}
    np.savez(tmp_path / "model.memguard.npz", **changed)
    for command in commands:
        code, said = run(*command)
        assert (code, said.count("\n")) == (2, 0)
        assert "not the file that was shipped" in said
    (tmp_path / "model.memguard.npz").unlink()
    for command in commands:
        code, said = run(*command)
        assert (code, said.count("\n")) == (2, 0)
        assert "not protected" in said


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_node_refuses_to_show_unguarded_answers(guarded, tmp_path):
    np.save(tmp_path / "x.npy", load("digits").inputs(np.arange(3)))
    kit = guarded.with_name("device") / "node" / "predict.mjs"
    ended = subprocess.run(
        ["node", str(kit), str(guarded), str(tmp_path / "x.npy")], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stderr.strip().endswith("serve it with Python")
