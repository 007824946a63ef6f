import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edgepriv.errors import UserError
from edgepriv.measure.kit import kit_paths, write_kit


def verify(folder, *arguments):
    return subprocess.run([sys.executable, folder / "verify.py", *arguments], capture_output=True, text=True)


def test_the_kit_verifies_its_model_wherever_both_are_copied(model, tmp_path):
    folder = write_kit(model)
    assert folder == model.parent / "device"
    assert sorted(folder.iterdir()) == sorted(kit_paths(folder))
    device = tmp_path / "elsewhere"
    shutil.copytree(folder, device / "device")
    shutil.copy(model, device)
    ended = verify(device / "device", "--json")
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["difference"] == 0
    timed = subprocess.run([sys.executable, device / "device" / "bench.py", model, "--runs", "3", "--json"], text=True)
    assert timed.returncode == 0


def test_golden_inputs_are_noise_from_a_fixed_seed(model, tmp_path):
    one, two = write_kit(model, tmp_path / "one"), write_kit(model, tmp_path / "two")
    assert (one / "golden.npz").read_bytes() == (two / "golden.npz").read_bytes()
    golden = np.load(one / "golden.npz")
    assert golden["x"].shape == (16, 3)
    assert golden["outputs"].std() > 0.1


def test_a_changed_model_is_noticed(model):
    folder = write_kit(model)
    model.write_bytes(model.read_bytes() + b"\x00")
    ended = verify(folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "not the file that was shipped" in ended.stderr


@pytest.mark.parametrize("damage", [0.01, np.nan])
def test_other_outputs_are_noticed(model, damage):
    folder = write_kit(model)
    golden = dict(np.load(folder / "golden.npz"))
    np.savez(folder / "golden.npz", x=golden["x"], outputs=golden["outputs"] + damage)
    ended = verify(folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "computes something else here" in ended.stderr


@pytest.mark.parametrize("name", ["device.json", "golden.npz"])
def test_a_damaged_kit_is_noticed(model, name):
    folder = write_kit(model)
    (folder / name).write_text("{}")
    ended = verify(folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "copy the kit again" in ended.stderr


def test_a_kit_is_not_overwritten_unless_told(model):
    write_kit(model)
    with pytest.raises(UserError, match="exists already"):
        write_kit(model)
    write_kit(model, force=True)


def test_a_model_that_does_not_open_gets_no_kit(tmp_path):
    (tmp_path / "broken.onnx").write_text("not a model")
    with pytest.raises(UserError, match="cannot be opened"):
        write_kit(tmp_path / "broken.onnx")
    assert not (tmp_path / "device").exists()
