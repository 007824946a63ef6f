"""A pretrained network, partly frozen, from its public weights to its audit: models to compare with start where it did."""

import itertools
import json
import os

import numpy as np
import pytest
import torch

from edgepriv import pipeline, project
from edgepriv.errors import UserError
from edgepriv.models import checkpoint
from edgepriv.pipeline import _audit, _harden
from edgepriv.recipe import Recipe
from edgepriv.training import quantize_weights

MODEL = {"name": "mlp", "args": {"widths": [24, 16]}, "mean": [0.0], "std": [1.0]}
ASKED = {
    "robust": {"epochs": 1},
    "qat": {"epochs": 1},
    "adversary": {"method": "fgsm", "eps": 0.02},
    "quantize": {"bits": 8},
}
AUDIT = {
    "audit": {
        "attacks": "loss,rmia-offline",
        "references": 2,
        "robust": "none",
        "threat_models": ("adaptive",),
        "accept_weak_references": True,
    }
}
LAX = {"accept_accuracy_loss": True}
SIZES = {"members": 60, "non_members": 60, "reference": 60, "holdout": 10, "validation": 10}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model pretrained on public records of five classes, and private records of two."""
    folder = tmp_path_factory.mktemp("pretrained")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_harden, "rehearse", lambda *given: [])
        yield _made(folder)


def _made(folder):
    rng = np.random.default_rng(0)
    patterns = rng.random((5, 12))
    for name, classes in (("public", 5), ("private", 2)):
        y = np.arange(200) % classes
        x = 0.5 * patterns[y] + 0.5 * rng.random((200, 12))
        np.savez(folder / f"{name}.npz", x=x.astype(np.float32), y=y)
    public = {
        "train": {"epochs": 4, "lr": 0.01},
        "model": MODEL,
        "data": SIZES | {"name": f"npz:{folder / 'public.npz'}"},
    }
    pipeline.train(Recipe.model_validate(public), folder / "public.pt", **LAX)
    return folder


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(_audit, "write_report", lambda *given: None)


def private(world, **sections):
    data = SIZES | {"name": f"npz:{world / 'private.npz'}"}
    return Recipe.model_validate({"model": MODEL, "data": data, "train": {"epochs": 4, "lr": 0.01}}).with_changes(
        **sections
    )


@pytest.fixture(scope="module")
def hardened(world):
    recipe = private(world, start={"path": str(world / "public.pt")}, train={"freeze": ["layers.0"]})
    pipeline.train(recipe, world / "model.pt", **LAX)
    return pipeline.harden(world / "model.pt", None, ASKED, world / "out", max_drop=100, **LAX)


def audited(model, cache, **options):
    changes = AUDIT | ({"start": {"path": str(options.pop("start"))}} if "start" in options else {})
    return pipeline.audit(model, changes, cache_dir=cache, float_twin=False, force=True, **options)


def first_layers(cache):
    for path in sorted(cache.glob("references/*/*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            yield archive["weights/layers.0.weight"], archive["weights/layers.1.weight"]


def test_every_reference_model_starts_from_the_public_weights_and_keeps_what_the_model_kept(
    world, hardened, tmp_path, alone
):
    public, own = (checkpoint.load(world / name) for name in ("public.pt", "out/model.pt"))
    kept = public.state_dict["layers.0.weight"]
    assert torch.equal(own.state_dict["layers.0.weight"], kept)
    assert own.recipe.start.file == "public.pt"
    assert [getattr(own.recipe, name).freeze for name in ("train", "robust", "qat")] == [("layers.0",)] * 3
    manifest = json.loads((world / "out" / "model.manifest.json").read_text())
    assert manifest["recipe"]["start"] == {"file": "public.pt", "sha256": own.recipe.start.sha256}
    content = audited(world / "out" / "model.onnx", tmp_path, start=world / "public.pt")
    assert "reference models start from the public weights of public.pt, as the model did" in content["said"]
    assert content["settings"]["start_weights"] == "public.pt"
    rounded = quantize_weights(own.classifier().network, own.recipe.quantize)["layers.0.weight"].dequantize()
    assert np.array_equal(
        quantize_weights(public.classifier().network, own.recipe.quantize)["layers.0.weight"].dequantize(), rounded
    )
    references = list(first_layers(tmp_path))
    assert len(references) == 3  # the shadow model is one of them
    assert all(np.array_equal(first, rounded) for first, _ in references)
    assert not any(np.allclose(one[1], other[1]) for one, other in itertools.pairwise(references))


def test_an_oblivious_attacker_starts_there_too(world, hardened, tmp_path, alone):
    changes = AUDIT | {"start": {"path": str(world / "public.pt")}}
    changes["audit"] = changes["audit"] | {"threat_models": ("oblivious",)}
    pipeline.audit(world / "out" / "model.onnx", changes, cache_dir=tmp_path, float_twin=False, force=True)
    kept = checkpoint.load(world / "public.pt").state_dict["layers.0.weight"].numpy()
    assert all(np.array_equal(first, kept) for first, _ in first_layers(tmp_path))


def test_the_file_must_be_at_hand_and_the_one_that_it_was(world, hardened, tmp_path, alone):
    model = world / "out" / "model.onnx"
    with pytest.raises(UserError, match=r"public weights public.pt .* name that file with --start-weights"):
        audited(model, tmp_path)
    with pytest.raises(UserError, match=r"model.pt is not the file that the model was trained from"):
        audited(model, tmp_path, start=world / "model.pt")
    with pytest.raises(UserError, match="no such file"):
        audited(model, tmp_path, start=tmp_path / "none.pt")
    plain = AUDIT | {"audit": AUDIT["audit"] | {"attacks": "loss"}}
    pipeline.audit(model, plain, cache_dir=tmp_path, float_twin=False, force=True)  # which trains nothing


def test_layers_are_not_kept_at_random_weights(world, tmp_path):
    with pytest.raises(
        UserError, match=r"train would keep layers.0 at random weights: name public ones with --start-weights"
    ):
        pipeline.train(private(world, train={"freeze": ["layers.0"]}), tmp_path / "m.pt")
    recipe = private(world, start={"path": str(world / "public.pt")}, train={"freeze": ["layers.2"]})
    with pytest.raises(UserError, match=r"keep layers.2 at random weights, which public.pt has none for"):
        pipeline.train(recipe, tmp_path / "m.pt")


def test_the_last_layers_are_trained_privately_behind_public_ones(world, tmp_path, capsys):
    """What is held gets neither gradient nor noise."""
    recipe = private(
        world, start={"path": str(world / "public.pt")}, train={"train_last": 1, "epochs": 1}, dp={"noise": 2.0}
    )
    pipeline.train(recipe, tmp_path / "model.pt", **LAX)
    public, own = (checkpoint.load(path).state_dict for path in (world / "public.pt", tmp_path / "model.pt"))
    kept = {name for name, value in own.items() if name in public and torch.equal(value, public[name])}
    assert {name for name in own if name.startswith(("layers.0", "layers.1"))} <= kept
    assert not any(name.startswith("layers.2") for name in kept)
    assert "public.pt was trained on 60 examples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dp", "reason"),
    [({"epsilon": 8.0}, "no epsilon would cover"), ({}, "an audit would find too little")],
    ids=["private", "not private"],
)
def test_weights_that_know_the_members_are_no_public_ones(world, tmp_path, dp, reason):
    recipe = private(
        world, start={"path": str(world / "public.pt")}, data={"name": f"npz:{world / 'public.npz'}"}, seed=1, dp=dp
    )
    numbers = [
        np.asarray(project.split_of(each, None, False)[1].members) for each in (recipe, recipe.with_changes(seed=0))
    ]
    shared = len(np.intersect1d(*numbers))
    with pytest.raises(UserError, match=rf"was trained on {shared} and held out \d+ of the 60 members, and {reason}"):
        pipeline.train(recipe, tmp_path / "model.pt", **LAX)
    assert not (tmp_path / "model.pt").exists()


@pytest.fixture(scope="module")
def known(world):
    """Weights that were trained on the private members."""
    pipeline.train(private(world), world / "known.pt", **LAX)
    return world / "known.pt"


def on_public(world, **sections):
    return private(world, data={"name": f"npz:{world / 'public.npz'}"}, seed=1, **sections)


PRIVATELY = {"dp": {"epsilon": 8.0}, "train": {"train_last": 1, "epochs": 1}}


def test_weights_that_come_from_others_which_know_the_members_are_no_public_ones(world, known, tmp_path, capsys):
    later = world / "later.pt"
    pipeline.train(on_public(world, start={"path": str(known)}), later, **LAX)
    with pytest.raises(UserError, match=r"later.pt was trained on \d+ of the 60 members"):
        pipeline.train(private(world, start={"path": str(later)}, **PRIVATELY), tmp_path / "m.pt", **LAX)
    alone = tmp_path / "later.pt"
    alone.write_bytes(later.read_bytes())
    capsys.readouterr()
    pipeline.train(private(world, start={"path": str(alone)}, **PRIVATELY), tmp_path / "m.pt", **LAX)
    said = capsys.readouterr().err
    assert "is not known (later.pt comes from known.pt, which is not beside it as it was)" in said
    assert "none of which is equal to a member" not in said


def test_weights_that_had_members_as_extra_examples_are_no_public_ones(world, tmp_path, capsys):
    x = np.load(world / "private.npz")["x"]
    np.savez(tmp_path / "extra.npz", x=x, y=np.zeros(len(x), np.int64))
    extra = {"file": f"npz:{tmp_path / 'extra.npz'}", "labels": "given"}
    pipeline.train(on_public(world, extra=extra, model={"args": {"widths": [24, 16]}}), tmp_path / "with.pt", **LAX)
    asked = private(world, start={"path": str(tmp_path / "with.pt")}, **PRIVATELY)
    with pytest.raises(UserError, match=r"with.pt was trained on 60 of the 60 members"):
        pipeline.train(asked, tmp_path / "m.pt", **LAX)
    np.savez(tmp_path / "extra.npz", x=1 - x, y=np.zeros(len(x), np.int64))
    pipeline.train(asked, tmp_path / "m.pt", **LAX)
    assert "is not known (extra.npz is not as it was when with.pt was trained" in capsys.readouterr().err
    (tmp_path / "extra.npz").unlink()
    with pytest.raises(UserError, match=r"with.pt was trained on 60 of the 60 members"):
        pipeline.train(
            on_public(world, start={"path": str(tmp_path / "with.pt")}, **PRIVATELY), tmp_path / "n.pt", **LAX
        )


def test_weights_of_which_nobody_knows_the_data_are_said_to_be_so(world, known, tmp_path, capsys):
    torch.save(checkpoint.load(known).state_dict, tmp_path / "plain.pt")
    pipeline.train(private(world, start={"path": str(tmp_path / "plain.pt")}), tmp_path / "m.pt", **LAX)
    said = capsys.readouterr().err
    assert "whether plain.pt was trained on any of the members is not known (plain.pt does not say" in said
    assert "an audit finds what there is to find if it was not" in said


def test_a_retraining_on_noisy_members_starts_from_the_public_weights_again(world, tmp_path):
    pipeline.train(
        private(world, start={"path": str(world / "public.pt")}, train={"freeze": ["layers.0"]}),
        tmp_path / "m.pt",
        **LAX,
    )
    noisy = {
        "noise": {"method": "uniform"},
        "noisy": {"epochs": 1},
        "quantize": {"bits": 32},
        "adversary": {"method": "none"},
    }
    with pytest.raises(UserError, match="name that file with --start-weights"):
        pipeline.harden(tmp_path / "m.pt", None, noisy, tmp_path / "out", **LAX)
    noisy["start"] = {"path": str(world / "public.pt")}
    pipeline.harden(tmp_path / "m.pt", None, noisy, tmp_path / "out", **LAX)
    kept, own = (
        checkpoint.load(path).state_dict["layers.0.weight"] for path in (world / "public.pt", tmp_path / "out/model.pt")
    )
    assert torch.equal(kept, own)


@pytest.fixture(scope="module")
def from_elsewhere(world):
    """A bare state_dict whose first layer is the public one, and its members."""
    recipe = private(world, start={"path": str(world / "public.pt")}, train={"freeze": ["layers.0"]})
    pipeline.train(recipe, world / "elsewhere.pt", **LAX)
    torch.save(checkpoint.load(world / "elsewhere.pt").state_dict, world / "weights.pt")
    ptq = {"quantize": {"bits": 32}, "adversary": {"method": "none"}, "robust": {"epochs": 0}, "qat": {"epochs": 0}}

    def harden(output, **changes):
        return pipeline.harden(
            world / "weights.pt", private(world), ptq | changes, output, max_drop=100, force=True, **LAX
        )

    return harden


def test_the_layers_of_weights_from_elsewhere_that_are_public_are_kept_by_the_reference_models(
    world, from_elsewhere, tmp_path, alone, capsys
):
    from_elsewhere(tmp_path / "out", start={"path": str(world / "public.pt")})
    printed = capsys.readouterr().err
    assert "1 of 3 layers are those of public.pt to the bit: reference models keep layers.0, too" in printed
    content = audited(tmp_path / "out" / "model.onnx", tmp_path, start=world / "public.pt")
    assert any(
        "trained from the public weights of public.pt by a recipe that was assumed" in w for w in content["warnings"]
    )
    firsts = [first for first, _ in first_layers(tmp_path)]
    assert all(np.array_equal(first, firsts[0]) for first in firsts)


def test_that_nobody_knows_what_a_model_from_elsewhere_started_from_is_said(
    world, from_elsewhere, tmp_path, alone, capsys
):
    from_elsewhere(tmp_path / "out")
    assert (
        "an audit trains its reference models from random weights by a recipe that is assumed"
        in capsys.readouterr().err
    )
    content = audited(tmp_path / "out" / "model.onnx", tmp_path)
    assert any("trained from random weights by a recipe that was assumed" in warning for warning in content["warnings"])
    told = audited(tmp_path / "out" / "model.onnx", tmp_path, start=world / "public.pt")  # which is the remedy
    assert any("trained from the public weights of public.pt" in warning for warning in told["warnings"])


def test_weights_that_no_model_would_start_from_are_refused(world, tmp_path, alone):
    pipeline.train(private(world), tmp_path / "m.pt", **LAX)
    start = {"start": {"path": str(world / "public.pt")}}
    with pytest.raises(UserError, match="from random weights, so leave it out"):
        pipeline.harden(tmp_path / "m.pt", None, ASKED | start, tmp_path / "out")
    pipeline.export(tmp_path / "m.pt", None, {}, tmp_path / "m.onnx", **LAX)
    with pytest.raises(UserError, match="edgepriv trained this model from random weights, so leave it out"):
        audited(tmp_path / "m.onnx", tmp_path, start=world / "public.pt")
    files = {"members": world / "private.npz", "non_members": world / "public.npz"}
    with pytest.raises(UserError, match="let the function of --trainer load these weights"):
        audited(tmp_path / "m.onnx", tmp_path, start=world / "public.pt", **files)
