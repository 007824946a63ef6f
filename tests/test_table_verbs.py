"""The four commands of the page on tables, on a small one: train, harden, audit, and the device kit on raw rows."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from edgepriv import pipeline
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.session import predict
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe

TITLES = "age;job;height;who\n"


def rows(start, stop):
    """Who is "b" is a matter of age and job; one in seven has no height."""
    lines = []
    for i in range(start, stop):
        age, job = 20 + (i * 37) % 50, ("cook", "clerk", "?")[i * 7 % 3]
        height = "" if i % 7 == 0 else f"1,{50 + i * 13 % 40}"
        lines.append(f"{age};{job};{height};{'b' if age + 10 * (job == 'cook') > 50 else 'a'}")
    return TITLES + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Folder of a hardened model and of the table that it was trained on."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "t.csv").write_text(rows(0, 600))
    recipe = Recipe(
        data={"name": f"csv:{folder / 't.csv'}", "label": "who"},
        model={"name": "mlp", "args": {"widths": [16]}},
        train={"epochs": 30},
    )
    pipeline.train(recipe, folder / "m.pt")
    changes = {
        "adversary": {"method": "pgd", "eps": 0.03, "steps": 2},
        "robust": {"epochs": 2},
        "qat": {"epochs": 1},
        "quantize": {"bits": 4},
    }
    pipeline.harden(folder / "m.pt", None, changes, folder / "out", max_drop=100)
    return folder


def test_raw_rows_are_answered_on_the_device_as_in_training(shipped, tmp_path):
    model = DeployedModel.open(shipped / "out" / "model.onnx")
    assert model.table.titles == ("age", "job", "height")
    (tmp_path / "rows.csv").write_text(rows(600, 640))
    command = [sys.executable, "device/predict.py", "model.onnx", str(tmp_path / "rows.csv"), "--json"]
    ended = subprocess.run(command, cwd=shipped / "out", capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)["predictions"]
    truth = [line.rsplit(";")[-1] for line in rows(600, 640).splitlines()[1:]]
    assert np.mean([row["name"] == name for row, name in zip(found, truth, strict=True)]) > 0.75
    x, _ = model.table.encoded(pipeline_cells(tmp_path / "rows.csv"))
    np.testing.assert_allclose([row["probabilities"] for row in found], predict(model.session, x), atol=1e-6)


def pipeline_cells(path):
    from edgepriv.data.files import read_csv
    from edgepriv.recipe import Data

    return read_csv(path, Data(label="who")).cells


def test_an_audit_reads_rows_by_the_files_own_record(shipped, tmp_path):
    changes = {"audit": {"attacks": "confidence", "robust": "quick", "robust_examples": 30, "references": 0}}
    by_manifest = pipeline.audit(shipped / "out" / "model.onnx", changes, float_twin=False, output=tmp_path / "a.json")
    assert by_manifest["robustness"]["fixed_features"] == 4
    assert any("perturbations change the 2 columns of numbers and dates" in line for line in by_manifest["said"])
    (tmp_path / "m.csv").write_text(rows(0, 200))
    finer = re.sub(r";1,(\d\d);", r";1,\g<1>5;", rows(700, 900))
    others = [line + "\n" for line in finer.splitlines() if ";;" not in line and ";1,895" not in line]
    (tmp_path / "n.csv").write_text("".join(others).replace("cook", "chef"))
    on_files = pipeline.audit(
        shipped / "out" / "model.onnx",
        changes,
        members=tmp_path / "m.csv",
        non_members=tmp_path / "n.csv",
        output=tmp_path / "b.json",
        accept_accuracy_loss=True,
    )
    assert any("n.csv: column 'job': 'chef'" in line for line in on_files["said"])


def test_weights_from_elsewhere_and_bytes_are_refused(shipped, tmp_path):
    with pytest.raises(UserError, match="--input uint8 is for pictures"):
        pipeline.export(shipped / "m.pt", None, {"export": {"input": "uint8"}}, tmp_path / "m.onnx")
