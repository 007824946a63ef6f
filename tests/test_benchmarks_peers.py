"""The comparison with LeakPro and ML Privacy Meter: our side of it, and theirs where a checkout is named.

The tests with the real tools run with EDGEPRIV_LEAKPRO and EDGEPRIV_PRIVACY_METER set to their checkouts, and
EDGEPRIV_PEERS_PYTHON to an interpreter that has what they need.
"""

import importlib
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from edgepriv.audit.answers import log_odds
from edgepriv.errors import UserError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OURS = ("audit", "peers_audit", "peers_cell", "peers_given", "peers_run", "peers_tables", "rivals", "spent")


@pytest.fixture(scope="module")
def bench():
    """The modules of the benchmark by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        for name in OURS:
            patch.delitem(sys.modules, name, raising=False)
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in OURS})
        for name in OURS:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def cell(bench, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)  # trained here: starting processes takes longer
        return bench.peers_cell.trained(bench.audit.recipe_of("digits", 0.5), 4, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def given(bench, cell, tmp_path_factory):
    return bench.peers_given.read(bench.peers_cell.hand_over(cell, tmp_path_factory.mktemp("peers")))


def peers_of(bench, tool):
    checkout = os.environ.get(f"EDGEPRIV_{tool.upper().replace('-', '_')}")
    if checkout is None:
        pytest.skip(f"no checkout of {tool} is named in EDGEPRIV_{tool.upper().replace('-', '_')}")
    python = os.environ.get("EDGEPRIV_PEERS_PYTHON", sys.executable)
    return bench.peers_run.Peers({tool: Path(checkout)}, python)


def true_probability(network, given, temperature=1.0):
    """Of each candidate's label, float64 [n]."""
    x, y = torch.from_numpy(given.x[: given.candidates]), torch.from_numpy(given.y[: given.candidates])
    with torch.no_grad():
        p = (network(x).double() / temperature).softmax(1)
    return p[torch.arange(len(y)), y].numpy()


def test_what_is_handed_over_is_what_was_trained(cell, given):
    references = cell.fleet.references
    assert np.array_equal(given.member, references.member)
    assert np.array_equal(given.y[: given.candidates], cell.given.dataset.y[cell.given.candidates])
    assert not np.isin(cell.population, cell.given.candidates).any()
    for r in range(4):
        x = torch.from_numpy(given.x[: given.candidates])
        with torch.no_grad():
            p = given.loaded(f"reference-{r:04d}")(x).softmax(1).numpy()
        assert np.allclose(log_odds(p, given.y[: given.candidates]), references.confidence[r], atol=1e-3)


def test_the_same_models_are_handed_over_once(bench, cell, given):
    before = {path: path.stat().st_mtime_ns for path in given.folder.iterdir()}
    assert bench.peers_cell.hand_over(cell, given.folder.parent) == given.folder
    assert before == {path: path.stat().st_mtime_ns for path in given.folder.iterdir()}


def test_the_paired_model_knows_the_others(given):
    target, paired = (true_probability(given.loaded(name), given) for name in ("target", "complement"))
    surer = np.log(target) - np.log(paired)
    member = np.arange(given.candidates) < given.members
    assert surer[member].mean() > surer[~member].mean()


def test_every_attack_of_ours_with_references_has_scores(bench, cell):
    scores = bench.peers_cell.own_scores(cell)
    assert {"lira-online", "lira-offline", "rmia-online", "rmia-offline", "difficulty-calibration"} <= scores.keys()
    assert all(len(values) == len(cell.given.candidates) for values in scores.values())


def scored(strength, n=2000, seeds=(0, 1)):
    """Normal scores [2n] for each seed, members first and higher by ``strength``."""
    member = np.arange(2 * n) < n
    return [np.random.default_rng(seed).normal(size=2 * n) + strength * member for seed in seeds]


def compared(bench, ours, theirs, members=2000):
    scores = [
        {"edgepriv": {"a": mine, "weak": -mine}, "peer": {"b": other}} for mine, other in zip(ours, theirs, strict=True)
    ]
    member = np.arange(len(ours[0])) < members
    rows = [
        {
            "tools": {
                tool: {k: bench.peers_tables.row_of(s, member) for k, s in found.items()} for tool, found in one.items()
            }
        }
        for one in scores
    ]
    return bench.peers_tables.comparisons(rows, scores, members, ["peer"]), rows


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"), [(1.5, 3.0, "below"), (3.0, 1.5, "not below"), (3.0, 3.0, "not below")]
)
def test_the_stronger_tool_is_named(bench, monkeypatch, ours, theirs, verdict):
    monkeypatch.setattr(bench.peers_tables, "RESAMPLES", 100)
    found, _ = compared(bench, scored(ours), scored(theirs))
    assert [row["fpr"] for row in found] == [0.01, 0.001]
    for row in found:
        assert row["verdict"] == verdict
        assert row["edgepriv"][0] == "a"  # the weak attack is never the strongest
        low, high = row["difference"]["ci"]
        assert low <= row["difference"]["mean"] <= high
        assert (ours == theirs) == (low == high == 0)


def test_a_difference_by_chance_is_within_the_interval(bench, monkeypatch):
    monkeypatch.setattr(bench.peers_tables, "RESAMPLES", 100)
    ours, theirs = scored(2.0, seeds=(1, 2)), scored(2.0, seeds=(3, 4))
    verdicts = [{row["verdict"] for row in compared(bench, *pair)[0]} for pair in ((ours, theirs), (theirs, ours))]
    assert all(found <= {"not below", "within the interval"} for found in verdicts)
    assert "within the interval" in verdicts[0] | verdicts[1]  # one of the two is a little lower


