"""What the page computes is what Python computes, and what stands in it can be read without it."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import betainc

from edgepriv.audit import statistics
from edgepriv.audit.assess import RATES, roc_points
from edgepriv.audit.prior import precision
from edgepriv.report.html import render
from edgepriv.report.live_page import attacks_data

SCRIPT = str(files("edgepriv.report").joinpath("live", "statistics.js"))
PRIORS = (0.001, 0.01, 0.5)


def computed(expression, given):
    """A JavaScript expression of ``edgepriv`` and ``given``."""
    program = f"const edgepriv = require({json.dumps(SCRIPT)}), given = {json.dumps(given)};"
    program += f"process.stdout.write(JSON.stringify({expression}))"
    ended = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(ended.stdout)


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node on the PATH")


def scored(members, others, digits=None, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(0.8, 1, members), rng.normal(0, 1, others)])
    member = np.arange(members + others) < members
    return scores if digits is None else np.round(scores, digits), member


def told(scores, member):
    """The data of a page on one attack, as the script has it after adding the steps up."""
    area, interval = statistics.auc(scores, member)
    row = {"name": "loss", "threat_model": "none", "auc": area, "auc_ci": list(interval), "tpr_at_fpr": {}}
    sizes = {"n_members": int(member.sum()), "n_non_members": int((~member).sum())}
    data = json.loads(
        attacks_data({"attacks": [row | sizes | {"roc": roc_points(scores, member)}], "utility": sizes})["data"]
    )
    for key in ("fp", "tp"):
        data["attacks"][0][key] = np.cumsum(data["attacks"][0][key]).tolist()
    return data


@needs_node
@pytest.mark.parametrize(
    ("members", "others", "digits"), [(1000, 1000, None), (300, 2500, 1), (1500, 150, 0), (90, 5000, None)]
)
def test_the_page_computes_what_python_computes(members, others, digits):
    scores, member = scored(members, others, digits)
    data = told(scores, member)
    given = {"attack": data["attacks"][0], "fprs": [*data["fprs"], 0.5 / others], "priors": PRIORS}
    rows = computed(
        "given.fprs.map((fpr) => [edgepriv.tprAtFpr(given.attack, fpr), "
        "...given.priors.map((prior) => edgepriv.precision(given.attack, fpr, prior, 20))])",
        given,
    )
    assert len(rows) > 40
    for fpr, (rate, *precisions) in zip(given["fprs"], rows, strict=True):
        expected = statistics.tpr_at_fpr(scores, member, fpr)
        assert (rate or {"value": None})["value"] == pytest.approx(expected["value"], abs=1e-12)
        assert (rate or {"ci": None})["ci"] == pytest.approx(expected["ci"], abs=1e-9)
        for prior, one in zip(PRIORS, precisions, strict=True):
            measured = precision(scores, member, fpr, prior, attacks=20)
            assert (one or {"value": None})["value"] == pytest.approx(measured["value"], abs=1e-12)
            assert (one or {"ci": None})["ci"] == pytest.approx(measured["ci_simultaneous"], abs=1e-9)


@needs_node
def test_the_incomplete_beta_function_is_scipys():
    points = [
        (a, b, x) for a in (0.5, 1, 7.3, 400) for b in (1, 2.5, 60, 20_000) for x in (1e-6, 0.003, 0.2, 0.5, 0.97)
    ]
    values = computed("given.map(([a, b, x]) => edgepriv.beta(a, b, x))", points)
    assert values == pytest.approx([betainc(*point) for point in points], abs=1e-11)


def test_the_sliders_stop_where_the_kept_points_are_exact():
    scores, member = scored(800, 3000)
    exact, kept = statistics.roc(scores, member), roc_points(scores, member)
    for fpr in RATES:
        whole = exact.tpr[np.searchsorted(exact.fpr, fpr + 1e-12, side="right") - 1]
        assert kept["tpr"][np.searchsorted(kept["fpr"], fpr + 1e-12, side="right") - 1] == whole
    assert {0.1, 0.01, 0.001} <= set(RATES)


def test_only_the_pages_own_script_may_run_and_it_needs_no_address(audit, bench, layers):
    page = render(title="model.onnx", audit=audit, bench=bench, layers=layers)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert not re.search(r"https?://", page)
    assert "fetch(" not in script
    assert "Permission is hereby granted" in script  # uPlot's licence travels with it


def test_names_in_the_data_cannot_end_the_script(audit):
    audit["attacks"][0]["name"] = "</script><b>"
    page = render(title="model.onnx", audit=audit, bench=None, layers=None)
    assert "</script><b>" not in page


def test_without_the_script_nothing_is_shown_that_it_fills(audit, bench, layers):
    page = render(title="model.onnx", audit=audit, bench=bench, layers=layers)
    explore = page[page.index('<section class="live"') :]
    assert explore[: explore.index(">")].endswith("hidden")
    for field in re.findall(r'<input type="range" id="(\w+)"', page):
        assert f'<label for="{field}">' in page
    assert page.index('id="summary"') < page.index("Leakage: can")


def test_headings_go_down_one_level_at_a_time(audit, bench, layers):
    levels = [
        int(level) for level in re.findall(r"<h([1-6])", render(title="m", audit=audit, bench=bench, layers=layers))
    ]
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
