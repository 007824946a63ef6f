"""The benchmark of the papers' tables, from made-up cells, and one real cell on digits."""

import importlib
import io
import json
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console
from scipy.stats import t

from edgepriv import recipe as recipes
from edgepriv.audit.statistics import clopper_pearson
from edgepriv.errors import UserError
from edgepriv.recipe.conflicts import refuse_impossible

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = (
    "papers_rows",
    "papers_grid",
    "papers_experiments",
    "papers_cells",
    "papers_measures",
    "papers_tables",
    "papers_print",
    "papers_figures",
    "papers_best",
    "papers",
    "findings",
)


class Modules:
    rows, grid, experiments, cells, measures, tables, prints, figures, best, papers, findings = (None,) * 11


@pytest.fixture(scope="module")
def modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        found = Modules()
        for name in NAMES:
            short = name.removeprefix("papers_").replace("print", "prints")
            setattr(found, short, importlib.import_module(name))
        yield found
        for name in NAMES:
            sys.modules.pop(name)


def attack(name, threat_model, auc=0.6, members=2000, hits=10, **changed):
    side = {"precision": 0.6, "recall": 0.5, "f1": 0.55}
    return {
        "name": name,
        "threat_model": threat_model,
        "auc": auc,
        "auc_ci": [auc - 0.01, auc + 0.01],
        "balanced_accuracy": 0.55,
        "n_members": members,
        "member": side,
        "non_member": {key: value - 0.2 for key, value in side.items()},
        "confusion": {"tn": 60, "fp": 40, "fn": 50, "tp": 50},
        "tpr_at_fpr": {"0.001": {"value": hits / members, "ci": [0.0, 0.1]}},
        "roc": {"fpr": [0.0, 0.1, 1.0], "tpr": [0.0, 0.3, 1.0]},
        **changed,
    }


def made_up(modules, cell, accuracy=0.8, **changed):
    """A cell's file with the key that it has now."""
    content = {
        "key": modules.cells.key_of(cell),
        "experiment": cell.experiment,
        "row": cell.row,
        "seed": cell.seed,
        "commit": "abc",
        "utility": {"member_accuracy": 0.9, "non_member_accuracy": accuracy, "generalisation_gap": 0.9 - accuracy},
        "shadow_models": {"oblivious": {"non_member_accuracy": 0.7}, "adaptive": {"non_member_accuracy": 0.65}},
        "attacks": [
            attack("loss", "adaptive", 0.58),
            attack("blindmi-diff", "adaptive"),
            attack("shadow-mlp", "adaptive", 0.7),
            attack("lira-online", "adaptive", 0.62),
            attack("shadow-mlp", "oblivious", 0.9),
        ],
        "robustness": {"worst_case_accuracy": 0.3},
        "distance": 0.01,
        "timed": [{"name": "model", "size_bytes": 1000, "latency_ms": {"p50": 0.02}}],
        "ratios": [{"size": 0.14, "latency_p50": 1.01}],
        "recipe": cell.recipe.model_dump(mode="json"),
        "machine": "a machine",
        "versions": {"edgepriv": "0"},
        "cpu_seconds": 120.0,
        **changed,
    }
    cell.path.parent.mkdir(parents=True, exist_ok=True)
    cell.path.write_text(json.dumps(content))
    return content


def lenet(modules, work, seed=0, row="4-bit"):
    return modules.cells.Cell("001-lenet", row, seed, work=work)


def shown(modules, content):
    console = Console(width=300, record=True, file=io.StringIO())
    modules.prints.show(content, console)
    return console.export_text()


def test_every_recipe_parses_and_its_defences_go_together(modules):
    files = sorted((BENCHMARKS.parent / "recipes" / "papers").glob("*.toml"))
    assert {path.stem for path in files} >= {each.recipe for each in modules.experiments.EXPERIMENTS.values()}
    for path in files:
        refuse_impossible(recipes.load(path))


