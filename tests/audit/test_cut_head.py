"""A head hides what anyone who holds the file can still read: the audit says so, and measures it with --cut-head."""

import numpy as np
import pytest

from edgepriv import pipeline
from edgepriv.audit.references import load_head
from edgepriv.audit.workers import Job, train_group
from edgepriv.data import load, make_split
from edgepriv.errors import UserError
from edgepriv.recipe import Data, Recipe

RECIPE = Recipe(
    data={"name": "digits", "members": 120, "non_members": 120, "reference": 240, "holdout": 120, "validation": 60},
    model={"name": "mlp", "args": {"widths": [64]}},
    train={"epochs": 40, "lr": 5e-3},
    head={"epochs": 100, "lr": 5e-3},
)
NOTHING = {"adversary": {"method": "none"}, "quantize": {"bits": 32}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    pipeline.train(RECIPE, folder / "float.pt")
    pipeline.harden(folder / "float.pt", None, NOTHING | {"head": {"method": "rank"}}, folder / "ranked")
    return folder


def audited(model, **options):
    changes = {
        "audit": {"attacks": "entropy,correctness,ml-leaks", "robust": "quick", "robust_examples": 20, "pgd_steps": 2}
    }
    return pipeline.audit(model, changes, cache_dir=model.parent / "cache", float_twin=False, **options)


def auc(content, name):
    return next(row["auc"] for row in content["attacks"] if row["name"] == name)


def test_cutting_the_head_restores_the_leak_and_the_audit_of_the_whole_file_warns(folder):
    model = folder / "ranked" / "model.onnx"
    whole, cut = audited(model), audited(model, cut_head=True)
    assert auc(whole, "entropy") == 0.5 < auc(cut, "entropy")
    assert auc(whole, "correctness") == auc(cut, "correctness")
    assert "--cut-head" in whole["warnings"][0]
    assert whole["head"] == {"kind": "rank", "cut": False}
    assert cut["head"]["cut"]
    assert cut["sha256"] != whole["sha256"]
    assert (folder / "ranked" / "model.cut-head.audit.json").exists()
    page = (folder / "ranked" / "model.audit.html").read_text()
    assert "can remove" in page
    # Perturbed inputs are found on the logits before the head, which has no gradient of its own.
    assert whole["robustness"]["worst_case_accuracy"] == cut["robustness"]["worst_case_accuracy"]
    assert not any("zero gradients" in warning for warning in whole["robustness"]["warnings"])


def test_the_choice_of_the_label_can_be_cut_off_with_a_head_and_without_one(folder, capsys):
    label = NOTHING | {"export": {"output": "label"}}
    pipeline.harden(folder / "float.pt", None, label | {"head": {"method": "rank"}}, folder / "ranked label")
    assert "--regenerate rank never changes the label" in capsys.readouterr().err
    pipeline.harden(folder / "float.pt", None, label, folder / "label")
    bare = audited(folder / "ranked" / "model.onnx", cut_head=True, force=True)
    for name, told in (
        ("ranked label", "its head (rank) and the choice of the label"),
        ("label", "the choice of the label"),
    ):
        model = folder / name / "model.onnx"
        whole, cut = audited(model), audited(model, cut_head=True)
        assert {row["name"] for row in whole["left_out"]} >= {"entropy"}
        assert "--cut-head" in whole["warnings"][0]
        assert f"with {told} cut off" in cut["warnings"][0]
        assert auc(cut, "entropy") == auc(bare, "entropy")


def test_a_file_without_a_head_has_none_to_cut(folder):
    with pytest.raises(UserError, match="no head to cut off"):
        audited(folder / "ranked" / "model.fp32.onnx", cut_head=True)


def test_a_head_trained_for_one_model_serves_another_and_export_keeps_it(folder):
    masked = NOTHING | {"head": {"method": "nonmember"}}
    trained = pipeline.harden(folder / "float.pt", None, masked, folder / "first")
    assert trained["head"]["width"] == 64
    other = RECIPE.with_changes(seed=1)
    pipeline.train(other, folder / "other.pt")
    file = folder / "first" / "model.head.pt"
    moved = pipeline.harden(folder / "other.pt", None, masked, folder / "second", head=file)
    assert moved["head"]["trained"] == "for another model"
    assert moved["head"]["labels_changed_holdout"] < 0.1
    assert file.read_bytes() == (folder / "second" / "model.head.pt").read_bytes()
    again = pipeline.export(
        folder / "second" / "model.pt", None, {"export": {"output": "label"}}, folder / "again.onnx"
    )
    assert again["parity"]["head"]["n"] > 0
    with pytest.raises(UserError, match="no logits"):
        pipeline.export(folder / "second" / "model.pt", None, {"export": {"output": "logits"}}, folder / "refused.onnx")


def test_adaptive_reference_models_have_heads_of_their_own(tmp_path):
    recipe = RECIPE.with_changes(train={"epochs": 2}, head={"method": "member", "epochs": 2})
    dataset = load("digits")
    split = make_split(dataset, Data(**RECIPE.data.model_dump()), 0)
    (content,) = train_group([Job("one.npz", recipe, split, split.members)], dataset)
    (tmp_path / "one.npz").write_bytes(content)
    head = load_head(tmp_path / "one.npz", recipe, dataset)
    assert head is not None
    plain = np.full((1, 10), 0.1, np.float32)
    assert not np.allclose(head(plain, dataset.inputs(split.members[:1])), plain)
    assert load_head(tmp_path / "one.npz", RECIPE, dataset) is None
