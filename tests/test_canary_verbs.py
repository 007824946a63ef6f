"""The verbs with canaries: what is refused before anything is trained, what is written, and which file is audited."""

import json

import numpy as np
import onnx
import pytest

import edgepriv
from edgepriv import project
from edgepriv.errors import UserError
from edgepriv.files import sha256_of
from edgepriv.models import checkpoint
from edgepriv.pipeline._twin import based_on

SMALL = {"data": "digits", "model": "mlp", "widths": [16], "epochs": 2, "lr": 0.01}
AUDIT = {"references": 2, "attacks": "lira-online", "robust": "none", "threat_model": "adaptive"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("canaries")


@pytest.fixture(scope="module")
def twins(folder):
    """model.pt, which ships, and model.canaries.pt."""
    return edgepriv.train(**SMALL, canaries="mislabelled:40", audit_twin=True, out=folder / "model.pt")


@pytest.fixture(scope="module")
def hardened(twins, folder):
    return edgepriv.harden(
        twins.checkpoint,
        adv="none",
        bits=8,
        qat_epochs=1,
        audit_twin=True,
        canaries="mislabelled:40",
        out=folder / "out",
    )


def read(path):
    return json.loads(path.read_text())


def test_one_model_is_trained_with_canaries_and_one_without(twins, folder):
    release, audited = (checkpoint.load(folder / name) for name in ("model.pt", "model.canaries.pt"))
    assert release.recipe.data.canaries is None
    assert "canaries" not in release.data
    assert audited.data["canaries"]["asked"] == "mislabelled:40"
    assert release.data["split"] == audited.data["split"]
    assert release.data["sha256"] == audited.data["sha256"]
    assert release.data["audit_twin"]["sha256"] == sha256_of(folder / "model.canaries.pt")
    assert audited.data["audit_twin"] == {"role": "audited", "ships": "model.pt"}
    assert twins.audited["checkpoint"].endswith("model.canaries.pt")
    assert not list(folder.glob("*.partial"))


def test_hardening_makes_both_and_says_which_ships(hardened, folder):
    out = folder / "out"
    release, audited = read(out / "model.manifest.json"), read(out / "model.canaries.manifest.json")
    assert release["data"]["audit_twin"]["audited"] == "model.canaries.onnx"
    assert release["data"]["audit_twin"]["sha256"] == sha256_of(out / "model.canaries.onnx") == audited["sha256"]
    assert audited["data"]["audit_twin"] == {"role": "audited", "ships": "model.onnx"}
    assert (release["recipe"]["data"]["canaries"], audited["recipe"]["data"]["canaries"]) == (None, "mislabelled:40")
    assert any("audit" in part and "ship" in part for part in map(str, hardened.readable()))
    assert not list(out.glob("*.partial"))


def test_the_shipped_file_says_nothing_of_canaries(hardened, folder):
    for name in ("model.onnx", "model.canaries.onnx"):
        known = {entry.key: entry.value for entry in onnx.load(folder / "out" / name).metadata_props}
        assert "canar" not in json.dumps(known).lower()


def test_no_manifest_lists_who_is_a_canary_or_a_member(hardened, folder):
    for path in (folder / "out").glob("*.manifest.json"):
        content = read(path)["data"]
        assert max((len(value) for value in lists_in(content)), default=0) < 20


def lists_in(value):
    if isinstance(value, list):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from lists_in(inner)


def test_the_audit_of_the_twin_is_about_canaries_and_that_of_the_release_points_to_it(hardened, folder):
    out = folder / "out"
    shared = AUDIT | {"float_twin": False, "cache_dir": folder / "cache"}
    audited = edgepriv.audit(out / "model.canaries.onnx", **(shared | {"references": 4}))
    assert audited.canaries["members"] == audited.canaries["non_members"] == 20
    assert {row["name"] for row in audited.canaries["attacks"]} >= {"rmia-online", "rmia-offline"}
    assert any("lira" in row["name"] for row in audited.canaries["left_out"])  # which needs more models
    assert audited.utility["n_members"] == 539 - 20
    page = audited.report.read_text()
    assert "model.onnx ships in its place" in page
    with pytest.raises(UserError, match=r"model\.canaries\.onnx .* audit that file"):
        edgepriv.audit(out / "model.onnx", **shared, fail_if="canary_tpr@0.01>0.1")


def test_a_checkpoint_is_trained_again_where_other_canaries_are_asked_for(twins, folder, tmp_path):
    plain, twin = twins.checkpoint, folder / "model.canaries.pt"
    given = project.open_checkpoint(plain, None, None)
    beside = based_on(plain, given, "mislabelled:40", None, tmp_path / "partial", "cpu")
    assert beside.checkpoint.state_dict.keys() == checkpoint.load(twin).state_dict.keys()
    other = based_on(plain, given, "rare:40", None, tmp_path / "partial", "cpu")
    assert other.checkpoint.data["canaries"]["kind"] == other.dataset.canaries.kind == "rare"
    assert "audit_twin" not in other.checkpoint.data
    without = based_on(twin, project.open_checkpoint(twin, None, None), None, None, tmp_path / "partial", "cpu")
    assert without.dataset.canaries is None
    for name, value in without.checkpoint.state_dict.items():
        np.testing.assert_array_equal(value.numpy(), given.checkpoint.state_dict[name].numpy())


def test_accuracy_on_members_counts_no_canary(twins):
    assert twins.audited["accuracy"]["rows"][0]["members"]["n"] == 539 - 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"audit_twin": True}, "say which with --canaries"),
        ({"canaries": "mislabelled:0"}, "even number"),
        ({"canaries": "wrong:10"}, "expected mislabelled:N"),
        ({"canaries": "mislabelled:400"}, "more than a quarter"),
        ({"canaries": "none.npz"}, "no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(options, said, tmp_path):
    with pytest.raises(UserError, match=said):
        edgepriv.train(**SMALL, **options, out=tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


def test_weights_from_elsewhere_cannot_be_given_canaries(twins, tmp_path):
    import torch

    torch.save(checkpoint.load(twins.checkpoint).state_dict, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="trained elsewhere"):
        edgepriv.harden(
            tmp_path / "weights.pt",
            data="digits",
            model="mlp",
            widths=[16],
            mean=0.5,
            std=0.25,
            canaries="rare:40",
            adv="none",
            accept_accuracy_loss=True,
            out=tmp_path / "out",
        )
