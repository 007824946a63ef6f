"""The whole pipeline on data that comes with scikit-learn, for a first look in three minutes."""

import shutil
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from edgepriv.files import refuse_existing
from edgepriv.pipeline._audit import audit
from edgepriv.pipeline._bench import bench
from edgepriv.pipeline._harden import harden
from edgepriv.pipeline._train import train
from edgepriv.progress import announce
from edgepriv.project import beside, each_note_once
from edgepriv.recipe import load
from edgepriv.report import html, verdict


def quickstart(output: Path, *, force: bool = False) -> dict[str, Any]:
    """Train, harden, export, bench, audit and report; each step is announced as it begins.

    An interrupted run, which has left no report yet, may be run again.

    Args:
        output: folder that everything is written into.
        force: replace a report that exists.

    Returns:
        ``seconds`` that it took, ``audit`` and ``bench`` as their files hold them, ``rows`` of the comparison, the ``verdict``,
        and the path of the ``report``.

    Raises:
        UserError: where there is a report already, without ``force``.
    """
    report, onnx_path = output / "report.html", output / "model.onnx"
    refuse_existing([report], force)
    with as_file(files("edgepriv.recipes").joinpath("quickstart.toml")) as path:
        settings = load(path)
    with each_note_once():
        started = time.monotonic()
        announce("1/5 train: a small CNN on scikit-learn's digits")
        train(settings, output / "float.pt", force=True)
        announce("2/5 harden: adversarial training, then 4-bit quantization-aware fine-tuning")
        announce("3/5 export: integer weights into one ONNX file, parity proven")
        harden(output / "float.pt", settings, {}, output, force=True)
        announce("4/5 bench: the file beside its float twin, fresh processes")
        measured = bench(onnx_path, settings, force=True)
        announce("5/5 audit: membership inference by an attacker who knows the defence, and adversarial inputs")
        audited = audit(onnx_path, {}, cache_dir=output / "cache", force=True)
        shutil.copyfile(beside(onnx_path, "audit.html"), report)
    return {
        "seconds": time.monotonic() - started,
        "audit": audited,
        "bench": measured,
        "rows": list(html.comparison(audited, measured)),
        "verdict": verdict.verdict(audited, measured),
        "report": str(report),
    }
