"""``edgepriv export theirs.onnx``, from the file to what stands beside the packed one."""

import json

import numpy as np
import onnx
import pytest

import edgepriv
from edgepriv.artifact.session import open_session, predict
from edgepriv.errors import UserError
from edgepriv.pipeline import _export_foreign


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A file with its weights beside it, and an .npz of what it takes with the classes that it gives."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent / "artifact"))
    from foreign_nets import file_type_classifier

    folder = tmp_path_factory.mktemp("theirs")
    path = folder / "theirs.onnx"
    onnx.save(file_type_classifier(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    x = np.random.default_rng(0).integers(0, 40, (50, 32)).astype(np.int32)
    y = predict(open_session(path), x.astype(np.float32)).argmax(1)
    np.savez(folder / "theirs.npz", x=x, y=y)
    return path


def test_a_file_with_tokens_and_external_data_is_packed_with_its_accuracy_before_and_after(theirs, tmp_path):
    out = tmp_path / "packed.onnx"
    result = edgepriv.export(theirs, bits=8, data=str(theirs.with_suffix(".npz")), out=out)
    assert (result.change["accuracy_before"], result.change["random"], result.accuracy) == (1.0, False, None)
    assert result.change["accuracy_after"] > 0.8
    assert result.parity["n"] == 50
    assert "accuracy on 50 inputs: 100.0% before" in result.readable()[0]
    assert result.size_bytes == out.stat().st_size < result.float_twin["size_bytes"]
    shown = edgepriv.show(out)
    assert [layer["bits"] for layer in shown.layers if layer["op"] != "Gather"] == [8, 8]
    timed = edgepriv.bench(out, rounds=1, runs=2, batch=1)
    assert [row["name"] for row in timed.variants] == ["model", "float"]
    assert json.loads((tmp_path / "packed.manifest.json").read_text())["elsewhere"] is True


def test_without_data_it_says_that_its_figures_are_of_random_inputs(theirs, tmp_path):
    result = edgepriv.export(theirs, bits=4, out=tmp_path / "packed.onnx")
    assert "no --data was given" in result.remarks[0]
    assert (result.change["accuracy_before"], result.change["random"]) == (None, True)
    assert {tuple(row["divergence"]) for row in result.sensitivity["rows"]} == {("2", "4", "8")}


def test_labels_that_move_are_not_shipped_in_silence(theirs, tmp_path, monkeypatch):
    measured = _export_foreign._change
    monkeypatch.setattr(_export_foreign, "_change", lambda *given: measured(*given) | {"same_label": 0.4})
    out = tmp_path / "packed.onnx"
    with np.load(theirs.with_suffix(".npz")) as known:
        np.savez(tmp_path / "unlabelled.npz", x=known["x"])
    with pytest.raises(UserError, match=r"changes the label of 60.0% of 50 inputs of .*unlabelled.npz"):
        edgepriv.export(theirs, bits=8, data=str(tmp_path / "unlabelled.npz"), out=out)
    assert not out.exists()
    result = edgepriv.export(theirs, bits=8, out=out)
    assert "changes the label of 60.0% of 64 random inputs: pass --data" in result.readable()[0]


def test_labels_that_are_not_the_models_are_refused():
    change = {"random": False, "inputs": "9 inputs", "accuracy_before": 3 / 9, "accuracy_after": 3 / 9}
    [said] = _export_foreign._lost(change, 2.0, np.arange(9) % 3)
    assert "right for 33.3% of 9 inputs" in said
    assert _export_foreign._lost(change | {"accuracy_before": 1.0, "accuracy_after": 0.99}, 2.0, np.arange(9) % 3) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"returns": "label"}, "keeps what it takes, returns and computes with"),
        ({"model": "lenet"}, "options of model say how a checkpoint"),
        ({"data": "fashion_mnist"}, "names an .npz that exists"),
        ({"recipe": edgepriv.Recipe()}, "exported by its own graph"),
        ({"input_shape": "32,x"}, "expected whole numbers"),
        ({"input_shape": "16"}, "does not|is \\[N, 32\\]"),
        ({"bits": 2, "data": "{npz}", "max_drop": -1}, "points of accuracy"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(theirs, tmp_path, options, message):
    options = {
        key: value.replace("{npz}", str(theirs.with_suffix(".npz"))) if isinstance(value, str) else value
        for key, value in options.items()
    }
    with pytest.raises(UserError, match=message):
        edgepriv.export(theirs, **({"bits": 4} | options), out=tmp_path / "packed.onnx")
    assert list(tmp_path.iterdir()) == []