@pytest.mark.parametrize("full", [False, True])
def test_every_cell_has_a_possible_recipe(modules, full):
    pairs = {pair for name in (*modules.tables.TABLES, "best") for pair in modules.papers.rows_of(name)}
    assert len(pairs) > 60
    for experiment, row in pairs:
        refuse_impossible(modules.experiments.recipe_of(experiment, row, 0, full))


def test_published_numbers_are_as_printed(modules):
    assert modules.tables.published("001-table3")["lines"]["LeNet full"] == {
        "shadow_accuracy": 0.8826,
        "attack_accuracy": 0.5340,
    }
    assert modules.tables.published("001-table5")["lines"]["LeNet full"]["attack_accuracy"] == 0.5489
    assert "54.89%" in modules.tables.published("001-table3")["note"]
    assert modules.tables.published("001-table6")["lines"]["DoReFa 4"]["member_recall"] == 1.0
    assert modules.tables.published("000-table1")["lines"]["LeNet Proposed"]["attack_accuracy"] == 0.4713
    assert modules.tables.published("000-table3")["lines"]["ResNet-20 Proposed"]["tp"] == 0.0459
    assert modules.tables.published("003-table4")["lines"]["BlindMI member"]["member_recall"] == 0.4033
    assert modules.tables.published("003-table6")["lines"]["memguard"]["attack_accuracy"] == 0.5930


def test_every_published_line_is_a_line_of_its_table_with_these_measures(modules):
    for name, table in modules.tables.TABLES.items():
        told = modules.tables.published(name)
        assert told.get("note")
        assert set(told["lines"]) == {line.published for line in table.lines if line.published in told["lines"]}
        for numbers in told["lines"].values():
            assert set(numbers) <= set(table.measures)
            assert all(0 <= value <= 1 for value in numbers.values())


def test_a_measure_is_a_mean_over_seeds_with_students_interval(modules, tmp_path):
    for seed, accuracy in enumerate((0.70, 0.80, 0.90)):
        made_up(modules, lenet(modules, tmp_path, seed), accuracy)
    content = modules.papers.gather("001-table3", full=False, work=tmp_path, stale=False)
    line = content["lines"][0]
    found = line["ours"]["target_accuracy"]
    reach = t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert found["seeds"] == 3
    assert found["mean"] == pytest.approx(0.8)
    assert found["ci"] == pytest.approx([0.8 - reach, 0.8 + reach])
    assert line["paper"]["attack_accuracy"] == 0.5007
    assert line["ours"]["shadow_accuracy"]["mean"] == pytest.approx(0.7)  # the oblivious attacker's, as in the paper
    assert line["best_adaptive_attack"] == "shadow-mlp"
    assert line["ours"]["adaptive_auc"]["mean"] == pytest.approx(0.7)  # not the oblivious 0.9
    assert line["low_fpr"]["value"] == pytest.approx(30 / 6000)
    assert line["low_fpr"]["ci"] == pytest.approx(clopper_pearson(30, 6000))
    assert "50.1%" in shown(modules, content)


def test_two_seeds_have_no_interval(modules, tmp_path):
    for seed in (0, 1):
        made_up(modules, lenet(modules, tmp_path, seed))
    line = modules.papers.gather("001-table5", full=False, work=tmp_path, stale=False)["lines"][0]
    assert line["ours"]["tn"] == {"mean": 0.3, "ci": None, "seeds": 2, "values": [0.3, 0.3]}


def test_without_lira_the_rate_is_that_of_the_best_attack_who_knows_the_defence(modules, tmp_path):
    def rate(value):
        return {"0.001": {"value": value, "ci": None}}

    for seed, better in ((0, 0.8), (1, 0.6)):
        rows = [
            attack("entropy", "none", 0.65, tpr_at_fpr=rate(0.01)),
            attack("shadow-mlp", "adaptive", better, tpr_at_fpr=rate(0.04)),
            attack("shadow-mlp", "oblivious", 0.9, tpr_at_fpr=rate(0.5)),
        ]
        rows += [attack("ml-leaks", "adaptive", 0.99, tpr_at_fpr=rate(0.9))] if seed else []  # not run on every seed
        made_up(modules, lenet(modules, tmp_path, seed), attacks=rows)
    content = modules.papers.gather("001-table3", full=False, work=tmp_path, stale=False)
    found = next(line for line in content["lines"] if line.get("ours"))["low_fpr"]
    assert (found["attack"], found["value"]) == ("shadow-mlp", pytest.approx(0.04))
    assert "(shadow-mlp)" in shown(modules, content)