def test_rates_that_cannot_be_resolved_are_not_compared(bench, monkeypatch):
    monkeypatch.setattr(bench.peers_tables, "RESAMPLES", 10)
    found, rows = compared(bench, scored(2.0, n=300), scored(2.0, n=300), members=300)
    assert [row["fpr"] for row in found] == [0.01]
    table = bench.peers_tables.models_table("digits", {"setting": {"references": 4}, "seeds": rows})
    assert "not resolvable" in shown(table)


def shown(table):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_costs_are_compared_round_by_round(bench):
    def row(tool, turn, cpu):
        about = {"tool": tool, "round": turn, "models": 17, "cpu_seconds": cpu, "import_cpu_seconds": 1.0}
        return about | {"seconds": cpu, "peak_mib": 500}

    rows = [row("edgepriv", 0, 30.0), row("leakpro", 0, 60.0), row("edgepriv", 1, 33.0), row("leakpro", 1, 60.0)]
    assert bench.peers_tables.ratios(rows) == {"leakpro": [0.5, 0.55]}
    assert "0.50, 0.55" in shown(bench.peers_tables.cost_table(rows))


def test_time_of_grandchildren_counts_and_a_failure_shows_its_last_words(bench, tmp_path):
    burn = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(i * i for i in range(6_000_000))'])"
    used = bench.spent.spent([sys.executable, "-c", burn])
    idle = bench.spent.spent([sys.executable, "-c", "import subprocess"])
    assert used.cpu_seconds > 2 * idle.cpu_seconds > 0
    assert used.peak_mib > 5
    with pytest.raises(UserError, match="exit code 3\nno such model"):
        bench.spent.spent([sys.executable, "-c", "print('no such model'); exit(3)"], log=tmp_path / "log")


def test_a_folder_that_is_no_checkout_is_refused(bench, tmp_path):
    with pytest.raises(UserError, match="not a checkout of leakpro"):
        bench.peers_run.Peers({"leakpro": tmp_path})
    (tmp_path / "run_mia.py").touch()
    with pytest.raises(UserError, match="no interpreter /nowhere/python"):
        bench.peers_run.Peers({"privacy-meter": tmp_path}, "/nowhere/python")
    assert "unknown" in bench.peers_run.Peers({"privacy-meter": tmp_path}).commit("privacy-meter")


def test_one_run_writes_what_it_measured(bench, tmp_path, monkeypatch):
    """With a stand-in that answers as a peer does, and knows the truth."""
    checkout = tmp_path / "peer"
    checkout.mkdir()
    (checkout / "run_mia.py").touch()

    def ask(self, tool, mode, folder, out):
        known = bench.peers_given.read(folder)
        out.mkdir()
        knows = (np.arange(known.candidates) < known.members) + 0.01 * np.arange(known.candidates) / known.candidates
        bench.peers_given.write_answer(out, {"oracle": knows}, {"oracle": {"auc": 1.0}})
        return bench.spent.Spent(1.0, 2.0, 300)

    monkeypatch.setattr(bench.peers_run.Peers, "ask", ask)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr(bench.peers_tables, "RESAMPLES", 10)
    output = tmp_path / "peers.json"
    command = ["peers_audit.py", "--privacy-meter", str(checkout), "--settings", "digits", "--epochs", "0.1"]
    command += ["--seeds", "0", "--references", "2", "--parts", "models", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    bench.peers_audit.main()
    found = json.loads(output.read_text())["digits"]["models"]
    (seed,) = found["seeds"]
    assert seed["tools"]["privacy-meter"]["oracle"]["auc"] == 1.0
    assert seed["tools"]["edgepriv"]["rmia-online"]["auc"] < 1.0
    assert found["setting"] == {"members": 200, "non_members": 200, "population": 400, "references": 2, "epochs": 2}
    assert found["comparisons"][0]["verdict"] == "below"
    assert found["commits"]["privacy-meter"].startswith("unknown")


def test_leakpro_scores_the_models_that_it_was_given(bench, given, tmp_path):
    peers_of(bench, "leakpro").ask("leakpro", "given", given.folder, tmp_path / "out")
    scores, own = bench.peers_given.read_answer(tmp_path / "out")
    member = np.arange(given.candidates) < given.members
    seen = [true_probability(given.loaded(f"reference-{r:04d}"), given, 2.0) for r in range(4)]
    base = np.log(true_probability(given.loaded("target"), given, 2.0)) - np.log(np.mean(seen, axis=0))
    assert np.allclose(scores["base-online"], base, atol=1e-4)
    for name, values in scores.items():
        if len(np.unique(values)) == len(values):  # of equal scores LeakPro's own ROC counts the first alone
            assert bench.peers_tables.row_of(values, member)["auc"] == pytest.approx(own[name]["auc"], abs=1e-9)


def test_privacy_meter_scores_the_models_that_it_was_given(bench, given, tmp_path):
    peers_of(bench, "privacy-meter").ask("privacy-meter", "given", given.folder, tmp_path / "out")
    scores, _ = bench.peers_given.read_answer(tmp_path / "out")
    seen = np.stack([true_probability(given.loaded(f"reference-{r:04d}"), given) for r in range(4)])
    out = np.where(given.member, 0, seen).sum(axis=0) / (~given.member).sum(axis=0)
    target = true_probability(given.loaded("target"), given)
    # For one of the coefficients that it chooses from, the scores must order the candidates as this ratio does.
    orders = [target / ((1 + a) / 2 * out + (1 - a) / 2) for a in np.arange(0, 1.1, 0.1)]
    assert any((np.diff(scores["rmia-offline"][np.argsort(ratio)]) >= -1e-9).all() for ratio in orders)
