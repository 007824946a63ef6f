"""The benchmark of audits, on sizes that take seconds."""

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """``benchmarks/audit.py`` and ``benchmarks/rivals.py``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.delitem(sys.modules, "audit", raising=False)
        yield importlib.import_module("audit"), importlib.import_module("rivals")
        sys.modules.pop("audit")


@pytest.fixture(scope="module")
def given(modules):
    audit, rivals = modules
    return rivals.setting(audit.recipe_of("digits", 0.1), references=4)


@pytest.mark.parametrize("name", ["edgepriv-lira", "plain", "art"])
def test_every_audit_takes_the_same_steps(modules, given, name, monkeypatch):
    if name == "art" and find_spec("art") is None:
        pytest.skip("adversarial-robustness-toolbox is not installed")
    rivals, steps = modules[1], []
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # trained here, where steps can be counted
    handle = register_optimizer_step_post_hook(lambda *_: steps.append(1))
    found = rivals.AUDITS[name](given)
    handle.remove()
    assert found.steps == 14  # 2 epochs of 200 examples in batches of 32
    in_all = {"edgepriv-lira": 14, "art": len(steps)}.get(name, 56)  # edgepriv's models share their steps
    assert len(steps) == in_all >= 14
    assert 0.3 < found.auc < 0.9


def test_the_attacks_see_what_was_put_in(modules):
    found = modules[0].score(2000, 16)
    assert set(found["aucs"]) == {"lira_online", "lira_offline", "rmia_online", "rmia_offline"}
    assert all(0.6 < area < 0.85 for area in found["aucs"].values())


def test_intervals_hold_the_truth(modules):
    found = modules[0].coverage(1000, 8, 100)
    assert 0.88 <= found["coverage"] <= 1
    assert found["runs"] == 100


def test_rows_are_measured_once_and_kept(modules, tmp_path, monkeypatch, capsys):
    audit = modules[0]
    asked = []

    def measured(arguments, folder):
        asked.append(arguments[1])
        number = len(asked)
        row = {"seconds": float(number), "cpu_seconds": 1.0, "peak_mib": 100}
        return row | ({"coverage": 0.95, "runs": 3} if arguments[1] == "coverage" else {"auc": 0.5, "attack": "LiRA"})

    monkeypatch.setattr(audit, "measured", measured)
    command = ["audit.py", "--settings", "digits", "--rivals", "edgepriv-lira", "plain", "--output"]
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / "audit.json")])
    audit.main()
    assert asked == ["edgepriv-lira", "plain", "scoring", "coverage"]
    audit.main()
    assert len(asked) == 4
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / "audit.json"), "--epochs", "0.5"])
    audit.main()
    assert asked[4:] == ["edgepriv-lira", "plain"]  # the other two do not depend on epochs
    rows = json.loads((tmp_path / "audit.json").read_text())["rows"]
    assert rows["digits/plain"]["seconds"] == 6.0
    shown = capsys.readouterr().out
    assert "1.20" in shown  # 6 seconds against 5
    assert "95.0% of 3" in shown


def test_time_and_memory_are_those_of_the_process_tree(modules, tmp_path):
    audit = modules[0]
    row = audit.measured(["--alone", "scoring", "--scored", "500", "--scored-references", "4"], tmp_path)
    assert row["peak_mib"] > 50
    assert row["cpu_seconds"] > row["seconds"] > 0
    assert list(tmp_path.iterdir()) == []
    assert np.isfinite(row["auc"])
