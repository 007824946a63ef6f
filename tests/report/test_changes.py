"""Versions side by side: better, worse or within noise, on a terminal and as a page."""

import re

from edgepriv.report import changes, characters
from edgepriv.report.compared_page import page
from edgepriv.report.side_by_side import change_parts, compare_row


def timed(size, rounds):
    return {"size_bytes": size, "latency_p50_rounds": rounds, "latency_ms": {"p50": sorted(rounds)[len(rounds) // 2]}}


def verdicts(before, after):
    return {row["topic"]: row["verdict"] for row in changes.costs(before, after)}


def test_latency_is_judged_round_by_round():
    before = timed(1000, [1.0, 2.0, 1.5, 3.0])
    assert verdicts(before, timed(1000, [1.1, 2.21, 1.64, 3.3])) == {"size": "within noise", "latency": "worse"}
    assert verdicts(before, timed(1500, [1.3, 1.8, 1.4, 3.2])) == {"size": "worse", "latency": "within noise"}
    assert verdicts(before, timed(500, [0.5, 1.0, 0.74, 1.5])) == {"size": "better", "latency": "better"}


def test_one_round_tells_nothing_about_noise():
    _, latency = changes.costs(timed(10, [1.0]), timed(10, [9.0]))
    assert (latency["verdict"], latency["note"]) == (
        "not compared",
        "1 rounds tell nothing about noise: --rounds 3 or more does",
    )


def rows():
    curves = ({"fpr": [0, 0.01, 1], "tpr": [0, 0.2, 1]}, {"fpr": [0, 0.1, 1], "tpr": [0, 0.5, 1]})
    told = [
        compare_row(name, None, None)
        | {"roc": curve | {"n_non_members": 500, "attack": "loss (asks for answers)"}, "change": None}
        for name, curve in zip(("v1.onnx", "v2.onnx"), curves, strict=True)
    ]
    change = changes.without_audits("v1.onnx", "no audit of v2.onnx")
    told[1]["change"] = changes.with_costs(
        change, changes.costs(timed(10, [1.0, 1.1, 1.2]), timed(20, [2.0, 2.3, 2.4]))
    )
    return told


def test_the_terminal_draws_both_curves_and_says_what_changed():
    printed = "\n".join(part for part in change_parts(rows()) if isinstance(part, str))
    assert "o v1.onnx: loss (asks for answers)" in printed
    assert "x v2.onnx: loss" in printed
    assert "v2.onnx against v1.onnx: leakage not compared; robustness not compared" in printed
    assert "size worse; latency worse" in re.sub(r"\s+", " ", printed)
    assert "not compared: leakage, robustness and accuracy: no audit of v2.onnx" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_curve_is_drawn_where_its_rates_are():
    lines = characters.drawn({"v1": {"fpr": [0, 1], "tpr": [0.1, 1]}}, 1e-2)
    at_ten_percent = next(line for line in lines if line.startswith("   10%"))
    assert at_ten_percent.count("o") >= characters.WIDTH - 2


def test_the_page_shows_both_curves_and_every_verdict():
    written = page(rows())
    assert written.count("<svg") == 1
    assert "v2.onnx against v1.onnx: leakage not compared" in written
    assert not re.search(r"https?://|<script|<link", written)
