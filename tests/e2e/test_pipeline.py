"""The contract of the commands, on one small model."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgepriv import data


@pytest.fixture(scope="module")
def audited(hardened: Path) -> Path:
    """The hardened model benched and audited."""
    from edgepriv import pipeline, recipe

    shipped = hardened / "out" / "model.onnx"
    pipeline.bench(shipped, recipe.load(hardened / "recipe.toml"))
    pipeline.audit(shipped, {}, cache_dir=hardened / "cache")
    return shipped


def test_harden_writes_what_the_contract_names(hardened: Path) -> None:
    out = hardened / "out"
    names = {path.name for path in out.iterdir()}
    expected = {"model.onnx", "model.pt", "model.robust.pt", "model.manifest.json", "model.fp32.onnx", "device"}
    assert expected <= names
    assert not [name for name in names if name.endswith((".part", ".partial"))]
    manifest = json.loads((out / "model.manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    assert manifest["parity"]["n"] >= 1000
    assert manifest["parity"]["max_difference"] <= 1e-4
    assert manifest["recipe"]["robust"]["adversarial"] is True
    assert {layer["bits"] for layer in manifest["layers"]} == {4}


def test_the_file_says_nothing_about_its_training(hardened: Path) -> None:
    content = (hardened / "out" / "model.onnx").read_bytes()
    model = onnx.load_from_string(content)
    assert {entry.key for entry in model.metadata_props} == {"edgepriv_version", "class_names", "bits", "profile"}
    for secret in (b"digits", b"seed", b"recipe", str(hardened).encode(), b"torch"):
        assert secret not in content


def test_the_file_is_what_a_plain_session_runs(hardened: Path) -> None:
    session = ort.InferenceSession(str(hardened / "out" / "model.onnx"))
    digits = data.load("digits")
    (probabilities,) = session.run(["probabilities"], {"input": digits.inputs(slice(7))})
    assert probabilities.shape == (7, 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_the_audit_has_the_keys_of_the_contract(audited: Path) -> None:
    content = json.loads(audited.with_suffix(".audit.json").read_text())
    assert {"utility", "threat_model", "attacks", "robustness", "float"} <= content.keys()
    for attack in content["attacks"]:
        assert {
            "name",
            "auc",
            "auc_ci",
            "balanced_accuracy",
            "tpr_at_fpr",
            "member",
            "non_member",
            "confusion",
        } <= attack.keys()
        assert set(attack["tpr_at_fpr"]) == {"0.01", "0.001"}
        assert set(attack["member"]) == {"precision", "recall", "f1"}
        assert set(attack["confusion"]) == {"tn", "fp", "fn", "tp"}
        assert attack["auc_ci"][0] <= attack["auc"] <= attack["auc_ci"][1]
    assert {"adaptive", "oblivious"} == {attack["threat_model"] for attack in content["attacks"]}
    robustness = content["robustness"]
    assert {"norm", "eps", "clean_accuracy", "attacks", "worst_case_accuracy"} <= robustness.keys()
    assert robustness["worst_case_accuracy"] <= robustness["clean_accuracy"]
    names = {attack["name"] for attack in content["attacks"]} | {row["name"] for row in content["left_out"]}
    wanted = "correctness confidence entropy modified-entropy loss shadow-mlp lira-offline lira-online rmia-offline"
    assert set(wanted.split()) <= names


def test_the_scores_reproduce_the_auc(audited: Path) -> None:
    from sklearn.metrics import roc_auc_score

    content = json.loads(audited.with_suffix(".audit.json").read_text())
    with np.load(audited.with_suffix(".audit.npz")) as saved:
        for attack in content["attacks"]:
            name = f"{attack['threat_model']}/{attack['name']}"
            # Attacks that ask many times were run on some of the candidates, and say on which.
            asked = saved[f"{name}/index"] if f"{name}/index" in saved else slice(None)
            assert roc_auc_score(saved["member"][asked], saved[name]) == pytest.approx(attack["auc"])
            assert len(saved[name]) == attack["n_members"] + attack["n_non_members"]


def test_the_bench_has_the_keys_of_the_contract(audited: Path) -> None:
    content = json.loads(audited.with_suffix(".bench.json").read_text())
    assert {row["name"] for row in content["variants"]} == {"model", "float"}
    for row in content["variants"]:
        assert {
            "name",
            "size_bytes",
            "load_ms",
            "first_ms",
            "latency_ms",
            "rss_mb",
            "ops",
            "threads",
            "batch",
        } <= row.keys()
        assert {"p50", "p90", "p99", "n"} <= row["latency_ms"].keys()
        assert {"loaded", "peak"} <= row["rss_mb"].keys()
        assert row["latency_ms"]["n"] == 40
    assert content["ratios"]


def test_the_report_is_one_file_without_a_network(audited: Path) -> None:
    page = audited.with_suffix(".audit.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html")
    assert 'src="http' not in page
    assert "<svg" in page


def test_an_audit_on_files_leaves_out_what_needs_references(edgepriv, hardened: Path, tmp_path: Path) -> None:
    model = tmp_path / "foreign.onnx"
    shutil.copy(hardened / "out" / "model.fp32.onnx", model)
    digits = data.load("digits")
    np.savez(tmp_path / "a.npz", x=digits.x[:200], y=digits.y[:200])
    np.savez(tmp_path / "b.npz", x=digits.x[200:400], y=digits.y[200:400])
    ran = edgepriv(
        "audit",
        model,
        "--members",
        tmp_path / "a.npz",
        "--non-members",
        tmp_path / "b.npz",
        "--robust",
        "quick",
        "--json",
    )
    assert ran.code == 0, ran.err
    assert {"lira-online", "rmia-offline", "shadow-mlp"} <= {row["name"] for row in ran.json["left_out"]}
    assert all(row["reason"] for row in ran.json["left_out"])
    assert {"confidence", "entropy"} <= {attack["name"] for attack in ran.json["attacks"]}
    assert ran.json["robustness"]["worst_case_accuracy"] is not None


def test_a_limit_that_is_exceeded_exits_3_and_names_the_attack(edgepriv, audited: Path) -> None:
    ran = edgepriv(
        "audit",
        audited,
        "--attacks",
        "quick",
        "--robust",
        "none",
        "--no-float-twin",
        "--fail-if",
        "auc>0.01",
        "--force",
    )
    assert ran.code == 3
    assert "auc>0.01 is exceeded" in ran.err
    assert audited.with_suffix(".audit.json").exists()
    ran = edgepriv(
        "audit",
        audited,
        "--attacks",
        "quick",
        "--robust",
        "none",
        "--no-float-twin",
        "--fail-if",
        "auc>0.01",
        "--force",
        "--json",
    )
    assert ran.code == 3
    assert ran.json["attacks"]


def test_what_is_measured_does_not_change_how_references_are_trained(edgepriv, audited: Path, tmp_path: Path) -> None:
    cache = audited.parent.parent / "cache"
    trained = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npz")}
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        '[audit]\nrobust = "quick"\nrobust_examples = 7\npgd_steps = 2\n[train]\nepochs = 77\n[adversary]\nnorm = "l2"\n'
    )
    ran = edgepriv("audit", audited, "--cache-dir", cache, "--recipe", recipe, "--references", 4, "-o",
                   tmp_path / "l2.json", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    assert (ran.json["robustness"]["norm"], ran.json["robustness"]["eps"]) == ("l2", 0.5)
    assert ran.json["robustness"]["n"] == 7
    found = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npz")}
    assert trained.items() <= found.items()
    # What is new are the references' answers to other perturbations, which carry a hash of them in their name, and what
    # evasion has left of the file.
    new = [path for path in found.keys() - trained if path.parent.name != "robustness"]
    assert new
    assert all(path.name.count(".") == 2 and path.parent in {old.parent for old in trained} for path in new)


def test_references_are_trained_by_the_stages_that_have_run(
    edgepriv, hardened: Path, tmp_path: Path, monkeypatch
) -> None:
    from edgepriv.audit import trained_attackers
    from edgepriv.errors import UserError

    edgepriv("export", hardened / "float.pt", "--bits", 4, "--accept-accuracy-loss", "-o", tmp_path / "m.onnx")
    asked = []

    def train_fleet(recipe, *args, **options):
        asked.append(recipe)
        if len(asked) == 2:
            raise UserError("enough")

    monkeypatch.setattr(trained_attackers, "train_fleet", train_fleet)
    assert edgepriv("audit", tmp_path / "m.onnx").code == 2
    assert [tuple(recipe.stages()) for recipe in asked] == [("train",), ("train",)]
    assert [recipe.quantize.bits for recipe in asked] == [
        32,
        4,
    ]  # the oblivious attacker, whose models others go on from


def test_every_command_prints_one_json_object(edgepriv, hardened: Path, tmp_path: Path) -> None:
    shipped, recipe = hardened / "out" / "model.onnx", hardened / "recipe.toml"
    trained = edgepriv(
        "train", "--recipe", recipe, "--epochs", 1, "--accept-accuracy-loss", "-o", tmp_path / "a.pt", "--json"
    )
    assert trained.json["checkpoint"] == str(tmp_path / "a.pt")
    exported = edgepriv(
        "export", tmp_path / "a.pt", "--bits", 8, "--accept-accuracy-loss", "-o", tmp_path / "a.onnx", "--json"
    )
    assert exported.json["parity"]["labels_changed"] == 0
    assert edgepriv("show", tmp_path / "a.onnx", "--json").json["bits"] == "8"
    assert edgepriv("show", hardened / "float.pt", "--json").json["stages"] == ["train"]
    benched = edgepriv("bench", shipped, "--runs", 5, "--rounds", 1, "-o", tmp_path / "b.json", "--json")
    assert benched.json["variants"]
    compared = edgepriv("compare", shipped, tmp_path / "a.onnx", "--runs", 5, "--rounds", 1, "--json")
    assert [row["change"] is None for row in compared.json] == [True, False]
    assert compared.json[1]["change"]["verdicts"]["size"] == "worse"


def test_a_baseline_gates_the_next_audit(edgepriv, refused, hardened: Path, tmp_path: Path) -> None:
    shipped, old = hardened / "out" / "model.onnx", tmp_path / "old.audit.json"
    quick = ("--attacks", "quick", "--robust", "none", "--no-float-twin")
    assert edgepriv("audit", shipped, *quick, "-o", old).code == 0
    ran = edgepriv("audit", shipped, *quick, "--baseline", old, "--show-records", "-o", tmp_path / "new.json", "--json")
    assert ran.code == 0, ran.err
    assert "shown_records" not in json.loads(old.read_text())  # never unless asked for
    note = ran.json["shown_records"]["note"]
    assert note.startswith(("This audit holds records", "No record is shown"))
    assert note[:60] in (tmp_path / "new.html").read_text()
    assert ran.json["limits"][0]["outcome"] == "met"
    assert ran.json["baseline"]["verdicts"]["leakage"] == "within noise"
    assert f"--baseline {old}" in (tmp_path / "new.html").read_text()
    content = json.loads(old.read_text())
    for row in content["attacks"]:  # as if the earlier version had leaked nothing, of which no scores are left
        row |= {"auc": 0.2, "auc_ci": [0.19, 0.21], "auc_ci_simultaneous": [0.19, 0.21]}
    old.write_text(json.dumps(content))
    ran = edgepriv("audit", shipped, *quick, "--baseline", old, "-o", tmp_path / "worse.json")
    assert ran.code == 3
    assert "beyond noise: AUC of the strongest attack 0.200 ->" in ran.err
    old.write_text(json.dumps(content | {"data": content["data"] | {"sha256": "0" * 64}}))
    assert "on another data set" in refused("audit", shipped, *quick, "--baseline", old, "-o", tmp_path / "no.json")
    assert not (tmp_path / "no.json").exists()
    assert "choose another -o" in refused("audit", shipped, *quick, "--baseline", old, "-o", old, "--force")


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8, 32])
def test_every_width_exports(edgepriv, hardened: Path, tmp_path: Path, bits: int) -> None:
    ran = edgepriv(
        "export", hardened / "float.pt", "--bits", bits, "--max-drop", 100, "-o", tmp_path / "m.onnx", "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.json["parity"]["max_difference"] <= 1e-4
    shown = edgepriv("show", tmp_path / "m.onnx", "--json").json
    assert shown["bits"] == str(bits)


def test_a_bare_state_dict_is_hardened_with_member_files(edgepriv, hardened: Path, tmp_path: Path) -> None:
    import torch

    weights = torch.load(hardened / "float.pt", weights_only=True)["state_dict"]
    torch.save(weights, tmp_path / "weights.pt")
    digits = data.load("digits")
    np.savez(tmp_path / "a.npz", x=digits.x[:300], y=digits.y[:300])
    np.savez(tmp_path / "b.npz", x=digits.x[300:900], y=digits.y[300:900])
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        '[model]\nname = "cnn"\nargs = { width = 4 }\nmean = [0.5]\nstd = [0.25]\n'
        "[robust]\nepochs = 1\n[qat]\nepochs = 1\n[quantize]\nbits = 4\n"
    )
    ran = edgepriv(
        "harden", tmp_path / "weights.pt", "--recipe", recipe, "--members", tmp_path / "a.npz", "--non-members",
        tmp_path / "b.npz", "--adv", "fgsm", "--eps", "0.1", "--robust", "quick", "--robust-examples", 20,
        "-o", tmp_path / "out", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["robustness"]["n"] == 20
    manifest = json.loads((tmp_path / "out" / "model.manifest.json").read_text())
    assert manifest["data"]["split"]["sizes"]["members"] == 300


def test_show_measures_what_each_layer_loses(edgepriv, hardened, refused):
    table = edgepriv("show", hardened / "float.pt", "--sensitivity", "--json").json["sensitivity"]
    assert {row["name"] for row in table["rows"]} == {"conv1", "conv2", "conv3", "fc"}
    narrow = [row["divergence"]["2"] for row in table["rows"]]
    assert narrow == sorted(narrow)
    assert (table["n"], table["of"]) == (150, "non-members")  # the half that choices are made by
    shown = edgepriv("show", hardened / "float.pt", "--sensitivity").out
    assert "noise ±" in shown
    assert "give it the checkpoint" in refused("show", hardened / "out/model.onnx", "--sensitivity")
    assert "--data-dir is for --sensitivity" in refused("show", hardened / "float.pt", "--data-dir", hardened)
