"""The HTML page of a model."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.companion_files import bench_in
from edgepriv.files import write_text
from edgepriv.project import beside
from edgepriv.report import html
from edgepriv.report.reproduce import audit_command


def write_report(model: DeployedModel, audited: dict[str, Any] | None, output: Path) -> None:
    """Write the HTML page of what is known of a model: its audit, its bench, its layers.

    Args:
        model: the deployed model; its bench is looked for beside it.
        audited: content of model.audit.json, or None.
        output: the .html file.
    """
    known = model.manifest
    page = html.render(
        title=model.name,
        audit=audited,
        bench=bench_in(beside(model.path, "bench.json"), model),
        layers=[asdict(layer) for layer in model.layers],
        manifest=known.model_dump(mode="json") if known else None,
        command=audit_command(model.name, audited),
    )
    write_text(output, page)
