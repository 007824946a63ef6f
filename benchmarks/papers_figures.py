"""The papers' figures from the JSON of their tables: curves, bars, points."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from papers_measures import MEASURES

from edgepriv.files import write_bytes

mpl.rcParams["svg.hashsalt"] = "edgepriv"  # the same figure from the same numbers

Rows = Sequence[Mapping[str, Any]]


def _roc(axes: Axes, rows: Rows, measures: Sequence[str]) -> None:
    for row in rows:
        if row.get("roc"):
            axes.plot(row["roc"]["fpr"], row["roc"]["tpr"], label=f"{row['label']} ({row['ours']['auc']['mean']:.3f})")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle="--")
    axes.set(xlabel=f"false-positive rate (curve: seed {rows[0]['seeds'][0]}; AUC: mean)", ylabel="true-positive rate")


def _reach(value: Mapping[str, Any]) -> float:
    return value["mean"] - value["ci"][0] if value["ci"] else 0.0


def _bars(axes: Axes, rows: Rows, measures: Sequence[str]) -> None:
    width = 0.8 / len(rows)
    for position, row in enumerate(rows):
        values = [row["ours"][name] for name in measures]
        places = [index + position * width for index in range(len(values))]
        axes.bar(
            places,
            [value["mean"] if value else 0.0 for value in values],
            width,
            yerr=[_reach(value) if value else 0.0 for value in values],
            label=row["label"],
        )
    axes.set_xticks(
        [index + 0.4 - width / 2 for index in range(len(measures))], [MEASURES[name][0] for name in measures]
    )
    axes.tick_params(axis="x", labelrotation=30)


def _lines(axes: Axes, rows: Rows, measures: Sequence[str]) -> None:
    series: dict[str, list[tuple[float, Mapping[str, Any]]]] = {}
    for row in rows:
        value = row["ours"][measures[0]]
        if value:
            name = re.sub(r"-\d+$", "", row["row"])
            series.setdefault(f"{name} ({row['experiment']})", []).append((row["epochs"], value))
    for name, points in series.items():
        x, values = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        axes.errorbar(
            x, [v["mean"] for v in values], yerr=[_reach(v) for v in values], marker="o", capsize=2, label=name
        )
    axes.set(xlabel="epochs", ylabel=MEASURES[measures[0]][0])


def _points(axes: Axes, rows: Rows, measures: Sequence[str]) -> None:
    across, up = measures[:2]
    for row in rows:
        a, b = row["ours"][across], row["ours"][up]
        if a and b:
            axes.errorbar(
                a["mean"], b["mean"], xerr=_reach(a), yerr=_reach(b), marker="o", capsize=2, label=row["label"]
            )
    axes.set(xlabel=MEASURES[across][0], ylabel=MEASURES[up][0])


KINDS: dict[str, Callable[[Axes, Rows, Sequence[str]], None]] = {
    "roc": _roc,
    "bars": _bars,
    "lines": _lines,
    "points": _points,
}


def draw(content: Mapping[str, Any], kind: str, path: Path) -> bool:
    """Write the figure of a table's JSON as SVG; False, and nothing written, where none of its lines has been run."""
    rows = [row for row in content["lines"] if "ours" in row]
    if not rows:
        return False
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    KINDS[kind](axes, rows, content["measures"])
    axes.set_title(f"{content['table']}: {content['title']}", fontsize=9)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    write_bytes(path, image.getvalue())
    return True
