"""--extra: a file that fits, is labelled, shares nobody with the data, and is the same when it is needed again."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgepriv import pipeline
from edgepriv.audit import trained_attackers
from edgepriv.audit.brought import NOTHING_BROUGHT
from edgepriv.data import checked, make_split
from edgepriv.errors import UserError
from edgepriv.extra_data import with_extra
from edgepriv.pipeline import _harden
from edgepriv.recipe import Data, Recipe, changes_of
from edgepriv.recipe.defences.extra import Extra

RNG = np.random.default_rng(0)
PICTURES = checked("pictures", RNG.integers(0, 256, (120, 4, 4), np.uint8), np.arange(120) % 3)
SPLIT = make_split(PICTURES, Data(members=30, non_members=20, reference=10, holdout=20, validation=20), 0)
OTHERS = RNG.integers(0, 256, (9, 1, 4, 4), np.uint8)
LABELS = np.arange(9) % 3


def asked(path, **more):
    return Recipe(
        train={"epochs": 1}, adversary={"method": "pgd"}, robust={"epochs": 1}, qat={"epochs": 0}
    ).with_changes(extra={"file": f"npz:{path}", "stages": ("robust",), **more})


@pytest.fixture
def saved(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "extra.npz", **arrays)
        return tmp_path / "extra.npz"

    return save


def test_labels_are_those_given_or_the_models(saved, capsys):
    recipe, dataset = with_extra(asked(saved(x=OTHERS, y=LABELS)), PICTURES, SPLIT)
    assert recipe.own(Extra).labels == "given"
    assert dataset.extra.y.tolist() == LABELS.tolist()
    assert "9 examples" in capsys.readouterr().err
    recipe, dataset = with_extra(asked(saved(x=OTHERS)), PICTURES, SPLIT)
    assert (recipe.own(Extra).labels, dataset.extra.y) == ("model", None)
    _, dataset = with_extra(asked(saved(x=OTHERS, y=LABELS), labels="model"), PICTURES, SPLIT)
    assert dataset.extra.y is None
    unused = Recipe()
    assert with_extra(unused, PICTURES, SPLIT) == (unused, PICTURES)


REFUSED = {
    "no x": ({"a": OTHERS}, {}, "expected x and, if the labels are known, y"),
    "another shape": ({"x": OTHERS[:, 0, :3, :3]}, {}, r"shape \[1, 3, 3\], the model takes \[1, 4, 4\]"),
    "another class": ({"x": OTHERS, "y": LABELS + 5}, {}, "label"),
    "another range": ({"x": OTHERS.astype(np.float32)}, {}, "divide by 255"),
    "no labels": ({"x": OTHERS}, {"labels": "given"}, "holds no y: label it with"),
    "labels of nobody": ({"x": OTHERS}, {"stages": ("train", "robust")}, "cannot label"),
}


@pytest.mark.parametrize(("arrays", "more", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_does_not_fit_is_refused(arrays, more, message, saved):
    with pytest.raises(UserError, match=message):
        with_extra(asked(saved(**arrays), **more), PICTURES, SPLIT)


def test_a_file_with_members_or_non_members_is_refused_be_they_bytes_or_floats(saved):
    shared = np.concatenate([OTHERS, PICTURES.x[SPLIT.members[:2]], PICTURES.x[SPLIT.non_members[:3]]])
    for x in (shared, (shared / 255).astype(np.float32)):
        with pytest.raises(UserError, match="2 members and 3 non-members are in it"):
            with_extra(asked(saved(x=x)), PICTURES, SPLIT)


def test_a_file_with_records_of_the_attackers_pool_is_refused(saved):
    with pytest.raises(UserError, match="3 records of the attacker's pool"):
        with_extra(asked(saved(x=PICTURES.x[SPLIT.reference[:3]])), PICTURES, SPLIT)


def test_labels_that_are_numbers_are_the_classes_of_that_name(saved):
    counted = checked("counted", RNG.integers(0, 256, (120, 4, 4), np.uint8), 1 + np.arange(120) % 3)
    _, dataset = with_extra(asked(saved(x=OTHERS, y=1 + LABELS % 2)), counted, SPLIT)
    assert [counted.class_names[own] for own in dataset.extra.y] == [str(1 + own % 2) for own in LABELS]


def test_a_file_that_has_changed_is_not_taken_for_the_same(saved):
    recipe, _ = with_extra(asked(saved(x=OTHERS, y=LABELS)), PICTURES, SPLIT)
    assert with_extra(recipe, PICTURES, SPLIT)[0] == recipe
    saved(x=OTHERS, y=(LABELS + 1) % 3)
    with pytest.raises(UserError, match="has changed since"):
        with_extra(recipe, PICTURES, SPLIT)


def test_the_options_set_the_section_and_no_other_kind_is_taken(tmp_path):
    changes = changes_of("harden", {"extra": f"npz:{tmp_path}/e.npz", "extra_share": 0.7, "extra_labels": "model"})
    assert changes["extra"] == {"file": f"npz:{tmp_path}/e.npz", "share": 0.7, "labels": "model"}
    with pytest.raises(UserError, match="expected npz:FILE"):
        changes_of("train", {"extra": "cifar10"})


def test_hardening_trains_on_them_and_keeps_which_they_were(saved, tmp_path, monkeypatch):
    data = {"name": "digits", "members": 200, "non_members": 100, "reference": 50, "holdout": 0, "validation": 50}
    recipe = Recipe(data=data, model={"name": "mlp", "args": {"widths": [8]}}, train={"epochs": 1})
    pipeline.train(recipe, tmp_path / "model.pt", accept_accuracy_loss=True)
    changes = {
        "extra": {"file": f"npz:{saved(x=RNG.integers(0, 16, (30, 8, 8)) / 16)}"},
        "adversary": {"method": "fgsm", "eps": 0.1},
        "robust": {"epochs": 1},
    }
    shipped = []
    monkeypatch.setattr(_harden, "export_with_twin", lambda given, *how: shipped.append(given) or {})
    monkeypatch.setattr(_harden, "write_kit", lambda *given, **options: None)
    monkeypatch.setattr(_harden, "rehearse", lambda *given: [])
    pipeline.harden(tmp_path / "model.pt", recipe, changes, tmp_path / "out", accept_accuracy_loss=True)
    kept = shipped[0].checkpoint.recipe.own(Extra)
    assert (kept.labels, kept.stages) == ("model", ("noisy", "distilled", "robust", "qat"))
    assert kept.sha256 == shipped[0].dataset.extra.sha256
    with pytest.raises(UserError, match=r"no such file: .*no\.npz"):
        pipeline.harden(tmp_path / "model.pt", recipe, {"extra": {"file": f"npz:{tmp_path}/no.npz"}}, tmp_path / "b")


def test_reference_models_of_an_attacker_who_knows_of_them_are_trained_on_the_same(saved, tmp_path, monkeypatch):
    recipe, dataset = with_extra(asked(saved(x=OTHERS, y=LABELS)), PICTURES, SPLIT)
    subject = SimpleNamespace(dataset=PICTURES, whole=SPLIT, recipe=recipe)
    request = SimpleNamespace(brought=NOTHING_BROUGHT, cache_dir=tmp_path)
    monkeypatch.setattr(trained_attackers, "train_fleet", lambda recipe, dataset, split, **how: (recipe, dataset))
    adaptive = trained_attackers.trained_fleet(subject, recipe, "adaptive", 2, request)
    assert adaptive[0] == recipe
    assert adaptive[1].extra.sha256 == dataset.extra.sha256
    assert trained_attackers.trained_fleet(subject, recipe.undefended(), "oblivious", 2, request)[1].extra is None
