"""The export options, as they are typed."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgepriv.artifact.session import check_contract, open_session


def test_bytes_in_labels_out_for_other_compilers(edgepriv, hardened: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.onnx"
    ran = edgepriv(
        "export", hardened / "float.pt", "--bits", "conv1=8,fc*=2,*=4", "--profile", "portable", "--output", "label",
        "--input", "uint8", "--accept-accuracy-loss", "-o", output,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "input: bytes" in ran.out
    assert "output: label" in ran.out
    assert "real inputs: no label changed" in ran.out
    session = open_session(output)
    contract = check_contract(session)
    assert (contract.returns, contract.input_dtype) == ("label", "uint8")
    (labels,) = session.run(["label"], {"input": np.zeros((2, *contract.row_shape), np.uint8)})
    assert (labels.dtype, labels.shape) == (np.int64, (2,))
    twin = open_session(tmp_path / "x.fp32.onnx")
    assert check_contract(twin).returns == "label", "the float twin takes and returns the same"


def test_a_layer_that_the_recipe_leaves_float_is_said(edgepriv, hardened: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.onnx"
    shown = edgepriv("show", hardened / "float.pt", "--json").json["layers"]
    first = next(layer["name"] for layer in shown if len(layer["shape"]) == 4).removesuffix(".weight")
    reason = "the recipe leaves it at 32 bits"
    ran = edgepriv("export", hardened / "float.pt", "--bits", f"{first}=32,*=4", "--accept-accuracy-loss", "-o", output)
    assert f"float by the recipe: {first}" in ran.out
    assert json.loads((tmp_path / "x.manifest.json").read_text())["left_float"] == {f"{first}.weight": reason}
    shown = edgepriv("show", output, "--json").json
    assert shown["left_float"] == {}, "what was asked for is no shortcoming"
    assert {layer["name"]: layer["bits"] for layer in shown["layers"]}[f"{first}.weight"] == 32


def test_int8_and_ort_are_measured_and_recorded(edgepriv, hardened: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.onnx"
    ran = edgepriv(
        "export", hardened / "float.pt", "--bits", 4, "--compute", "int8", "--ort", "--accept-accuracy-loss",
        "-o", output, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    manifest = json.loads((tmp_path / "x.manifest.json").read_text())
    assert set(ran.json["parity"]["int8"]) == {"n", "max_difference", "labels_changed", "changed_ci"}
    assert manifest["parity"] == ran.json["parity"]
    assert manifest["ort"] == ran.json["ort"]
    assert ran.json["ort"]["size_bytes"] == (tmp_path / "x.ort").stat().st_size
    options = ("--runs", 5, "--rounds", 1, "-o", tmp_path / "b.json", "--json")
    benched = edgepriv("bench", output, "--against", tmp_path / "x.ort", *options)
    assert benched.code == 0, benched.err
    assert "x.ort" in benched.json["files"]
    again = edgepriv("export", hardened / "float.pt", "--bits", 4, "--accept-accuracy-loss", "-o", output, "--force")
    assert again.code == 0, again.err
    assert not (tmp_path / "x.ort").exists(), "it would be of another model"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--output", "some/path"), "the file to write is named by -o"),
        (("--profile", "tiny"), "profile"),
        (("--profile", "portable", "--keep-packed", "--ort"), "use --profile memory"),
        (("--profile", "portable", "--compute", "int8"), "int8"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(refused, hardened: Path, tmp_path: Path, options, reason) -> None:
    told = refused("export", hardened / "float.pt", "--bits", 4, *options, "-o", tmp_path / "x.onnx")
    assert reason in told
    assert not list(tmp_path.iterdir())
