"""edgepriv harden --quantizer lsq: steps are learned, kept and exported."""

import json

import onnxruntime
import pytest
import torch


@pytest.fixture
def checkpoint(edgepriv, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "[data]\nname = 'digits'\nmembers = 200\nnon_members = 200\nreference = 300\nvalidation = 60\n"
        "[model]\nname = 'mlp'\nargs = { widths = [32] }\n[train]\nepochs = 10\nlr = 5e-3\nbatch_size = 32\n"
    )
    assert edgepriv("train", "--recipe", recipe, "-o", tmp_path / "m.pt").code == 0
    return tmp_path / "m.pt"


def test_learned_steps_reach_checkpoint_and_file(edgepriv, checkpoint, tmp_path):
    out = tmp_path / "out"
    shorter = ("--epochs", "1", "--qat-epochs", "2", "--steps", "1", "--robust", "none")
    ran = edgepriv(
        "harden", checkpoint, "--quantizer", "lsq", "--bits", "2", *shorter, "--accept-accuracy-loss", "-o", out
    )
    assert ran.code == 0, ran.err
    assert json.loads((out / "model.manifest.json").read_text())["left_float"] == {}
    onnxruntime.InferenceSession(out / "model.onnx")
    kept = torch.load(out / "model.pt", weights_only=True)["state_dict"]
    assert [name for name in kept if name.endswith("_lsq_step")] == [
        "layers.0.weight_lsq_step",
        "layers.1.weight_lsq_step",
    ]
    layers = edgepriv("show", out / "model.pt", "--json").json["layers"]
    assert [layer["name"] for layer in layers] == [f"layers.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")]
    # The same file again from the checkpoint; at another width from the first value of the steps.
    assert edgepriv("export", out / "model.pt", "--accept-accuracy-loss", "-o", tmp_path / "again.onnx").code == 0
    assert (tmp_path / "again.onnx").read_bytes() == (out / "model.onnx").read_bytes()
    assert (
        edgepriv("export", out / "model.pt", "--bits", "8", "--accept-accuracy-loss", "-o", tmp_path / "wide.onnx").code
        == 0
    )


def test_without_fine_tuning_the_first_value_of_the_steps_ships(edgepriv, checkpoint, tmp_path):
    options = ("--quantizer", "lsq", "--bits", "4", "--ptq", "--adv", "none", "--accept-accuracy-loss")
    assert edgepriv("harden", checkpoint, *options, "-o", tmp_path / "out").code == 0


def test_blocks_are_refused_before_anything_is_trained(refused, checkpoint, tmp_path):
    options = ("--quantizer", "lsq", "--granularity", "block:16")
    assert "granularity channel" in refused("harden", checkpoint, *options, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
