"""Weights that stand beside the .onnx are a part of the model: of its size, its digest, and of what is found stale."""

import numpy as np
import onnx
import pytest
from graphs import model, node

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.describe import describe
from edgepriv.artifact.session import open_session, predict
from edgepriv.companion_files import audit_beside
from edgepriv.errors import UserError
from edgepriv.files import sha256_of, write_json

W = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
X = np.random.default_rng(1).random((10, 4), dtype=np.float32)


@pytest.fixture
def split(tmp_path):
    """A model whose matrix stands in a file of its own."""
    path = tmp_path / "net.onnx"
    proto = model([node("MatMul", "x w")], {"w": W})
    onnx.save(proto, path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return path


def change_weights(path):
    data = path.with_name("net.onnx.data")
    data.write_bytes((-np.frombuffer(data.read_bytes(), np.float32)).tobytes())


def test_both_files_count_in_size_and_digest(split):
    found = DeployedModel.open(split)
    assert [file.name for file in found.external] == ["net.onnx.data"]
    assert found.size_bytes == split.stat().st_size + W.nbytes == describe(found)["size_bytes"]
    assert found.facts()["external"] == ["net.onnx.data"]
    change_weights(split)
    assert found.sha256 != DeployedModel.open(split).sha256


def test_a_model_in_one_file_has_the_digest_of_that_file(tmp_path):
    path = tmp_path / "one.onnx"
    onnx.save(model([node("MatMul", "x w")], {"w": W}), path)
    assert DeployedModel.open(path).facts() == {
        "file": "one.onnx",
        "sha256": sha256_of(path),
        "size_bytes": path.stat().st_size,
    }


def test_an_audit_of_other_weights_is_not_an_audit_of_this_model(split):
    write_json(split.with_suffix(".audit.json"), {"sha256": DeployedModel.open(split).sha256})
    assert audit_beside(DeployedModel.open(split)) is not None
    change_weights(split)
    assert audit_beside(DeployedModel.open(split)) is None


def test_it_runs_and_has_a_twin_as_a_model_in_one_file_does(split):
    model = DeployedModel.open(split)
    whole = open_session(model.graph.SerializeToString())
    np.testing.assert_array_equal(predict(model.session, X), predict(whole, X))
    assert model.differentiable().max_difference < 1e-6
    assert model.graph.graph.initializer[0].raw_data == W.tobytes()


def test_files_elsewhere_are_not_read(split, tmp_path):
    (tmp_path / "inner").mkdir()
    inner = tmp_path / "inner" / "net.onnx"
    inner.write_bytes(split.read_bytes().replace(b"net.onnx.data", b"../x.onnx.dat"))
    (tmp_path / "x.onnx.dat").write_bytes(W.tobytes())
    for asked in ("session", "graph", "layers", "sha256", "size_bytes"):
        with pytest.raises(UserError, match="outside its own folder"):
            getattr(DeployedModel.open(inner), asked)
    with pytest.raises(UserError, match="outside its own folder"):
        open_session(inner)


def test_a_missing_file_is_named(split):
    split.with_name("net.onnx.data").unlink()
    with pytest.raises(UserError, match=r"net\.onnx\.data, which is not beside it"):
        open_session(split)


def test_comparing_says_that_an_audit_is_stale(split, tmp_path):
    from edgepriv import pipeline
    from edgepriv.recipe import Recipe
    from edgepriv.report.side_by_side import stale_audits

    other = tmp_path / "other.onnx"
    onnx.save(model([node("MatMul", "x w")], {"w": W}), other)
    write_json(split.with_suffix(".audit.json"), {"sha256": DeployedModel.open(split).sha256})
    change_weights(split)
    rows = pipeline.compare([split, other], Recipe().with_changes(bench={"runs": 2, "rounds": 1}))
    assert [row["size_bytes"] for row in rows] == [DeployedModel.open(path).size_bytes for path in (split, other)]
    (sentence,) = stale_audits(rows)
    assert sentence.startswith("net.onnx: the audit beside it is of another file")
