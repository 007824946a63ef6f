"""Persons and subgroups by the command line: who they are is reported on, and does not leave with the file."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgepriv.report.html import render

PERSONS = np.array([f"Xylophonia-{i // 3:03d}" for i in range(480)])
SUBGROUPS = np.array([("Quokkaland", "Wombatshire")[i // 3 % 2] for i in range(480)])
RECIPE = """
[model]
name = "mlp"
args = {widths = [32]}
[train]
epochs = 40
batch_size = 16
lr = 0.1
[adversary]
method = "pgd"
eps = 0.02
steps = 2
[robust]
epochs = 1
[qat]
epochs = 1
"""


@pytest.fixture
def shipped(edgepriv, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(480) % 2
    x = (0.25 * rng.random((480, 6)) + 0.5 * y[:, None] * (np.arange(6) < 3) + 0.2).clip(0, 1).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=y, visitor=PERSONS, land=SUBGROUPS)
    (tmp_path / "r.toml").write_text(RECIPE)
    told = ("--groups", "visitor", "--subgroups", "land", "--recipe", tmp_path / "r.toml")
    ran = edgepriv("train", "--data", f"npz:{tmp_path / 'd.npz'}", *told, "-o", tmp_path / "m.pt")
    assert ran.code == 0, ran.err
    ran = edgepriv(
        "harden",
        tmp_path / "m.pt",
        "--recipe",
        tmp_path / "r.toml",
        "--max-drop",
        "100",
        "--robust",
        "none",
        "-o",
        tmp_path / "out",
    )
    assert ran.code == 0, ran.err
    return tmp_path / "out"


def test_figures_are_told_by_subgroup_and_no_name_is_in_the_file(edgepriv, shipped: Path):
    quick = ("--attacks", "confidence", "--robust", "none", "--references", "0")
    ran = edgepriv("audit", shipped / "model.onnx", *quick)
    assert ran.code == 0, ran.err
    assert "By land" in ran.out
    audit = json.loads((shipped / "model.audit.json").read_text())
    for side in (audit, audit["float"]):
        part = side["classifier"]["subgroups"]
        assert part["column"] == "land"
        assert [row["subgroup"] for row in part["rows"]] == ["Quokkaland", "Wombatshire"]
        assert sum(row["n"] for row in part["rows"]) == side["classifier"]["n"]
        hits = sum(row["n"] * row["accuracy"]["value"] for row in part["rows"])
        assert hits / side["classifier"]["n"] == pytest.approx(side["classifier"]["accuracy"]["value"])
    assert audit["persons"]["members"] > 0
    assert audit["classifier"]["bootstrap"]["over"] == "persons"
    page = render(title="m", audit=audit, bench=None, layers=None)
    for words in (
        "The classifier on held-out data",
        "bootstrap draws of persons (seed 0)",
        "By land",
        "Quokkaland",
        "Confusion",
    ):
        assert words in page
    for file in shipped.rglob("*"):
        if file.is_file() and not file.name.startswith("model.audit"):
            held = file.read_bytes()
            for name in (b"Xylophonia", b"Quokka", b"Wombat"):
                assert name not in held, file
                assert name.decode().encode("utf-16-le") not in held, file
