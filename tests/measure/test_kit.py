import base64
import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from edgepriv.errors import UserError
from edgepriv.measure.kit import kit_paths, write_kit


def verify(folder, *arguments):
    return subprocess.run([sys.executable, folder / "verify.py", *arguments], capture_output=True, text=True)


def test_the_kit_verifies_its_model_wherever_both_are_copied(model, tmp_path):
    folder = write_kit(model)
    assert folder == model.parent / "device"
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(kit_paths(folder))
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
    assert (one / "golden.json").read_bytes() == (two / "golden.json").read_bytes()
    golden = json.loads((one / "golden.json").read_text())
    assert golden["shape"] == [16, 3]
    assert len(base64.b64decode(golden["x"])) == 48
    assert np.std(golden["outputs"]) > 0.1


def test_the_record_says_what_a_device_may_know(model):
    record = json.loads((write_kit(model) / "device.json").read_text())
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert record == {
        "model": "model.onnx",
        "files": {"model.onnx": digest},
        "class_names": ["a", "b"],
        "tolerance": 1e-3,
    }


def test_a_changed_model_is_noticed(model):
    folder = write_kit(model)
    model.write_bytes(model.read_bytes() + b"\x00")
    ended = verify(folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "not the file that was shipped" in ended.stderr


@pytest.mark.parametrize("damage", [0.01, np.nan])
def test_other_outputs_are_noticed(model, damage):
    folder = write_kit(model)
    golden = json.loads((folder / "golden.json").read_text())
    golden["outputs"][3][1] += damage
    (folder / "golden.json").write_text(json.dumps(golden))
    ended = verify(folder)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "computes something else here" in ended.stderr


@pytest.mark.parametrize("name", ["device.json", "golden.json"])
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


def test_a_model_of_a_fixed_batch_is_asked_in_its_size_and_says_so(model, tmp_path):
    parsed = onnx.load(model)
    for value in (*parsed.graph.input, *parsed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(parsed, model)
    folder = write_kit(model)
    assert json.loads((folder / "golden.json").read_text())["shape"] == [16, 3]
    ended = verify(folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "model.onnx takes one example at a time: each is asked alone" in ended.stdout
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    asked = [sys.executable, folder / "predict.py", model, tmp_path / "x.npy", "--json"]
    found = json.loads(subprocess.run(asked, capture_output=True, text=True).stdout)
    assert (found["batch"], len(found["predictions"])) == (1, 3)
    timed = [sys.executable, folder / "bench.py", model, "--batch", "4"]
    assert "takes 1 example at a time" in subprocess.run(timed, capture_output=True, text=True).stderr
