"""The kit for Node agrees with the one for Python."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from edgepriv.artifact.profiles import PROFILES
from edgepriv.device import predict as kit
from edgepriv.device.bench import measure
from edgepriv.measure.devices import read_devices
from edgepriv.measure.kit import write_kit

TOLERANCE = 1e-5
"""Largest difference of a probability between onnxruntime-node 1.30 and the onnxruntime of this Python; 1e-6 was seen."""


@pytest.fixture
def node(onnxruntime_node):
    """Run a command of the kit beside a model."""

    def run(model, command, *arguments):
        folder = model.parent / "device" / "node"
        if not (folder / "node_modules").exists():
            (folder / "node_modules").symlink_to(onnxruntime_node)
        return subprocess.run(
            ["node", str(folder / f"{command}.mjs"), *map(str, arguments)], capture_output=True, text=True, timeout=60
        )

    return run


def noise(n=20):
    return np.random.default_rng(3).integers(0, 256, (n, 3, 12, 12), dtype=np.uint8)


FORMS = [{"profile": profile} for profile in PROFILES] + [
    {"output": "logits", "input": "uint8"},
    {"output": "label"},
    {"output": "label", "input": "uint8"},
]


@pytest.mark.parametrize("settings", FORMS, ids=lambda settings: "-".join(settings.values()))
def test_predictions_agree_with_python(settings, deployed, node, tmp_path):
    model = deployed(**settings)
    np.save(tmp_path / "x.npy", noise())
    session = kit.open_session(model)
    ours = kit.predict(session, kit.fit_inputs(session, noise()))
    labels = ours if ours.ndim == 1 else ours.argmax(axis=1)
    assert len(set(labels)) > 1
    ended = node(model, "predict", model, tmp_path / "x.npy", "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["class_names"] == kit.class_names(session)
    assert [row["label"] for row in found["predictions"]] == labels.tolist()
    assert found["predictions"][0]["name"] == kit.class_names(session)[labels[0]]
    form = settings.get("output", "probabilities")
    assert found["predictions"][0].keys() == {"label", "name", form}
    if form != "label":
        theirs = np.array([row[form] for row in found["predictions"]])
        np.testing.assert_allclose(theirs, ours, atol=TOLERANCE * max(1, np.abs(ours).max()))


@pytest.mark.parametrize("settings", [{}, {"output": "label", "input": "uint8"}])
def test_the_shipped_file_verifies_and_other_outputs_are_noticed(settings, deployed, node):
    model = deployed(**settings)
    ended = node(model, "verify", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["tolerance"] == (0 if settings else 1e-3)
    file = model.parent / "device" / "golden.json"
    golden = json.loads(file.read_text())
    if settings:
        golden["outputs"][3] += 1
    else:
        golden["outputs"][3][0] += 0.01
    file.write_text(json.dumps(golden))
    ended = node(model, "verify")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "computes something else here" in ended.stderr


def test_an_ort_file_that_ships_with_the_model(deployed, as_ort, node, tmp_path):
    model = deployed()
    converted = as_ort(model)
    write_kit(model, also=[converted], force=True)
    np.save(tmp_path / "x.npy", noise(4))
    expected = kit.predict(kit.open_session(model), noise(4).astype(np.float32) / np.float32(255))
    assert node(model, "verify", converted).returncode == 0
    found = json.loads(node(model, "predict", converted, tmp_path / "x.npy", "--json").stdout)
    assert found["class_names"][0] == "bridge"
    np.testing.assert_allclose([row["probabilities"] for row in found["predictions"]], expected, atol=TOLERANCE)


def test_bench_prints_what_python_prints(deployed, node, tmp_path):
    model = deployed()
    ours = measure(model, batch=2, runs=5, warmup=2)
    theirs = json.loads(node(model, "bench", model, "--runs", 5, "--warmup", 2, "--batch", 2, "--json").stdout)
    assert theirs.keys() == ours.keys()
    assert theirs["latency_ms"].keys() == ours["latency_ms"].keys()
    assert theirs["rss_mb"].keys() == ours["rss_mb"].keys()
    assert (theirs["sha256"], theirs["size_bytes"]) == (ours["sha256"], ours["size_bytes"])
    assert theirs["runtime"] == "onnxruntime-node"
    assert 0 < theirs["latency_ms"]["p50"] <= theirs["latency_ms"]["p99"]
    assert theirs["ops"]["Softmax"] == ours["ops"]["Softmax"] == 1
    (tmp_path / "both.json").write_text(json.dumps([ours, theirs]))
    imported = read_devices(tmp_path / "both.json", {ours["sha256"]: ("model", ours["size_bytes"])})
    assert [run["machine"]["cores"] for run in imported] == [ours["machine"]["cores"]] * 2


def test_every_format_gives_the_same_answer(model, node, tmp_path):
    write_kit(model)
    x = np.array([[0, 0, 0], [1, 0.5, 0.25]])
    np.save(tmp_path / "double.npy", x)
    np.save(tmp_path / "single.npy", x.astype(np.float32))
    np.savetxt(tmp_path / "x.csv", x, delimiter=",")
    (tmp_path / "x.json").write_text(json.dumps(x.tolist()))
    printed = [
        node(model, "predict", model, tmp_path / name).stdout
        for name in ("double.npy", "single.npy", "x.csv", "x.json")
    ]
    assert printed == ["     0  a  0.5000\n     1  b  0.9526\n"] * 4


def test_failures_are_one_sentence_and_exit_2(model, model_of, node, tmp_path):
    write_kit(model)
    other = model_of("g (float[N, 2] a) => (float[N, 2] out) { out = Softmax(a) }")
    (tmp_path / "wide.json").write_text("[[0, 0, 0, 0]]")
    (tmp_path / "ragged.json").write_text("[[0, 0, 0], [0, 0], [0, 0, 0, 0]]")
    (tmp_path / "single.json").write_text("3")
    (tmp_path / "zeros.json").write_text("[[0, 0, 0]]")
    divided = model_of("g (float[N, 3] a) => (float[N, 3] out) { out = Div(a, a) }", "divided.onnx")
    (tmp_path / "words.csv").write_text("a,b,c")
    (tmp_path / "large.json").write_text("[[0, 0, 9]]")
    (tmp_path / "broken.onnx").write_text("not a model")
    for command, arguments, reason in [
        ("predict", (model, tmp_path / "wide.json"), "shape [1, 4], but the model takes [N, 3]"),
        ("predict", (model, tmp_path / "ragged.json"), "differ in length"),
        ("predict", (model, tmp_path / "single.json"), "holds no list"),
        ("predict", (divided, tmp_path / "zeros.json"), "example 0 with values that are not numbers"),
        ("predict", (model, tmp_path / "words.csv"), "not finite numbers"),
        ("predict", (model, tmp_path / "large.json"), "but the model takes [0, 1]"),
        ("predict", (model, tmp_path / "absent.json"), "no such file"),
        ("predict", (tmp_path / "broken.onnx", tmp_path / "wide.json"), "cannot be opened as an ONNX model"),
        ("predict", (model,), "usage"),
        ("verify", (other,), "not the file that was shipped"),
        ("bench", (model, "--runs", "0"), "--runs 0"),
        (
            "bench",
            (
                model,
                "--fast",
            ),
            "--fast",
        ),
    ]:
        ended = node(model, command, *arguments)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended
        assert ended.stderr.startswith("error: ")
        assert reason in ended.stderr


def test_without_the_package_the_command_says_how_to_install_it(model):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    write_kit(model)
    script = model.parent / "device" / "node" / "verify.mjs"
    ended = subprocess.run(["node", str(script)], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "npm install --ignore-scripts" in ended.stderr


@pytest.mark.parametrize("size", [1, 3])
def test_a_fixed_batch_is_kept_and_said(size, node, model_of, tmp_path):
    fixed = model_of(
        f"fixed (float[{size}, 3] input) => (float[{size}, 3] probabilities) {{ probabilities = Softmax <axis = 1> (input) }}"
    )
    write_kit(fixed)
    x = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    np.save(tmp_path / "x.npy", x)
    ended = node(fixed, "predict", fixed, tmp_path / "x.npy", "--json")
    found = json.loads(ended.stdout)
    assert (found["batch"], [row["label"] for row in found["predictions"]]) == (size, [0, 1, 2, 0])
    session = kit.open_session(fixed)
    scores = [row["probabilities"] for row in found["predictions"]]
    assert np.allclose(scores, kit.predict(session, x), atol=1e-6)
    assert "at a time" in node(fixed, "verify").stdout
