"""edgepriv harden --noise: from the options to the manifest."""

import json

import pytest


@pytest.fixture
def checkpoint(edgepriv, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "[data]\nname = 'digits'\nmembers = 200\nnon_members = 200\nreference = 300\n"
        "[model]\nname = 'mlp'\nargs = { widths = [32] }\n[train]\nepochs = 20\nlr = 5e-3\nbatch_size = 32\n"
    )
    assert edgepriv("train", "--recipe", recipe, "-o", tmp_path / "m.pt").code == 0
    return tmp_path / "m.pt"


def test_noise_reaches_the_file_and_all_that_is_known_of_it(edgepriv, checkpoint, tmp_path):
    out = tmp_path / "out"
    options = ("--noise", "shapley", "--noise-tau", "0.4", "--noise-eps", "0.2", "--noise-beta", "0.5")
    shorter = (
        "--noise-alpha",
        "0.7",
        "--noise-epochs",
        "3",
        "--epochs",
        "1",
        "--qat-epochs",
        "1",
        "--steps",
        "1",
        "--robust",
        "none",
    )
    ran = edgepriv("harden", checkpoint, *options, *shorter, "--accept-accuracy-loss", "-o", out)
    assert ran.code == 0, ran.err
    said = " ".join(ran.out.split())
    assert "shapley noise on 200 members: entropy" in said
    assert "no label changed" in said  # parity of the quantized graph
    manifest = json.loads((out / "model.manifest.json").read_text())
    assert manifest["stages"] == ["train", "noisy", "robust", "qat"]
    facts = manifest["defences"]["noise"]
    assert facts["share_label_kept"] == 1
    assert facts["mean_entropy_after"] > facts["mean_entropy_before"]
    assert manifest["recipe"]["noise"] == {"method": "shapley", "tau": 0.4, "eps": 0.2, "beta": 0.5, "alpha": 0.7}
    for file in ("model.onnx", "model.pt", "model.robust.pt"):
        assert edgepriv("show", out / file, "--json").json["defences"]["noise"] == facts
    assert edgepriv("show", out / "model.robust.pt", "--json").json["stages"] == ["train", "noisy", "robust"]


def test_bad_noise_is_refused_before_anything_is_trained(refused, checkpoint, tmp_path):
    out = tmp_path / "out"
    assert "--noise shapley or uniform" in refused("harden", checkpoint, "--noise-tau", "1", "-o", out)
    assert "unknown noise 'gaussian': known are none, shapley, uniform" in refused(
        "harden", checkpoint, "--noise", "gaussian", "-o", out
    )
    assert "--noise-alpha: " in refused("harden", checkpoint, "--noise", "uniform", "--noise-alpha", "2", "-o", out)
    assert not out.exists()