def test_a_cell_whose_reference_attacks_are_left_out_gives_no_best_attack(modules, tmp_path):
    old = attack("modified-entropy", "none", 0.53, tpr_at_fpr={"0.001": {"value": 0.002, "ci": None}})
    made_up(modules, lenet(modules, tmp_path, 0))
    made_up(modules, lenet(modules, tmp_path, 1), attacks=[old], reference_attacks_left_out="an earlier LiRA")
    line = modules.papers.gather("001-table3", full=False, work=tmp_path, stale=False)["lines"][0]
    assert line["seeds"] == [0, 1]
    assert line["ours"]["adaptive_auc"]["values"] == [0.7]
    assert line["low_fpr"]["members"] == 2000
    cells = modules.cells.measured_cells("001-lenet", "4-bit", full=False, work=tmp_path, stale=False)
    assert modules.findings.best_attack(cells) == "0.700 (shadow-mlp), seed 0"
    assert modules.findings.best_attack(cells[1:]) == "-"
    assert modules.measures.adaptive_at_low_fpr(cells[1:]) is None


def test_too_few_non_members_are_said(modules, tmp_path):
    note = "not resolvable with 500 non-members"
    few = attack("lira-online", "adaptive", tpr_at_fpr={"0.001": {"value": None, "ci": None, "note": note}})
    made_up(modules, lenet(modules, tmp_path), attacks=[few])
    content = modules.papers.gather("001-table3", full=False, work=tmp_path, stale=False)
    text = shown(modules, content)
    assert note in text
    assert "not measured" in text  # the paper's attack


def test_what_was_not_run_says_so_and_why(modules, tmp_path):
    content = modules.papers.gather("001-table4", full=False, work=tmp_path, stale=False)
    reasons = {line["label"]: line["not_run"] for line in content["lines"]}
    assert reasons["LeNet 4"] == "no cell of it has been run"
    assert reasons["ResNet-50 4"] == "too large to train on two processor cores"
    assert "0.51" not in shown(modules, content)  # percent, like ours
    assert "51.0%" in shown(modules, content)


