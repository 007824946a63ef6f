"""Versions of a model side by side as one HTML page, as self-contained as that of an audit."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgepriv.report import changes, side_by_side
from edgepriv.report.html import templates
from edgepriv.report.plots import roc_of_versions

Row = Mapping[str, Any]


def page(rows: Sequence[Row]) -> str:
    """The page of a comparison.

    Args:
        rows: what ``pipeline.compare`` returns.

    Returns:
        The whole page. It refers to no other file and no address.
    """
    curves = {f"{row['name']}: {row['roc']['attack']}": row["roc"] for row in rows if row["roc"] is not None}
    return (
        templates()
        .get_template("compare.html")
        .render(
            title=" against ".join(row["name"] for row in rows[::-1]),
            rows=rows,
            changes=[(row["name"], row["change"]) for row in rows if row["change"] is not None],
            roc=roc_of_versions(curves) if curves else None,
            side_by_side=side_by_side.compare_cells(rows),
            remarks=[
                *side_by_side.stale_audits(rows),
                *side_by_side.altered_audits(rows),
                *side_by_side.compare_notes(rows),
            ],
            headline=changes.headline,
            cells=changes.figure_cells,
            notes=changes.notes,
        )
    )
