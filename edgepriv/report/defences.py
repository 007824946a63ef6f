"""The table of defences, for the terminal and for the documentation."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.recipe.defences import DEFENCES
from edgepriv.report.formatting import and_

WIDTH = 80


def known_defences(defences: Sequence[Mapping[str, Any]]) -> list[Table | str]:
    """Every defence with its option and paper, which of them exclude each other, and which make an audit slower.

    Args:
        defences: what ``pipeline.defences`` returns.

    Returns:
        The table, then one text of several lines; both fit into 80 columns.
    """
    table = Table(
        title=Text(f"{len(defences)} defences"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in ("defence", "asked for by", "paper"):
        table.add_column(Text(heading), no_wrap=heading == "defence")
    for row in defences:
        table.add_row(*map(Text, (row["name"], row["option"], row["paper"])))
    beside = {
        row["name"]: list(dict.fromkeys(name for conflict in row["conflicts"] for name in conflict["beside"]))
        for row in defences
    }
    lines = ["cannot be combined:", *(f"  {name} with {and_(names)}" for name, names in beside.items() if names)]
    alone = [row["name"] for row in defences if not row["stacked"]]
    lines.append(f"reference models are trained one at a time with {and_(alone)}")
    return [table, "\n".join(fill(line, WIDTH, subsequent_indent="    ") for line in lines)]


def markdown() -> str:
    """The table of the documentation."""
    rows = [f"| `{each.option}` | {each.what} | {each.source} |" for each in DEFENCES.values()]
    return "\n".join(["| option | what it does | source |", "|---|---|---|", *rows])
