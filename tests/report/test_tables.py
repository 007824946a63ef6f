import json

import pytest
from rich.console import Console

from edgepriv.report import side_by_side, tables
from edgepriv.report.html import comparison


def text(table, width=220):
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_robustness_ends_with_the_worst_case(audit):
    printed = text(tables.robustness_table(audit["robustness"])).splitlines()
    assert "linf eps 0.1" in printed[0]
    assert "worst case" in printed[-2]
    assert "61.0% [58.0%, 64.0%]" in printed[-2]


def test_bench_shows_ratios_only_where_there_are_any(bench):
    rows = [line for line in text(tables.bench_table(bench)).splitlines() if "kB" in line]
    assert "×1.02 0.970-1.07" in rows[1]
    assert "×" not in rows[0]


def test_compare_takes_rows_that_are_json(audit, bench):
    rows = [side_by_side.compare_row("hardened", audit, bench), side_by_side.compare_row("unknown.onnx", None, None)]
    json.dumps(rows, allow_nan=False)
    assert rows[0]["size_bytes"] == 34_500
    assert rows[0]["strongest_attack"]["auc"] == pytest.approx(max(found["auc"] for found in audit["attacks"]))
    printed = text(side_by_side.compare_table(rows))
    assert "61.0% [58.0%, 64.0%] (linf 0.1)" in printed.replace("eps ", "")
    assert printed.count("not measured") == 7


def test_numbers_are_whole_in_80_columns(audit, bench):
    rows = [
        side_by_side.compare_row("hardened", audit, bench),
        side_by_side.compare_row("float", audit["float"], bench),
    ]
    for table, whole in (
        (tables.bench_table(bench), ("34.5 kB", "×1.02", "0.970-1.07", "0.204")),
        (side_by_side.compare_table(rows), ("61.0% [58.0%, 64.0%]", "34.5 kB", "0.204 ms", "its TPR at 1% FPR")),
        (tables.verdict_table(comparison(audit, bench)), ("61.0% [58.0%, 64.0%]", "+56.0 points")),
    ):
        lines = text(table, 80).splitlines()
        assert max(map(len, lines)) <= 80
        assert [number for number in whole if not any(number in line for line in lines)] == []
        assert not any("…" in line for line in lines)


def test_layers(layers):
    printed = text(tables.layer_table(layers))
    assert "24.0 kB" in printed
    assert "MatMulNBits" in printed


def test_layers_of_a_checkpoint_have_fewer_columns():
    printed = text(tables.layer_table([{"name": "conv1.weight", "shape": [6, 1, 5, 5], "bits": 32}]))
    assert "6x1x5x5" in printed
    assert "stored" not in printed


def test_show_lists_facts_then_layers(layers):
    facts = {"file": "m.onnx", "input": {"name": "input", "shape": ["N", 3]}, "recipe": None, "layers": layers}
    first, second = (text(table) for table in tables.show_tables(facts))
    assert "input.shape" in first
    assert "N, 3" in first
    assert "recipe" not in first
    assert "conv1" in second


def test_the_verdict_table_takes_the_rows_of_the_page(audit, bench):
    printed = text(tables.verdict_table(comparison(audit, bench)))
    assert "246 kB" in printed
    assert "×0.140" in printed
    assert "+56.0 points" in printed


def test_names_are_not_markup(layers):
    layers[0]["name"] = "[bold]fc"
    assert "[bold]fc" in text(tables.layer_table(layers))
