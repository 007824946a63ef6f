import json
from importlib.metadata import version
from pathlib import Path

import pytest
from nets import built

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.export import Exported
from edgepriv.artifact.layers import LayerSummary
from edgepriv.artifact.manifest import manifest_of, path_beside, read_beside
from edgepriv.artifact.parity import Parity
from edgepriv.errors import UserError
from edgepriv.files import sha256_of


@pytest.fixture
def shipped(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(built("table", 4)[2].content)
    layer = LayerSummary("first.weight", "Gemm", 4, 960, 600, "channel")
    exported = Exported(
        path, path.stat().st_size, sha256_of(path), Parity(1000, 1e-6, 0, 0), {"Gemm": 4}, [layer], {"aux": "unused"}
    )
    manifest = manifest_of(
        exported, {"seed": 0}, {"name": "digits"}, stages=("train", "qat"), float_twin={"file": "f.onnx"}
    )
    manifest.write(path_beside(path))
    return path, manifest


def test_manifest_survives_the_disk(shipped):
    path, manifest = shipped
    assert path_beside(path).name == "model.manifest.json"
    assert read_beside(path) == manifest == DeployedModel.open(path).verified_manifest()


def test_manifest_is_plain_json_with_everything_in_it(shipped):
    path, _ = shipped
    content = json.loads(path_beside(path).read_text())
    assert content["sha256"] == sha256_of(path)
    assert content["recipe"] == {"seed": 0}
    assert content["data"] == {"name": "digits"}
    assert content["parity"] == {
        "n": 1000, "max_difference": 1e-6, "labels_changed": 0, "ties": 0, "tolerance": 1e-4, "int8": None, "head": None,
        "changed_at_most": 1.0, "trained": None
    }  # fmt: skip
    assert content["layers"][0]["name"] == "first.weight"
    assert content["left_float"] == {"aux": "unused"}
    assert content["versions"] == {name: version(name) for name in ("edgepriv", "torch", "onnxruntime")}


def test_a_changed_file_is_noticed(shipped):
    path, _ = shipped
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="has changed since its manifest was written"):
        DeployedModel.open(path).verified_manifest()
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        DeployedModel.open(path)


def test_no_manifest_is_none(tmp_path):
    assert read_beside(tmp_path / "model.onnx") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"sha256": 1}'])
def test_broken_manifests_are_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path_beside(path).write_text(content)
    with pytest.raises(UserError, match=r"model\.manifest\.json"):
        read_beside(path)


def test_names_beside():
    assert path_beside(Path("out/model.fp32.onnx")) == Path("out/model.fp32.manifest.json")
