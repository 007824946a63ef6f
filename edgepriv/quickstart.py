"""The whole pipeline on data that comes with scikit-learn, for a first look in three minutes."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from edgepriv import pipeline, recipe
from edgepriv.api.results import Result, Row
from edgepriv.files import refuse_existing
from edgepriv.project import beside, each_note_once
from edgepriv.recipe import Recipe
from edgepriv.report import html, tables, verdict


@dataclass(frozen=True, repr=False, kw_only=True)
class Finished(Result):
    """The whole pipeline. ``rows``: the comparison with the undefended model; ``report``: the page; ``seconds``: it took."""

    seconds: float
    audit: Row
    bench: Row
    rows: Sequence[Sequence[str]]
    verdict: str
    report: Path

    def readable(self) -> list[Any]:
        return [tables.verdict_table(self.rows), self.verdict, f"report: {self.report}"]


def run(output: Path, *, force: bool = False, say: Callable[[str], None] = print) -> Finished:
    """Train, harden, export, bench, audit and report into ``output``; ``say`` receives a line as each step begins.

    An interrupted run, which has left no report yet, may be run again. Returns the audit, the bench, the rows of the
    comparison, the verdict and the seconds that it took.
    """
    report = output / "report.html"
    onnx_path = output / "model.onnx"
    refuse_existing([report], force)
    with as_file(files("edgepriv.recipes").joinpath("quickstart.toml")) as path:
        settings = recipe.load(path)
    with each_note_once():
        return _run(settings, output, onnx_path, report, say)


def _run(settings: Recipe, output: Path, onnx_path: Path, report: Path, say: Callable[[str], None]) -> Finished:
    started = time.monotonic()
    say("1/5 train: a small CNN on scikit-learn's digits")
    pipeline.train(settings, output / "float.pt", force=True)
    say("2/5 harden: adversarial training, then 4-bit quantization-aware fine-tuning")
    say("3/5 export: integer weights into one ONNX file, parity proven")
    pipeline.harden(output / "float.pt", settings, {}, output, force=True)
    say("4/5 bench: the file beside its float twin, fresh processes")
    measured = pipeline.bench(onnx_path, settings, force=True)
    say("5/5 audit: membership inference by an attacker who knows the defence, and adversarial inputs")
    audited = pipeline.audit(onnx_path, {}, cache_dir=output / "cache", force=True)
    shutil.copyfile(beside(onnx_path, "audit.html"), report)
    content = {
        "seconds": time.monotonic() - started,
        "audit": audited,
        "bench": measured,
        "rows": list(html.comparison(audited, measured)),
        "verdict": verdict.verdict(audited, measured),
        "report": str(report),
    }
    return Finished.of(content)
