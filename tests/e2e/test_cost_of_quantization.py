"""What quantization cost is told against the weights before it, not against what training with rounded ones left behind."""

import json
from pathlib import Path
from typing import Any

import pytest

RECIPE = (
    "[data]\nname = 'digits'\nmembers = 400\nnon_members = 400\nreference = 100\nvalidation = 60\n"
    "[model]\nname = 'mlp'\nargs = { widths = [32] }\n[train]\nepochs = 15\nlr = 5e-3\nbatch_size = 32\n"
)
SHORT = ("--adv", "none", "--robust", "none", "--quantizer", "lsq", "--bits", "2")


@pytest.fixture
def checkpoint(edgepriv, tmp_path: Path) -> Path:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    assert edgepriv("train", "--recipe", recipe, "-o", tmp_path / "m.pt").code == 0
    return tmp_path / "m.pt"


def told(out: Path) -> dict[str, Any]:
    accuracy: dict[str, Any] = json.loads((out / "model.manifest.json").read_text())["accuracy"]
    return accuracy


def held_out(accuracy: dict[str, Any], place: int) -> float:
    return float(accuracy["rows"][place]["held_out"]["accuracy"])


def test_against_the_checkpoint_where_only_rounded_weights_were_trained(edgepriv, checkpoint, tmp_path):
    options = (*SHORT, "--qat-epochs", "3", "--accept-accuracy-loss")
    assert edgepriv("harden", checkpoint, *options, "-o", tmp_path / "out").code == 0
    accuracy = told(tmp_path / "out")
    floating, deployed, twin = (held_out(accuracy, place) for place in range(3))
    assert accuracy["rows"][0]["model"] == "float weights"
    assert floating == twin, "the same weights, in torch and in onnxruntime"
    assert [cost["of"] for cost in accuracy["costs"]] == ["quantization"]
    assert accuracy["costs"][0]["points"] == pytest.approx(100 * (twin - deployed))


def test_a_loss_in_training_with_rounded_weights_is_no_free_one(edgepriv, checkpoint, tmp_path):
    """Training that ruins the model ruins the float weights behind the rounded ones too: beside these nothing would be lost."""
    recipe = tmp_path / "ruin.toml"
    recipe.write_text(f"{RECIPE}[qat]\nepochs = 2\noptimizer = 'sgd'\nlr = 0.1\nweight_decay = 8.0\n")
    ran = edgepriv("harden", checkpoint, *SHORT, "--bits", "4", "--recipe", recipe, "-o", tmp_path / "out")
    assert ran.code == 2
    assert "quantization cost" in ran.err
    assert "of --max-drop" in ran.err


def test_adversarial_training_of_rounded_weights_alone_is_not_called_quantization(edgepriv, checkpoint, tmp_path):
    options = ("--adv", "pgd", "--eps", "0.1", "--steps", "1", "--epochs", "0", "--bits", "4", "--qat-epochs", "1")
    options += ("--robust", "none", "--accept-accuracy-loss")
    assert edgepriv("harden", checkpoint, *options, "-o", tmp_path / "out").code == 0
    assert [cost["of"] for cost in told(tmp_path / "out")["costs"]] == ["quantization with adversarial training"]


def test_after_adversarial_training_against_its_weights(edgepriv, checkpoint, tmp_path):
    adversarial = ("--adv", "pgd", "--eps", "0.1", "--steps", "1", "--epochs", "2")
    options = (*adversarial, "--bits", "2", "--quantizer", "lsq", "--qat-epochs", "3", "--robust", "none")
    out = tmp_path / "out"
    assert edgepriv("harden", checkpoint, *options, "--accept-accuracy-loss", "-o", out).code == 0
    float_file = tmp_path / "robust.onnx"
    exporting = ("export", out / "model.robust.pt", "--bits", "32", "--accept-accuracy-loss", "-o", float_file)
    assert edgepriv(*exporting).code == 0
    robust = json.loads(float_file.with_suffix(".manifest.json").read_text())["accuracy"]
    accuracy = told(out)
    floating, deployed, twin = (held_out(accuracy, place) for place in range(3))
    assert floating == held_out(robust, 1)
    assert accuracy["costs"] == [
        {"of": "adversarial training", "points": pytest.approx(100 * (twin - floating))},
        {"of": "quantization", "points": pytest.approx(100 * (floating - deployed))},
    ]
    assert not list(out.glob("*.partial"))


def test_what_acted_beside_the_rounding_is_named(edgepriv, checkpoint, tmp_path):
    options = (*SHORT, "--qat-epochs", "3", "--label-smoothing", "0.1", "--accept-accuracy-loss")
    ran = edgepriv("harden", checkpoint, *options, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert [cost["of"] for cost in told(tmp_path / "out")["costs"]] == ["quantization with label smoothing"]


def test_exported_again_against_the_better_of_its_weights(edgepriv, checkpoint, tmp_path):
    recipe, out, wide = tmp_path / "rounded.toml", tmp_path / "out", tmp_path / "wide.onnx"
    recipe.write_text(f"{RECIPE}[quantize]\nbits = 2\nquantizer = 'lsq'\n[qat]\nepochs = 20\nlr = 1e-2\n")
    options = ("--adv", "none", "--robust", "none", "--recipe", recipe)
    assert edgepriv("harden", checkpoint, *options, "-o", out).code == 0
    assert edgepriv("export", out / "model.pt", "--bits", "8", "--accept-accuracy-loss", "-o", wide).code == 0
    accuracy = json.loads(wide.with_suffix(".manifest.json").read_text())["accuracy"]
    assert accuracy["rows"][0]["model"] == "rounded weights as trained"
    assert held_out(accuracy, 0) == held_out(told(out), 1) > held_out(accuracy, 1)


def test_what_rounded_training_left_behind_is_no_float_network(edgepriv, checkpoint, tmp_path):
    out = tmp_path / "out"
    options = (*SHORT, "--qat-epochs", "1", "--accept-accuracy-loss")
    assert edgepriv("harden", checkpoint, *options, "-o", out).code == 0
    assert "by-product" in edgepriv("show", out / "model.onnx", "--against", out / "model.pt").out
    assert "by-product" not in edgepriv("show", out / "model.onnx", "--against", checkpoint).out


def test_a_checkpoint_that_was_trained_rounded_is_compared_as_it_was_used(edgepriv, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f"{RECIPE}quantized = true\n[quantize]\nbits = 2\nquantizer = 'lsq'\n")
    assert edgepriv("train", "--recipe", recipe, "-o", tmp_path / "m.pt").code == 0
    options = ("--adv", "none", "--robust", "none", "--qat-epochs", "1", "--accept-accuracy-loss")
    assert edgepriv("harden", tmp_path / "m.pt", *options, "-o", tmp_path / "out").code == 0
    accuracy = told(tmp_path / "out")
    assert accuracy["rows"][0]["model"] == "rounded weights as trained"
    assert held_out(accuracy, 0) > held_out(accuracy, 2), "the float twin has the weights behind the rounded ones"