def test_figures_are_drawn_from_what_was_run(modules, tmp_path):
    for row in modules.experiments.EXPERIMENTS["003-cifar100"].rows:
        made_up(modules, modules.cells.Cell("003-cifar100", row, 0, work=tmp_path))
    for name in ("003-figure9", "003-figure11"):
        content = modules.papers.gather(name, full=False, work=tmp_path, stale=False)
        assert modules.figures.draw(content, "lines", tmp_path / f"{name}.svg")
        assert b"<svg" in (tmp_path / f"{name}.svg").read_bytes()
    assert [line["epochs"] for line in content["lines"][:3]] == [5, 12, 30]
    empty = modules.papers.gather("001-figure5", full=False, work=tmp_path, stale=False)
    assert not modules.figures.draw(empty, "roc", tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_a_cell_is_run_once_unless_recipe_or_code_has_changed(modules, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(
        modules.cells, "run", lambda cell, *rest: ran.append(cell.seed) or made_up(modules, cell) | {"seconds": 1}
    )
    cells = [lenet(modules, tmp_path, seed) for seed in (0, 1)]
    made_up(modules, cells[0])
    console = Console(quiet=True)
    modules.papers.run_missing(cells, console, None, False)
    assert ran == [1]
    modules.papers.run_missing(cells, console, None, False)
    assert ran == [1]
    monkeypatch.setattr(modules.cells, "version", lambda: "other code")
    assert modules.cells.measured_cells("001-lenet", "4-bit", full=False, work=tmp_path, stale=False) == []
    assert len(modules.cells.measured_cells("001-lenet", "4-bit", full=False, work=tmp_path, stale=True)) == 2
    modules.papers.run_missing(cells, console, None, False)
    assert ran == [1, 0, 1]
    monkeypatch.setitem(modules.experiments.SCALES, "001-lenet", {"train": {"epochs": 7}})
    assert modules.cells.stored(cells[0], stale=True) is None  # another recipe is never counted


def test_cells_of_several_codes_are_told(modules, tmp_path):
    made_up(modules, lenet(modules, tmp_path, 0))
    older = lenet(modules, tmp_path, 1)
    made_up(modules, older, key=modules.cells.key_of(older) | {"code": "older"})
    content = modules.papers.gather("001-table3", full=False, work=tmp_path, stale=True)
    assert len(content["codes"]) == 2
    assert "2 versions of the code" in shown(modules, content)


def test_the_estimate_counts_what_is_left(modules, tmp_path):
    cells = [lenet(modules, tmp_path, seed) for seed in (0, 1, 2)]
    assert modules.cells.minutes_left(cells)["001-lenet"][2] == "expected"
    made_up(modules, cells[0])
    assert modules.cells.minutes_left(cells)["001-lenet"] == (2, pytest.approx(4.0), "measured")
    old = modules.cells.stored(cells[0])
    cells[0].path.write_text(json.dumps(old | {"key": old["key"] | {"code": "another"}}))
    assert modules.cells.minutes_left(cells)["001-lenet"][0] == 3
    assert modules.cells.minutes_left(cells, stale=True)["001-lenet"][0] == 2


def test_tables_share_cells_and_unknown_rows_are_refused(modules, tmp_path):
    pairs = [pair for name in ("001-table3", "001-table5") for pair in modules.papers.rows_of(name)]
    cells = list(modules.cells.cells_of(pairs, [0, 1], full=False, work=tmp_path))
    assert len(cells) == len(set(cells)) == 2 * len(set(pairs)) < 2 * len(pairs)
    with pytest.raises(UserError, match="no row 5-bit"):
        list(modules.cells.cells_of(pairs, [0], full=False, work=tmp_path, only=["5-bit"]))


def test_the_scale_is_told_as_factors(modules):
    factors = modules.experiments.scale_factors("001-lenet")
    assert factors["data.members"] == {"full": 15000, "ours": 3000, "factor": 5.0}
    assert modules.experiments.recipe_of("001-lenet", "full", 1, True).data.members == 15000


def point(row, accuracy, rate, seeds=(0, 1)):
    return {
        "row": row,
        "seeds": list(seeds),
        "target_accuracy": {"mean": accuracy, "values": [accuracy] * len(seeds)},
        "lira": {"value": rate},
        "rates": [rate] * len(seeds),
    }


def test_the_best_point_cuts_the_rate_and_keeps_the_accuracy(modules):
    points = [
        point("undefended", 0.80, 0.10),
        point("cheap", 0.79, 0.05),
        point("good", 0.785, 0.01),
        point("worse than good", 0.78, 0.02),
        point("ruinous", 0.50, 0.001),
        {"row": "missing", "not_run": "no cell of it has been run"},
    ]
    assert modules.best.frontier(points) == ["undefended", "cheap", "good", "ruinous"]
    lucky = point("lucky once", 0.80, 0.0001, seeds=(1,))
    assert modules.best.best_point([*points, lucky]) == modules.best.best_point(points)
    third = point("undefended", 0.80, 0.10, seeds=(0,))
    more = {**point("good", 0, 0, seeds=(0, 1)), "rates": [0.02, 0], "target_accuracy": {"values": [0.79, 0]}}
    assert modules.best.best_point([third, more])["cut"] == pytest.approx(5)  # on the seed that both have
    found = modules.best.best_point(points)
    assert found == {
        "row": "good",
        "cut": pytest.approx(10),
        "points_lost": pytest.approx(0.015),
        "met": True,
        "seeds": [0, 1],
    }
    assert "1/10.0" in modules.best.sentence(found)
    assert not modules.best.best_point(points[:2])["met"]
    assert modules.best.best_point(points[1:]) is None


def test_the_tables_of_the_findings_are_those_of_the_kept_cells(modules):
    pages = [path.read_text() for path in modules.findings.PAGES]
    assert sorted(re.findall(r"<!-- table (\S+) -->", "".join(pages))) == sorted(modules.findings.TABLES)
    assert [modules.findings.filled(page) for page in pages] == pages


def test_a_table_of_the_findings_is_written_anew(modules):
    name = "003-location"
    old = f"before\n<!-- table {name} -->\n| old |\n<!-- end -->\nafter\n"
    new = modules.findings.filled(old)
    assert new.startswith("before\n")
    assert new.endswith("\nafter\n")
    assert "old" not in new
    kept = modules.findings.cells_of(name, "none")
    assert f"| none | {len(kept)} |" in new
    with pytest.raises(UserError, match="no table nothing"):
        modules.findings.filled("<!-- table nothing -->\n<!-- end -->")


def test_one_real_cell(modules, tmp_path, monkeypatch):
    tiny = {
        "data": {
            "name": "digits",
            "members": 100,
            "non_members": 100,
            "reference": 200,
            "holdout": 20,
            "validation": 20,
        },
        "model": {"name": "mlp", "args": {"widths": [32]}},
        "train": {"epochs": 2, "augment": "none"},
        "quantize": {"quantizer": "minmax"},
        "audit": {"references": 4, "robust_examples": 10, "robust": "quick"},
    }
    monkeypatch.setitem(modules.experiments.SCALES, "001-lenet", tiny)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # trained here: processes take longer to start than these models
    monkeypatch.setattr(modules.cells, "BENCH", {"batches": (1,), "threads": (1,), "runs": 5, "rounds": 1})
    cell = lenet(modules, tmp_path)
    done = modules.cells.run(cell, "abc")
    assert modules.cells.stored(cell) == json.loads(json.dumps(done))
    assert done["timed"][0]["size_bytes"] < 10_000
    assert done["shadow_models"].keys() == {"adaptive", "oblivious"}
    assert str(tmp_path) not in cell.path.read_text()
    assert not list((tmp_path / "models").iterdir())
    line = modules.papers.gather("001-table3", full=False, work=tmp_path, stale=False)["lines"][0]
    assert line["ours"]["shadow_accuracy"]["seeds"] == 1
    assert line["low_fpr"]["note"] == "not resolvable with 100 non-members"


def test_the_interval_of_a_share_is_cut_where_shares_end(modules):
    wide = modules.measures.over_seeds([0.0, 0.5, 1.0])
    assert wide["ci"][0] < 0
    assert wide["ci"][1] > 1
    assert modules.prints.ours("recall", wide) == "50.0% [0.0, 100.0]"
    assert modules.prints.ours("distance", wide).startswith("0.500 [-0.7")


def test_the_noise_of_a_row_is_told_once_for_each_seed(modules, monkeypatch):
    def cell(seed, norm):
        return {"seed": seed, "defences": {"noise": {"mean_norm": norm}}}

    kept = {"shapley": [{"seed": 0}], "shapley-5": [cell(1, 0.2), cell(0, 0.1)], "shapley-25": [cell(1, 0.2)]}
    monkeypatch.setattr(modules.findings, "cells_of", lambda experiment, row: kept.get(row, []))
    assert modules.findings.noise_facts("004-location", "shapley") == [{"mean_norm": 0.1}, {"mean_norm": 0.2}]
    assert modules.findings.noise_facts("004-location", "none") == []


def test_kept_cells_are_json_with_a_line_for_each(modules):
    kept = {"full": [{"seed": 0, "auc": 0.5}, {"seed": 1, "auc": None}], "4-bit": [{"seed": 0, "auc": 0.6}]}
    text = modules.papers.a_cell_a_line(kept)
    assert json.loads(text) == kept
    assert sum(line.startswith('{"seed"') for line in text.splitlines()) == 3
