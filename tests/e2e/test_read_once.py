"""A command opens a model once: its bytes, its graph and its manifest are read one time each, and passed on.

Counted in the process of the command. Those that train reference models never see the file; those that time it are fresh on
purpose, and each opens it for itself.
"""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgepriv import data, pipeline
from edgepriv.device import session
from edgepriv.measure import bench
from edgepriv.recipe import Recipe

FAST = {"audit": {"attacks": "correctness,confidence", "robust": "quick", "robust_examples": 10, "pgd_steps": 1}}
ONCE = Recipe().with_changes(bench={"batches": (1,), "rounds": 1, "runs": 1})

counting: Counter[str] | None = None


def on_open(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and counting is not None and isinstance(arguments[0], str):
        counting[f"read {Path(arguments[0]).name}"] += 1


sys.addaudithook(on_open)  # every file that Python opens, whoever does it; there is no removing it


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Reads and parses of files, and sessions that were opened by a path, so that onnxruntime reads the file again."""
    global counting
    parse, start = onnx.ModelProto.ParseFromString, session.open_session
    counts: Counter[str] = Counter()

    def parsing(proto: onnx.ModelProto, content: bytes) -> int:
        counts[f"parse {hashlib.sha256(content).hexdigest()}"] += 1
        return parse(proto, content)

    def starting(model: object, *arguments: object) -> object:
        counts["session by path"] += not isinstance(model, bytes)
        return start(model, *arguments)

    monkeypatch.setattr(onnx.ModelProto, "ParseFromString", parsing)
    monkeypatch.setattr(session, "open_session", starting)
    counting = counts
    yield counts
    counting = None


def of(counts: Counter[str], *paths: Path) -> dict[str, list[int]]:
    """File -> how often it was read, and how often its bytes were parsed."""
    return {
        path.name: [counts[f"read {path.name}"], counts[f"parse {hashlib.sha256(path.read_bytes()).hexdigest()}"]]
        for path in paths
    }


@pytest.fixture
def shipped(hardened: Path) -> list[Path]:
    """The model, its manifest, and those of its float twin."""
    names = ("model.onnx", "model.manifest.json", "model.fp32.onnx", "model.fp32.manifest.json")
    return [hardened / "out" / name for name in names]


def test_a_plain_audit(shipped: list[Path], counted: Counter[str], tmp_path: Path) -> None:
    pipeline.audit(shipped[0], FAST, output=tmp_path / "audit.json", cache_dir=tmp_path)
    assert of(counted, *shipped) == {
        "model.onnx": [1, 1],
        "model.manifest.json": [1, 0],
        "model.fp32.onnx": [1, 1],
        "model.fp32.manifest.json": [1, 0],
    }
    assert counted["session by path"] == 0


def test_an_audit_on_files_of_the_users(shipped: list[Path], counted: Counter[str], tmp_path: Path) -> None:
    digits = data.load("digits")
    for name, part in (("in", slice(0, 60)), ("out", slice(60, 120))):
        np.savez(tmp_path / f"{name}.npz", x=digits.x[part], y=digits.y[part])
    files = {"members": tmp_path / "in.npz", "non_members": tmp_path / "out.npz"}
    pipeline.audit(shipped[0], FAST, output=tmp_path / "audit.json", accept_accuracy_loss=True, **files)
    assert of(counted, *shipped[:2]) == {"model.onnx": [1, 1], "model.manifest.json": [1, 0]}
    assert counted["session by path"] == 0


def test_showing(shipped: list[Path], counted: Counter[str]) -> None:
    """Which of the two kinds of file it is, its first bytes tell: those are looked at twice before."""
    pipeline.show(shipped[0])
    assert of(counted, *shipped[:2]) == {"model.onnx": [3, 1], "model.manifest.json": [1, 0]}


def test_benching_and_comparing(
    shipped: list[Path], counted: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.subprocess, "run", stopwatch)
    pipeline.bench(shipped[0], ONCE, output=tmp_path / "x.bench.json")
    assert of(counted, *shipped) == {
        "model.onnx": [1, 1],
        "model.manifest.json": [1, 0],
        "model.fp32.onnx": [1, 1],
        "model.fp32.manifest.json": [0, 0],
    }
    counted.clear()
    pipeline.compare([shipped[0], shipped[2]], ONCE)
    assert of(counted, shipped[0], shipped[2]) == {"model.onnx": [1, 1], "model.fp32.onnx": [1, 1]}
    assert counted["session by path"] == 0


def stopwatch(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
    """The process that times a file, without its time."""
    measured = {
        "size_bytes": 1,
        "sha256": "0",
        "load_ms": 1.0,
        "first_ms": 1.0,
        "latency_ms": {"p50": 1.0},
        "samples_ms": [1.0],
        "rss_mb": {"baseline": 1.0, "loaded": 1.0, "peak": 1.0},
        "ops": {},
        "machine": {"cpu": "none"},
        "method": {},
    }
    return subprocess.CompletedProcess(command, 0, json.dumps(measured), "")
