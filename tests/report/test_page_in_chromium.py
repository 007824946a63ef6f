"""The page as a browser shows and prints it: no error, no request, everything on paper."""

import html
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from whole_audit import whole_audit

from edgepriv.report.html import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--v=0",
)
AXE = "axe-core@4.14.1"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome on the PATH"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Runs Chromium with a fresh profile on a page; returns what it wrote to standard output and to its log."""

    def run(page, *flags):
        profile = tmp_path_factory.mktemp("profile")
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return run


@pytest.fixture
def written(tmp_path, audit, bench, layers):
    page = tmp_path / "model.audit.html"
    whole = whole_audit(audit["robustness"])
    assert len(whole["attacks"]) > 30
    page.write_text(
        render(title="model.onnx", audit=whole, bench=bench, layers=layers, command="edgepriv audit m.onnx")
    )
    return page


def requests(net_log: Path) -> set[str]:
    """Addresses that the page asked for; what the browser asks for itself has no origin."""
    events = json.loads(net_log.read_text())["events"]
    started = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return {found["url"] for found in started if found["initiator"] != "not an origin"}


def drawn(pdf: bytes) -> int:
    """How many times a PDF's pages show text, read from their compressed contents."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.S)
    shown = 0
    for stream in streams:
        try:
            shown += len(re.findall(rb"\bT[jJ]\b", zlib.decompress(stream)))
        except zlib.error:
            continue
    return shown


def test_the_browser_reports_an_error_and_a_request_where_there_is_one(browser, tmp_path):
    """What the next test looks for can be found."""
    bad = tmp_path / "bad.html"
    bad.write_text('<script>console.error("broken")</script><img src="http://example.invalid/x.png">')
    log = tmp_path / "net.json"
    ran = browser(bad, f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom")
    assert "CONSOLE" in ran.stderr
    assert requests(log) == {"http://example.invalid/x.png"}


def test_no_error_and_no_request(browser, written, tmp_path):
    log = tmp_path / "net.json"
    ran = browser(written, f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom")
    assert "What was tested" in ran.stdout
    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
    assert requests(log) == set()


def test_the_script_fills_the_numbers_that_move(browser, written):
    shown = browser(written, "--virtual-time-budget=2000", "--dump-dom").stdout
    assert '<section class="live" id="explore" aria-labelledby="explore-title">' in shown  # no longer hidden
    rows = shown[shown.index('id="explore-rows"') :]
    assert rows[: rows.index("</tbody>")].count('type="checkbox"') == 31
    assert "At 1.00% false positives" in shown
    assert "<canvas" in shown
    assert 'class="sort"' in shown


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The script of axe-core, the test is skipped where npm cannot install it."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("axe")
    quiet = ["--no-audit", "--no-fund", "--no-save", "--prefer-offline", "--ignore-scripts", "--loglevel=error"]
    ended = subprocess.run(["npm", "install", AXE, *quiet], cwd=folder, capture_output=True, text=True, timeout=120)
    if ended.returncode != 0:
        pytest.skip(f"npm install failed: {' '.join(ended.stderr.split())[:200]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme", [[], ["--blink-settings=preferredColorScheme=0"]], ids=["light", "dark"])
def test_axe_has_nothing_to_say(browser, written, axe, tmp_path, scheme):
    """Neither of the page with what is folded unfolded, nor in dark mode."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", written.read_text())
    page = page.replace("<details>", "<details open>")
    ask = """setTimeout(() => axe.run().then((said) => {
      const list = said.violations.map((each) => [each.id, each.impact, each.nodes[0].html.slice(0, 200)]);
      document.body.append(Object.assign(document.createElement("pre"), {id: "axe", textContent: JSON.stringify(list)}));
    }), 500);"""
    escaped = axe.replace("</script", "<\\/script")
    checked = tmp_path / "checked.html"
    checked.write_text(page.replace("</body>", f"<script>{escaped}</script><script>{ask}</script></body>"))
    shown = browser(checked, *scheme, "--virtual-time-budget=20000", "--dump-dom").stdout
    (said,) = re.findall(r'<pre id="axe">(.*?)</pre>', shown, re.S)
    assert json.loads(html.unescape(said)) == []


def test_it_prints_to_more_than_one_page_with_what_is_folded(browser, written, tmp_path):
    def printed(page, name):
        pdf = tmp_path / name
        browser(page, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
        return pdf.read_bytes()

    whole = printed(written, "whole.pdf")
    assert len(re.findall(rb"/Type /Page\b", whole)) > 3
    unfolded = tmp_path / "unfolded.html"
    unfolded.write_text(written.read_text().replace("<details>", "<details open>"))
    assert "<details>" in written.read_text()
    shown = drawn(whole)
    assert shown > 500
    assert shown == pytest.approx(drawn(printed(unfolded, "unfolded.pdf")), rel=0.01)
