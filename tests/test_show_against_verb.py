"""``edgepriv show model.onnx --against float.onnx``: files of ours and from elsewhere, with and without labels."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgepriv
from edgepriv.artifact.session import open_session, predict
from edgepriv.errors import UserError


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    sys.path.insert(0, str(Path(__file__).parent / "artifact"))
    from foreign_nets import file_type_classifier

    folder = tmp_path_factory.mktemp("theirs")
    onnx.save(file_type_classifier(), folder / "theirs.onnx")
    x = np.random.default_rng(0).integers(0, 40, (50, 32)).astype(np.int32)
    y = predict(open_session(folder / "theirs.onnx"), x.astype(np.float32)).argmax(1)
    np.savez(folder / "theirs.npz", x=x, y=y)
    np.savez(folder / "unlabelled.npz", x=x)
    edgepriv.export(
        folder / "theirs.onnx",
        bits="conv*=2,*=8",
        data=str(folder / "theirs.npz"),
        out=folder / "packed.onnx",
        max_drop=90,
    )
    return folder


def test_a_file_from_elsewhere_is_diagnosed_on_an_npz(theirs):
    shown = edgepriv.show(theirs / "packed.onnx", against=theirs / "theirs.onnx", data=str(theirs / "theirs.npz"))
    assert (shown.diagnosis["accuracy"]["float"], shown.diagnosis["n"]) == (1.0, 50)
    assert {row["name"]: row["bits"] for row in shown.diagnosis["layers"]} == {
        "embed/Gather_0": 8,
        "conv/kernel_0": 2,
        "head/kernel_0": 8,
    }
    assert shown.diagnosis["widen"]["layers"][0] == {"name": "conv/kernel_0", "bits": 2, "to": 4}
    assert "conv/kernel_0=4" in shown.diagnosis["widen"]["option"]
    assert "accuracy 100.0% float" in shown.readable()[2]


def test_without_labels_it_says_that_it_measures_labels_kept(theirs):
    shown = edgepriv.show(theirs / "packed.onnx", against=theirs / "theirs.onnx", data=str(theirs / "unlabelled.npz"))
    assert shown.diagnosis["accuracy"] is None
    assert any("no labels" in note for note in shown.diagnosis["notes"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing says what data .*packed.onnx is for: pass --data"),
        ({"data": "fashion_mnist"}, "with a file from elsewhere it names an .npz"),
        ({"data": "absent.npz"}, "no such file: absent.npz"),
        ({"data": "{npz}", "against": "absent.onnx"}, "no such file: absent.onnx"),
        ({"data": "{npz}", "against": "{packed}"}, "has no float weights"),
        ({"data": "{npz}", "against": None}, "give the float file with it"),
    ],
)
def test_bad_input_is_one_sentence(theirs, options, message):
    options = {
        key: value
        and value.replace("{npz}", str(theirs / "theirs.npz")).replace("{packed}", str(theirs / "packed.onnx"))
        for key, value in options.items()
    }
    with pytest.raises(UserError, match=message):
        edgepriv.show(theirs / "packed.onnx", **({"against": theirs / "theirs.onnx"} | options))
