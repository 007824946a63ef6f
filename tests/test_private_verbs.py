"""What differentially private training proved follows the model: into checkpoint, manifest, audit and report."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from edgepriv import pipeline
from edgepriv.audit.dp_guarantee import compare_with_guarantee
from edgepriv.cli import app
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences import DEFENCES
from edgepriv.report.summary import proven

RECIPE = Recipe(
    data={"name": "digits"},
    model={"name": "mlp", "args": {"widths": [16]}},
    train={"epochs": 2, "batch_size": 64},
    dp={"epsilon": 5.0, "clip": 0.7},
    audit={
        "references": 2,
        "attacks": "confidence,lira-online",
        "robust": "quick",
        "robust_examples": 20,
        "threat_models": ("adaptive",),
    },
)


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private")
    return folder, pipeline.train(RECIPE, folder / "model.pt", accept_accuracy_loss=True)


@pytest.fixture(scope="module")
def hardened(private):
    folder, _ = private
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("edgepriv.project.say", said.append)
        pipeline.harden(folder / "model.pt", None, {}, folder / "out", accept_accuracy_loss=True)
    (folder / "said.txt").write_text("\n".join(said))
    return folder / "out"


def test_what_was_spent_is_reported_and_kept(private):
    folder, result = private
    dp = result["defences"]["dp"]
    assert 4.9 < dp["epsilon"] <= 5.0
    assert (dp["clip"], dp["sampling"]) == (0.7, "poisson")
    assert pipeline.show(folder / "model.pt")["defences"]["dp"] == dp


def test_the_command_line_says_what_was_spent(tmp_path):
    options = [
        "train",
        "-o",
        str(tmp_path / "m.pt"),
        "--data",
        "digits",
        "--model",
        "mlp",
        "--widths",
        "8",
        "--epochs",
        "1",
        "--accept-accuracy-loss",
    ]
    done = CliRunner().invoke(app, [*options, "--dp-epsilon", "3", "--dp-delta", "1e-3", "--dp-clip", "2"])
    assert "differential privacy: epsilon 3 at delta 0.001 spent" in done.output.replace("2.99", "3")
    assert "clipped to 2" in done.output


@pytest.mark.parametrize("asked", [{"relax": 1.0}, {"patience": 2, "select": "best"}])
def test_what_acts_while_training_is_refused_where_no_stage_trains(private, tmp_path, asked):
    changes = {"robust": asked, "qat": asked}
    with pytest.raises(UserError, match=f"--{next(iter(asked))} acts while training, and no stage trains here"):
        pipeline.harden(private[0] / "model.pt", None, changes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_hardening_only_rounds_the_weights_and_the_manifest_has_the_epsilon(private, hardened):
    record = json.loads((hardened / "model.manifest.json").read_text())
    assert record["defences"]["dp"] == private[1]["defences"]["dp"]
    assert record["stages"] == ["train"]
    assert pipeline.show(hardened / "model.onnx")["defences"]["dp"]["epsilon"] > 4.9
    assert pipeline.show(hardened / "model.pt")["recipe"]["quantize"]["bits"] == 4
    assert "without adversarial training and without fine-tuning" in (private[0] / "said.txt").read_text()


@pytest.mark.parametrize(
    "changes", [{"adversary": {"method": "pgd"}}, {"qat": {"epochs": 2}}, {"robust": {"epochs": 1, "relax": 0.5}}]
)
def test_training_on_without_privacy_is_refused(private, tmp_path, changes):
    with pytest.raises(UserError, match="--ptq"):
        pipeline.harden(private[0] / "model.pt", None, changes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fine_tuning_under_the_same_accountant(private, tmp_path):
    changes = {"dp": {"total": 6.5}, "qat": {"epochs": 1}}
    pipeline.harden(private[0] / "model.pt", None, changes, tmp_path / "out", accept_accuracy_loss=True)
    record = json.loads((tmp_path / "out" / "model.manifest.json").read_text())
    dp, trained = record["defences"]["dp"], private[1]["defences"]["dp"]
    assert record["stages"] == ["train", "qat"]
    assert 6.3 < dp["epsilon"] <= 6.5
    assert [own["steps"] for own in dp["stages"]] == [trained["steps"], trained["steps"] // 2]
    assert dp["stages"][0]["noise_multiplier"] == trained["noise_multiplier"]
    first, later = (
        f"{own['noise_multiplier']:.3g} in {own['steps']} steps at sampling rate {own['sample_rate']:.3g}"
        for own in dp["stages"]
    )
    assert f"noise multipliers {first}, then {later}" in DEFENCES["dp"].terminal_lines(dp)[0]
    siblings = "other files that are fine-tuned from the same private checkpoint: what each spends after it adds up"
    assert siblings in dp["not_covered"]
    assert siblings not in trained["not_covered"]
    assert any("other trainings on the same members" in part for part in trained["not_covered"])


@pytest.mark.parametrize(
    ("changes", "reason"), [({"qat": {"epochs": 0}}, "no stage trains here"), ({}, "must be larger")]
)
def test_a_total_that_nothing_spends_is_refused(private, tmp_path, changes, reason):
    asked = {"dp": {"total": 6.5 if changes else 4.0}} | changes
    with pytest.raises(UserError, match=reason):
        pipeline.harden(private[0] / "model.pt", None, asked, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_privacy_cannot_be_added_afterwards(tmp_path):
    pipeline.train(
        Recipe(data={"name": "digits"}, model=RECIPE.model.model_dump(), train={"epochs": 1}),
        tmp_path / "plain.pt",
        accept_accuracy_loss=True,
    )
    with pytest.raises(UserError, match="edgepriv train"):
        pipeline.harden(tmp_path / "plain.pt", None, {"dp": {"epsilon": 2.0}}, tmp_path / "out")
    with pytest.raises(UserError, match="edgepriv train"):
        pipeline.harden(tmp_path / "plain.pt", RECIPE, {}, tmp_path / "out")
    with pytest.raises(UserError, match="this one was not"):
        pipeline.harden(tmp_path / "plain.pt", None, {"dp": {"total": 2.0}}, tmp_path / "out")


def test_the_audit_sets_what_attacks_show_beside_the_proof(hardened, tmp_path):
    audited = pipeline.audit(
        hardened / "model.onnx", {}, cache_dir=tmp_path, float_twin=False, accept_accuracy_loss=True
    )
    dp = audited["dp"]
    assert 0 <= dp["lower_bound"] < dp["epsilon"] <= 5.0
    assert dp["warning"] is None
    page = (hardened / "model.audit.html").read_text()
    assert "proven epsilon, at delta" in page
    assert "Trained with differential privacy" in page
    assert json.loads((hardened / "model.audit.json").read_text())["dp"] == dp


def test_an_attack_that_shows_more_than_is_proven_is_called_out():
    member = np.arange(2000) < 1000
    scores = {"member": member, "none/confidence": member + 0.0, "none/entropy": np.zeros(2000)}
    rows = [{"name": name, "threat_model": "none"} for name in ("entropy", "confidence")]
    dp = {"epsilon": 1.0, "delta": 1e-4, "noise_multiplier": 1.0, "sample_rate": 0.1, "steps": 10}
    found = compare_with_guarantee(dp, rows, scores, seed=0)
    assert (found["attack"], found["threat_model"]) == ("confidence", "none")
    assert found["lower_bound"] > 4
    assert "above the 1 that training claims" in found["warning"]
    (finding,) = proven({"dp": found})
    assert finding.sentence.startswith("WARNING: the attack confidence")


def test_where_nothing_is_proven_nothing_is_contradicted():
    member = np.arange(2000) < 1000
    scores = {"member": member, "none/confidence": member + 0.0}
    dp = {"epsilon": None, "claimed": False, "delta": 1e-4, "noise_multiplier": 0.0, "clip": 0.5, "steps": 10}
    beside = compare_with_guarantee(dp, [{"name": "confidence", "threat_model": "none"}], scores, seed=0)
    assert beside["lower_bound"] > 4
    assert beside["warning"] is None
    (finding,) = proven({"dp": beside})
    assert finding.topic == "No privacy is proven"
    assert "epsilon is infinite" in finding.sentence


def test_delta_excuses_as_much_as_it_says():
    member = np.arange(2000) < 1000
    scores = {"member": member, "none/confidence": np.where(np.arange(2000) < 100, 1.0, 0.0)}  # 10% of the members
    rows, dp = (
        [{"name": "confidence", "threat_model": "none"}],
        {"epsilon": 0.2, "noise_multiplier": 1.0, "sample_rate": 0.1, "steps": 10},
    )
    assert compare_with_guarantee(dp | {"delta": 1e-6}, rows, scores, seed=0)["lower_bound"] > 0.2
    assert compare_with_guarantee(dp | {"delta": 0.15}, rows, scores, seed=0)["lower_bound"] == 0.0


def test_the_clipping_norm_alone_is_not_taken_for_privacy(tmp_path):
    options = ["train", "--data", "digits", "--model", "mlp", "--epochs", "1", "-o", str(tmp_path / "m.pt")]
    with pytest.raises(UserError, match="would not be private: pass --dp-epsilon or --dp-noise"):
        CliRunner().invoke(app, [*options, "--dp-clip", "1"], catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_training_says_what_its_proof_is_worth_to_a_person_with_several_records(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((240, 6)).astype(np.float32)
    np.savez(tmp_path / "visits.npz", x=x, y=(x[:, 0] > 0.5).astype(int), patient_id=np.arange(240) // 3)
    options = ["--data", f"npz:{tmp_path / 'visits.npz'}", "--model", "mlp", "--widths", "8", "--epochs", "2"]
    options += ["--dp-epsilon", "2", "--accept-accuracy-loss", "-o", str(tmp_path / "m.pt")]
    done = CliRunner().invoke(app, ["train", *options])
    assert "a person with up to 3 records is covered by an epsilon of" in " ".join(done.output.split())
    dp = pipeline.show(tmp_path / "m.pt")["defences"]["dp"]
    assert dp["epsilon_of_a_person"] == 3 * dp["epsilon"]
    assert dp["delta_of_a_person"] > 3 * dp["delta"]


def test_rows_of_a_table_are_not_said_to_be_augmented(tmp_path):
    x = np.random.default_rng(0).random((200, 6)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=x, y=(x[:, 0] > 0.5).astype(int))
    options = ["--data", f"npz:{tmp_path / 'rows.npz'}", "--model", "mlp", "--augment", "crop"]
    with pytest.raises(UserError, match="moves pictures"):
        CliRunner().invoke(app, ["train", *options, "-o", str(tmp_path / "m.pt")], catch_exceptions=False)
    assert [each.name for each in tmp_path.iterdir()] == ["rows.npz"]
