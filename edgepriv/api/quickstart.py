"""The verb for a first look: the whole pipeline in one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from edgepriv.api import arguments as given
from edgepriv.api.results import Result, Row
from edgepriv.api.verb import verb
from edgepriv.recipe import Option


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
        """The comparison as a table, the verdict, and where the page is."""
        from edgepriv.report import tables

        return [tables.verdict_table(self.rows), self.verdict, f"report: {self.report}"]


@verb
def quickstart(
    *,
    out: Annotated[given.PathLike, Option("Folder to write into.", "Output", flags=given.OUT)] = "quickstart",
    force: given.Force = False,
    progress: given.Progress = False,
) -> Finished:
    """The whole pipeline on scikit-learn's digits: train, harden, export, audit, bench, report.

    Args:
        out: the folder to write into: float.pt, model.onnx with all that stands beside it, report.html.
        force: replace a report that exists.
        progress: see ``edgepriv.api.arguments.Progress``; each step begins with a ``Step`` that has a title alone.

    Returns:
        The audit and the bench, the comparison with the undefended model, the verdict and the seconds that it took.

    Raises:
        UserError: where a report exists and ``force`` is not given.
    """
    from edgepriv import pipeline

    return Finished.of(pipeline.quickstart(Path(out), force=force))
