"""onnxruntime keeps no number for the device and sends no usage events: it leaves no database of theirs behind."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepriv.measure.kit import write_kit

SOURCE = Path(__file__).parents[2]


@pytest.fixture
def left_behind(tmp_path):
    """Run a command in a new home, return the files that it leaves there."""

    def run(*command):
        home = tmp_path / "home"
        home.mkdir()
        own = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
        places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(SOURCE)}
        ended = subprocess.run(list(map(str, command)), env=own | places, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        return [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]

    return run


@pytest.mark.parametrize("script", ["predict", "bench"])
def test_of_the_python_kit(script, model, left_behind, tmp_path):
    write_kit(model)
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    given = [tmp_path / "x.npy"] if script == "predict" else ["--runs", "2"]
    assert left_behind(sys.executable, model.parent / "device" / f"{script}.py", model, *given) == []


def test_of_the_kit_for_node(model, left_behind, onnxruntime_node):
    write_kit(model)
    (model.parent / "device" / "node" / "node_modules").symlink_to(onnxruntime_node)
    assert left_behind("node", model.parent / "device" / "node" / "verify.mjs") == []


def test_of_the_workstation(model, left_behind):
    code = f"import edgepriv.files, onnxruntime; onnxruntime.InferenceSession({str(model)!r})"
    assert left_behind(sys.executable, "-c", code) == []


def test_the_kit_imports_the_runtime_in_one_place():
    importing = [path.name for path in (SOURCE / "export").glob("*.py") if "import onnxruntime" in path.read_text()]
    assert importing == ["session.py"]
