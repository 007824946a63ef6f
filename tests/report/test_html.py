import re
from html.parser import HTMLParser

import pytest

from edgepriv.report.html import render

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags nest and collects ids, attributes and text."""

    def __init__(self, source):
        super().__init__()
        self.open, self.ids, self.attributes, self.text, self.images = [], [], [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.attributes += [(tag, *pair) for pair in attributes]
        self.ids += [found["id"]] if "id" in found else []
        if tag == "svg":
            self.images.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def page(audit, bench, layers):
    return render(
        title="model.onnx", audit=audit, bench=bench, layers=layers, manifest={"sha256": "abc", "layers": [1]}
    )


def test_nothing_is_fetched_from_anywhere(page):
    for tag, name, value in Page(page).attributes:
        assert name not in ("src", "srcset", "data", "action"), tag
        if name in ("href", "xlink:href"):
            assert value.startswith("#")
    assert "@import" not in page
    assert page.count("<script") == 2  # its own, and the numbers that this reads; neither names a file
    assert not re.search(r"<script[^>]* src", page)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", page))
    assert "http://" not in page
    assert "https://" not in page


def test_tags_nest_and_ids_are_unique_and_resolve(page):
    parsed = Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.ids
    references = {value[1:] for _, name, value in parsed.attributes if name in ("href", "xlink:href")}
    references |= set(re.findall(r"url\(#([^)]*)\)", page))
    assert references <= set(parsed.ids)


def test_every_plot_says_in_words_what_it_shows(page):
    images = Page(page).images
    assert len(images) == 2 + 4 + 1  # two ROC, four histograms, one curve
    assert all(image["role"] == "img" and len(image["aria-label"]) > 50 for image in images)


PHRASES = (
    "16 of 16 attacks are beyond guessing",
    "61.0% [58.0%, 64.0%]",
    "×1.02 [0.970, 1.07]",
    "not resolvable with 900 non-members",
    "label-only : needs 2,000 queries for each record",
    "softmax saturation",
    "nchwc.Conv 2",
    "version.torch 2.13.0",
    "audit.epsilons 1, 2",
    "manifest.sha256 abc",
    "+56.0 points",
)


def test_the_page_holds_what_was_measured(page):
    words = Page(page).words.replace("\xa0", " ")
    assert [phrase for phrase in PHRASES if phrase not in words] == []


def test_foreign_text_is_escaped_everywhere(audit, bench, layers):
    evil = '<script>alert("x")</script>'
    audit["attacks"][0] |= {"name": evil, "paper": evil, "threshold_source": evil, "threat_model": evil}
    audit["attacks"][0]["auc"] = 0.99
    audit["left_out"][0] |= {"name": evil, "reason": evil}
    audit["robustness"]["warnings"] = [evil]
    audit["robustness"]["attacks"][0]["name"] = evil
    bench["machine"]["cpu"] = evil
    bench["variants"][0]["ops"] = {evil: 1}
    layers[0] |= {"name": evil, "op": evil}
    page = render(title=evil, audit=audit, bench=bench, layers=layers, manifest={evil: evil}, command=evil)
    assert evil not in page
    assert page.count("<script") == 2  # the page's own
    Page(page)
    assert page.count("&lt;script&gt;") >= 12


def test_the_same_numbers_give_the_same_page(audit, bench, layers, page):
    again = render(
        title="model.onnx", audit=audit, bench=bench, layers=layers, manifest={"sha256": "abc", "layers": [1]}
    )
    assert again == page


def test_an_audit_alone_says_what_is_missing(tight_audit):
    del tight_audit["robustness"]
    words = Page(render(title="m", audit=tight_audit, bench=None, layers=None)).words
    for phrase in (
        "robustness : no inputs were perturbed (--robust none)",
        "bench : not run",
        "weights by layer",
        "undefended float model",
    ):
        assert phrase in words


def test_a_bench_alone_says_that_leakage_is_unknown(bench):
    words = Page(render(title="m", audit=None, bench=bench, layers=[])).words
    assert "nothing is known about leakage" in words
    assert "audit : not run: leakage and robustness are unknown" in words


def test_a_graph_without_gradients(audit):
    audit["robustness"] |= {
        "worst_case_accuracy": None,
        "ci": None,
        "attacks": [],
        "curve": [],
        "warnings": ["no gradients"],
    }
    del audit["float"]
    parsed = Page(render(title="m", audit=audit, bench=None, layers=None))
    assert "robustness : no gradients" in parsed.words
    assert len(parsed.images) == 1 + 4
    assert "hardened" not in parsed.words  # there is no twin that it could be the hardened form of


def test_an_audit_without_a_single_attack(audit):
    audit |= {"attacks": [], "threat_model": "none"}
    parsed = Page(render(title="m", audit=audit, bench=None, layers=None))
    assert "No attack was run" in parsed.words


def test_what_the_audit_measures_is_what_the_page_reads(bench):
    """The made-up audits of the other tests have the form of real ones."""
    import numpy as np

    from edgepriv.audit.answers import Outputs
    from edgepriv.audit.assess import assess, select, utility
    from edgepriv.audit.evidence import Evidence

    generator = np.random.default_rng(0)
    membership = np.arange(400) < 200
    logits = generator.normal(0, 1, (400, 3))
    logits[membership, 0] += 1
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    outputs = Outputs(probabilities, np.zeros(400, np.int64))
    part = assess(Evidence(outputs), membership, attacks=select("all"), threat_model="none")
    audit = {
        "utility": utility(outputs, membership),
        "attacks": part.attacks,
        "left_out": part.left_out,
        "threat_model": "none",
    }
    words = Page(render(title="m", audit=audit, bench=bench, layers=None)).words
    assert "asks for answers" in words
    assert part.left_out[0]["reason"] in words


def _answered(members, held_out):
    both = {"members": (members, 600), "held_out": (held_out, 400)}
    return {
        side: {"accuracy": share, "ci": [share - 0.02, share + 0.02], "n": n, "largest_class": 0.125}
        for side, (share, n) in both.items()
    }


ACCURACY = {
    "rows": [
        {"model": "model.onnx", "runtime": "onnxruntime", **_answered(0.913, 0.876)},
        {"model": "float weights, at export", "runtime": "torch", **_answered(0.921, 0.884)},
    ],
    "costs": [{"of": "adversarial training", "points": 3.25}, {"of": "quantization", "points": -0.4}],
    "warnings": [],
}
COST = "adversarial training cost 3.2 points and quantization gained 0.4 points"


def test_accuracy_on_members_and_held_out_data_stands_in_the_report_with_what_was_paid(audit, bench, layers):
    page = Page(render(title="m", audit=audit | {"accuracy": ACCURACY}, bench=bench, layers=layers))
    assert "members (600) held-out data (400)" in page.words
    assert "model.onnx, onnxruntime 91.3% [89.3%, 93.3%] 87.6% [85.6%, 89.6%]" in page.words
    assert "float weights, at export, torch 92.1% [90.1%, 94.1%] 88.4% [86.4%, 90.4%]" in page.words
    assert "share of the largest class 12.5% 12.5%" in page.words
    assert page.words.count(COST) == 2  # in the summary, and above the table
    assert "audit.accuracy" not in page.words


def test_a_report_without_an_audit_takes_accuracy_from_the_manifest(bench, layers):
    page = Page(render(title="m", audit=None, bench=bench, layers=layers, manifest={"accuracy": ACCURACY}))
    assert f"At export, on held-out data, {COST}" in page.words


def test_a_report_without_accuracies_says_nothing_of_them(page):
    assert "held-out data" not in Page(page).words
