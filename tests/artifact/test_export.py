"""A file appears proven, or not at all."""

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
from nets import NETS, built, inputs_of

from edgepriv.artifact import build, parity
from edgepriv.artifact import export as export_module
from edgepriv.artifact.export import export
from edgepriv.artifact.model_files import external_files
from edgepriv.errors import UserError

NAMES = [f"class {label}" for label in range(5)]


def arguments(path, name="table", bits=4, n=64):
    classifier, weights, _ = built(name, bits)
    return {
        "classifier": classifier,
        "weights": weights,
        "input_shape": NETS[name][1],
        "class_names": NAMES,
        "x": inputs_of(name, n),
        "path": path,
    }


@pytest.fixture
def ready(monkeypatch):
    """``export`` with the graph of (table, 4 bits) already built; the dictionary changes what it gets."""
    changes = {}
    monkeypatch.setattr(export_module, "build_graph", lambda *_, **__: replace(built("table", 4)[2], **changes))
    return changes


def test_export_reports_what_it_wrote_and_proved(tmp_path):
    path = tmp_path / "new folder" / "model.onnx"
    exported = export(**arguments(path, n=1000))
    content = path.read_bytes()
    assert (exported.size_bytes, exported.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (exported.parity.n, exported.parity.labels_changed) == (1000, 0)
    assert exported.parity.max_difference < 1e-5
    assert exported.ops["Softmax"] == 1
    assert [(layer.name, layer.bits) for layer in exported.layers] == [
        ("first.weight", 4),
        ("second.weight", 4),
        ("head.weight", 4),
    ]
    assert exported.left_float == {}
    # The device kit hashes and copies the .onnx alone: no weight may stand in a file beside it.
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    assert external_files(path, onnx.load(path)) == []


def test_weights_that_one_file_cannot_hold_are_refused_and_never_put_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_LARGEST_FILE", 100)
    with pytest.raises(UserError, match=r"an \.onnx file holds 2 at most"):
        export(**arguments(tmp_path / "model.onnx"))
    assert list(tmp_path.iterdir()) == []


def assert_refused(tmp_path, match, **changes):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what was there before")
    with pytest.raises(UserError, match=match) as raised:
        export(**arguments(path) | changes)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_parity_writes_nothing(tmp_path, ready):
    ready["content"] = built("table", 32)[2].content
    assert_refused(tmp_path, "does not compute what was trained: on 64 inputs probabilities differ by up to 0.")


def test_weights_unpacked_at_inference_write_nothing(tmp_path, ready, monkeypatch):
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.UINT4, [2], [1, 2])
    graph = onnx.ModelProto()
    graph.graph.initializer.append(weight)
    graph.graph.node.append(onnx.helper.make_node("Cast", ["w"], ["f"], to=1))
    monkeypatch.setattr(export_module, "optimized_graph", lambda path: graph)
    assert_refused(tmp_path, r"unpack weights at every inference \(by Cast\)")


def test_missing_packed_kernels_write_nothing(tmp_path, ready):
    ready["packed_linears"] = 2
    assert_refused(tmp_path, "2 layers were packed, but onnxruntime runs 0")


def test_bytes_that_no_runtime_opens_write_nothing(tmp_path, ready):
    ready["content"] = b"not a graph"
    assert_refused(tmp_path, "cannot be opened")


def test_inputs_that_do_not_fit_write_nothing(tmp_path, ready):
    assert_refused(tmp_path, r"\[N, 40\], but these have \[8, 39\]", x=np.zeros((8, 39), np.float32))
    assert_refused(tmp_path, "at least one input", x=np.zeros((0, 40), np.float32))


def test_ties_are_not_labels_changed():
    expected = np.array([[0.5, 0.5], [0.6, 0.4], [0.3, 0.7]], np.float32)
    found = np.array([[0.4999999, 0.5000001], [0.6, 0.4], [0.3, 0.7]], np.float32)
    result = parity.compare(expected, found)
    assert (result.n, result.labels_changed, result.ties) == (3, 0, 1)
    assert result.max_difference == pytest.approx(1e-7, rel=0.3)


def test_labels_that_change_are_counted_even_within_tolerance():
    result = parity.compare(np.array([[0.50002, 0.49998]]), np.array([[0.49998, 0.50002]]))
    assert (result.labels_changed, result.ties) == (1, 0)
