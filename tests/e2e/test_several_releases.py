"""``audit --also``: float and 4 bits of one training, two trainings, and what is refused."""

import json
import shutil

import numpy as np
import pytest

import edgepriv as package
from edgepriv import data, pipeline
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.lineage import related
from edgepriv.recipe import Recipe

SIZES = {"name": "digits", "members": 120, "non_members": 120, "reference": 60, "holdout": 20, "validation": 20}
ASKED = {"attacks": "lira-online,releases/lira-online", "robust": "none", "references": 4, "float_twin": False}


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """A folder with v1 in 4 bits and in float, v2 of another training, and a manifest that tells of other members."""
    folder = tmp_path_factory.mktemp("releases")
    for name, hidden in (("v1", [16]), ("v2", [24])):
        recipe = Recipe().with_changes(
            data=SIZES, model={"name": "mlp", "args": {"widths": hidden}}, train={"epochs": 8, "lr": 1e-2}
        )
        pipeline.train(recipe, folder / f"{name}.pt")
        pipeline.export(folder / f"{name}.pt", None, {"quantize": {"bits": 4}}, folder / f"{name}.onnx", max_drop=100)
    shutil.copy(folder / "v2.onnx", folder / "others.onnx")
    manifest = json.loads((folder / "v2.manifest.json").read_text())
    manifest["data"]["split"] = data.make_split(data.load("digits"), recipe.data, 1).record()
    (folder / "others.manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def audited(releases):
    """The audit of v1 by whoever holds its float twin and v2 as well."""
    also = [releases / "v1.fp32.onnx", releases / "v2.onnx"]
    return package.audit(releases / "v1.onnx", also=also, cache_dir=releases / "cache", **ASKED)


def test_manifests_tell_one_training_from_two(releases):
    v1, v1_float, v2 = (DeployedModel(releases / name) for name in ("v1.onnx", "v1.fp32.onnx", "v2.onnx"))
    assert related(v1, v1_float)[0] == related(v1, v1)[0] == "one training"
    assert related(v1, v2)[0] == related(v1_float, v2)[0] == "separate trainings"


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """Two private trainings by one recipe, each with noise of its own, and two with noise of one seed."""
    folder = tmp_path_factory.mktemp("private")
    for name, seed in (("one", None), ("two", None), ("seeded", 5), ("again", 5)):
        recipe = Recipe().with_changes(
            data=SIZES,
            model={"name": "mlp", "args": {"widths": [16]}},
            train={"epochs": 4, "lr": 1e-2},
            dp={"noise": 3.0, "seed": seed},
        )
        pipeline.train(recipe, folder / f"{name}.pt", accept_accuracy_loss=True)
        pipeline.export(
            folder / f"{name}.pt", None, {"quantize": {"bits": 4}}, folder / f"{name}.onnx", accept_accuracy_loss=True
        )
    return folder


def test_private_trainings_by_one_recipe_are_two_where_their_noise_is(private):
    one, two, seeded, again = (DeployedModel(private / f"{name}.onnx") for name in ("one", "two", "seeded", "again"))
    relation, why = related(one, two)
    assert relation == "separate trainings"
    assert "noise of its own" in why
    assert related(seeded, again)[0] == "one training"
    assert related(one, seeded)[0] == "separate trainings"
    assert related(one, DeployedModel(private / "one.fp32.onnx"))[0] == "one training"


def test_so_are_the_reference_models_that_stand_for_them(private):
    asked = ASKED | {"accept_weak_references": True, "accept_accuracy_loss": True}
    audited = package.audit(private / "one.onnx", also=[private / "two.onnx"], cache_dir=private / "cache", **asked)
    (release,) = json.loads(audited.file.read_text())["releases"]["files"]
    assert release["relation"] == "separate trainings"
    assert 0 < release["correlation"]["out"] < 0.99  # their first weights and batches are alike, as the releases' are


def test_the_combination_is_an_attack_of_its_own_and_says_what_it_adds(audited):
    content = json.loads(audited.file.read_text())
    rows = {(row["name"], row["threat_model"]): row for row in content["attacks"]}
    both = rows["releases/lira-online", "adaptive"]
    assert both["attacker"] == "releases"
    assert both["auc_ci_simultaneous"][0] < both["auc"]
    assert content["simultaneous"]["attacks"] == len(rows) == 3  # oblivious models know no difference between releases
    part = content["releases"]
    assert [row["relation"] for row in part["files"]] == ["one training", "separate trainings"]
    assert [row["training"] for row in part["files"]] == [0, 1]
    assert part["files"][0]["correlation"]["out"] > 0.9 > abs(part["files"][1]["correlation"]["out"])
    figure = part["figures"][0]
    assert figure["combined"] == pytest.approx(both["auc"], abs=1e-6)
    single = [row["auc"] for key, row in rows.items() if key[0] == "lira-online"]
    single += [row["auc"] for each in part["files"] for row in each["alone"]]
    assert figure["single"] == pytest.approx(max(single), abs=1e-6)
    assert figure["ci"][0] <= figure["difference"] <= figure["ci"][1]
    assert figure["verdict"] in part["sentence"]


def test_report_and_statement_name_the_attacker(audited):
    content = json.loads(audited.file.read_text())
    page = audited.report.read_text()
    assert "holds several releases" in page
    assert "Several releases of the model" in page
    assert "--also v1.fp32.onnx --also v2.onnx" in page
    rows = [row for row in content["statement"]["coverage"] if row["attacker"] == "releases"]
    assert [row["status"] for row in rows] == ["executed"]


def test_epsilon_is_of_the_audited_file_alone(audited):
    content = json.loads(audited.file.read_text())
    assert content["epsilon"]["attacks"] == len(content["attacks"]) - 1


def test_the_audited_file_itself_adds_nothing(releases):
    again = package.audit(
        releases / "v1.onnx",
        also=releases / "v1.onnx",
        cache_dir=releases / "cache",
        out=releases / "again.json",
        **ASKED,
    )
    with np.load(releases / "again.npz") as scores:
        np.testing.assert_allclose(
            scores["adaptive/releases/lira-online"], scores["adaptive/lira-online"], rtol=1e-9, atol=1e-9
        )
    part = json.loads(again.file.read_text())["releases"]
    assert "byte for byte" in part["sentence"]
    assert part["figures"][0]["verdict"] == "within noise"


def test_what_cannot_be_combined_is_refused_in_one_sentence(releases, refused, tmp_path):
    audit = ("audit", releases / "v1.onnx", "-o", tmp_path / "x.json")
    assert "no such file" in refused(*audit, "--also", tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    assert "not a readable ONNX file" in refused(*audit, "--also", tmp_path / "broken.onnx")
    assert "its members are not those of" in refused(*audit, "--also", releases / "others.onnx")
    shutil.copy(releases / "v2.onnx", tmp_path / "bare.onnx")
    assert "no bare.manifest.json beside it" in refused(*audit, "--also", tmp_path / "bare.onnx")
    also = ("--also", releases / "v2.onnx")
    assert "v2.onnx, byte for byte: name it once" in refused(*audit, *also, *also)
    assert "none of the attacks combines releases" in refused(*audit, *also, "--attacks", "quick")
    assert "--references 0 trains none" in refused(*audit, *also, "--references", "0")
    assert "--threat-model adaptive" in refused(*audit, *also, "--threat-model", "oblivious")
    assert not list(tmp_path.glob("x.*"))


def test_for_two_files_the_reference_models_that_are_brought_stand_for_all_releases(releases, refused, tmp_path):
    examples, rng = data.load("digits"), np.random.default_rng(0)
    for name, start in (("members", 0), ("others", 80)):
        np.savez(tmp_path / f"{name}.npz", x=examples.x[start : start + 80], y=examples.y[start : start + 80])
    member = np.argsort(rng.random((8, 160)), axis=0) < 4
    logits = rng.normal(size=(8, 160, 10))
    np.put_along_axis(logits, np.tile(examples.y[:160], (8, 1))[..., None], 4 + rng.normal(size=(8, 160, 1)), axis=2)
    np.savez(tmp_path / "references.npz", logits=logits, member=member, labels=examples.y[:160])
    for name in ("v1.onnx", "v2.onnx"):
        shutil.copy(releases / name, tmp_path / name)
    files = {"members": tmp_path / "members.npz", "non_members": tmp_path / "others.npz"}
    brought = {"reference_scores": tmp_path / "references.npz", "accept_weak_references": True}
    audited = package.audit(
        tmp_path / "v1.onnx", **files, **brought, also=tmp_path / "v2.onnx", attacks=ASKED["attacks"], robust="none"
    )
    part = json.loads(audited.file.read_text())["releases"]
    assert part["files"][0]["relation"] == "not known"
    assert part["files"][0]["references"] == "those of the audited file"
    assert "not known to be of the same training" in part["sentence"]
    given = ("--members", files["members"], "--non-members", files["non_members"])
    audit = ("audit", releases / "v1.onnx", *given, "-o", tmp_path / "x.json", "--also", releases / "others.onnx")
    assert "for two files none are trained" in refused(*audit)
    assert "as their manifests tell" in refused(*audit, "--reference-scores", tmp_path / "references.npz")
