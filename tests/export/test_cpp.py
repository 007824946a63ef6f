"""The C++ example, built where a compiler, CMake and onnxruntime's headers are: ONNXRUNTIME_ROOT names their folder."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgepriv.measure.kit import write_kit

ROOT = os.environ.get("ONNXRUNTIME_ROOT", "")
missing = [name for name in ("cmake", "c++") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.skipif(not ROOT, reason="ONNXRUNTIME_ROOT does not name onnxruntime's release package"),
]


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Build main.cpp, return a function that runs it beside a model."""
    build = tmp_path_factory.mktemp("build")
    source = Path(__file__).parents[2] / "export" / "cpp"
    subprocess.run(["cmake", "-S", source, "-B", build, f"-DONNXRUNTIME_ROOT={ROOT}"], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)

    def run(model, *threads):
        where = os.environ | {"LD_LIBRARY_PATH": f"{ROOT}/lib"}
        command = [build / "check", model, model.parent / "device", *threads]
        return subprocess.run(command, capture_output=True, text=True, env=where)

    return run


@pytest.mark.parametrize("takes", ["float", "uint8"])
def test_golden_outputs_are_checked(takes, pictured, check):
    model = pictured(takes=takes)
    kit = write_kit(model)
    ended = check(model)
    assert ended.returncode == 0, ended.stderr
    assert "16 golden outputs agree within" in ended.stdout
    golden = json.loads((kit / "golden.json").read_text())
    golden["outputs"][5][1] += 0.01
    (kit / "golden.json").write_text(json.dumps(golden))
    ended = check(model)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "computes something else here" in ended.stderr


@pytest.mark.parametrize("size", [1, 5])
def test_a_fixed_batch_is_kept(size, model_of, check):
    model = model_of(f"g (float[{size}, 3] input) => (float[{size}, 3] out) {{ out = Softmax <axis = 1> (input) }}")
    write_kit(model)
    ended = check(model)
    assert ended.returncode == 0, ended.stderr
    assert "16 golden outputs agree within" in ended.stdout
    assert check(model, "many").stderr == "error: THREADS many: give a whole number, 0 for all cores\n"


def test_labels_are_equal_or_not(model_of, check):
    model = model_of("g (float[N, 3] input) => (int64[N] label) { label = ArgMax <axis = 1, keepdims = 0> (input) }")
    kit = write_kit(model)
    assert check(model).returncode == 0
    golden = json.loads((kit / "golden.json").read_text())
    golden["outputs"][0] += 1
    (kit / "golden.json").write_text(json.dumps(golden))
    assert check(model).returncode == 2
