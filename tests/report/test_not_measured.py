"""What was not measured has its reason on the terminal and on the page."""

from edgepriv.report.html import missing
from edgepriv.report.not_measured import notes
from edgepriv.report.side_by_side import compare_notes, compare_row

ROBUST = {"norm": "linf", "eps": 0.1, "clean_accuracy": 0.9, "ci": None, "attacks": [], "n": 10, "curve": []}
MASKED = ROBUST | {"worst_case_accuracy": None, "at_most": 0.4, "warnings": ["no gradients: Det (node /d)"]}
KNOWN = ROBUST | {"worst_case_accuracy": 0.5, "warnings": []}


def audit(**parts):
    utility = {"non_member_accuracy": 0.9}
    return {"robustness": KNOWN, "attacks": [], "left_out": [], "utility": utility} | parts


def said(content):
    return " ".join(" ".join(notes(content)).split())


def test_reasons_of_the_file_and_of_its_float_twin():
    assert said(audit(float=audit())) == ""
    assert said(audit(robustness=MASKED)).startswith(
        "robust accuracy not measured: no gradients: Det (node /d) at most: a bound"
    )
    assert "float twin: robust accuracy not measured: no gradients: Det" in said(audit(float=audit(robustness=MASKED)))
    assert said(audit(no_float_twin="--no-float-twin")) == "float twin not audited: --no-float-twin"
    lacking = [{"name": "loss", "reason": "needs a shadow model"}]
    assert said(audit(float=audit(left_out=lacking))) == "float twin, left out: loss: needs a shadow model"
    assert said(audit(left_out=lacking, float=audit(left_out=lacking))) == ""


def test_the_page_says_them_too():
    content = audit(robustness=MASKED, no_float_twin="it is gone")
    found = dict(missing(content, {}, [{}]))
    assert found["robustness"] == "no gradients: Det (node /d)"
    assert found["audit of the undefended float model"].startswith("it is gone;")
    found = dict(missing(audit(float=audit(robustness=MASKED)), {}, [{}]))
    assert found["robustness of the undefended float model"] == "no gradients: Det (node /d)"


def test_compare_says_why_cells_are_empty():
    rows = [
        compare_row("a", audit(robustness=MASKED), None),
        compare_row("b", None, None),
        compare_row("c", audit(), None),
    ]
    first, second = compare_notes(rows)
    assert first == "not measured of a: robust accuracy: no gradients: Det (node /d)"
    assert second.startswith("not measured of b: accuracy, robust accuracy and leakage: no audit")
    assert rows[0]["robust_at_most"] == 0.4
