import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepriv.device import predict as kit

SCRIPT = Path(kit.__file__)


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def test_session_has_default_options_but_for_threads(model):
    options = kit.open_session(model, threads=2).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.graph_optimization_level.name == "ORT_ENABLE_ALL"


def test_session_opens_bytes_like_a_path(model):
    x = np.ones((1, 3), np.float32)
    from_bytes = kit.predict(kit.open_session(model.read_bytes()), x)
    np.testing.assert_array_equal(from_bytes, kit.predict(kit.open_session(str(model)), x))


def test_batches_do_not_change_predictions(model):
    x = np.random.default_rng(0).random((5, 3), np.float32)
    probabilities = kit.predict(kit.open_session(model), x, batch=2)
    np.testing.assert_allclose(probabilities[:, 1], sigmoid(x @ [1, 2, 4]), rtol=1e-6)


def test_uint8_is_scaled_and_a_single_example_gets_a_batch_axis(model):
    fitted = kit.fit_inputs(kit.open_session(model), np.array([0, 51, 255], np.uint8))
    np.testing.assert_allclose(fitted, [[0, 0.2, 1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.zeros((2, 4), np.float32), "shape"),
        (np.full((2, 3), 1.5), r"lie in \[1.5, 1.5\]"),
        (np.full((2, 3), np.nan), "not finite"),
        (np.full((2, 3), "a"), "the inputs are <U1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(model, x, reason):
    with pytest.raises(kit.KitError, match=reason):
        kit.fit_inputs(kit.open_session(model), x)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv"])
def test_command_reads_every_format(model, tmp_path, name):
    x = np.array([[0, 0, 0], [1, 0.5, 0.25]], np.float32)
    inputs = tmp_path / name
    if name == "x.csv":
        np.savetxt(inputs, x, delimiter=",")
    elif name == "x.npz":
        np.savez(inputs, x=x, y=[0, 1])
    else:
        np.save(inputs, x)
    result = json.loads(run(model, inputs, "--json").stdout)
    assert result["class_names"] == ["a", "b"]
    assert [row["name"] for row in result["predictions"]] == ["a", "b"]
    assert result["predictions"][1]["probabilities"][1] == pytest.approx(sigmoid(3), rel=1e-5)


def test_command_prints_one_line_per_example(model, tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0, 0, 1]], np.float32))
    assert run(model, tmp_path / "x.npy").stdout.split() == ["0", "b", f"{sigmoid(4):.4f}"]


def test_failures_are_one_sentence_and_exit_2(model, model_of, tmp_path):
    divided = model_of("g (float[N, 3] a) => (float[N, 3] out) { out = Div(a, a) }", "divided.onnx")
    np.save(tmp_path / "zeros.npy", np.zeros((1, 3), np.float32))
    np.save(tmp_path / "x.npy", np.ones((1, 7)))
    np.savez(tmp_path / "many.npz", left=1, right=2)
    (tmp_path / "broken.onnx").write_text("not a model")
    (tmp_path / "broken.npy").write_text("not an array")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04, but no archive")
    np.save(tmp_path / "empty.npy", np.ones((0, 3)))
    for arguments, reason in [
        ((model, tmp_path / "x.npy"), "shape [1, 7], but the model takes [N, 3]"),
        ((model, tmp_path / "absent.npy"), "no such file"),
        ((divided, tmp_path / "zeros.npy"), "example 0 with values that are not numbers"),
        ((model, tmp_path / "many.npz"), "left, right"),
        ((model, tmp_path / "broken.npy"), "not a readable"),
        ((model, tmp_path / "broken.npz"), "not a readable"),
        ((model, tmp_path / "empty.npy"), "no example"),
        ((tmp_path / "broken.onnx", tmp_path / "x.npy"), "cannot be opened as an ONNX model"),
    ]:
        ended = run(*arguments)
        assert ended.returncode == 2
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1
        assert reason in ended.stderr


def test_metadata_that_is_no_list_of_names_counts_as_none(model_of, tmp_path):
    import onnx

    path = model_of("g (float[N, 2] input) => (float[N, 2] out) { out = Softmax(input) }")
    foreign = onnx.load(path)
    onnx.helper.set_model_props(foreign, {"class_names": "a,b"})
    onnx.save(foreign, path)
    assert kit.class_names(kit.open_session(path)) == []
