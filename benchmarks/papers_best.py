"""``papers.py best``: what defences cost and give on three data sets, the frontier among them, and the point to take."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import papers_cells
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, offset_copy
from papers_experiments import scale_factors
from papers_grid import BEST
from papers_measures import MEASURES, attack_row, lira_at_low_fpr, over_seeds
from papers_print import low_fpr, ours
from rich.console import Console
from rich.table import Table

from edgepriv.files import write_bytes

NEAR = 12
OFFSETS = tuple(
    (right * (5 + distance / 4), up * distance)
    for distance in (6, NEAR, 20, 28, 36, 44, 52, 60)
    for up in (1, -1)
    for right in (1, -1)
)
"""Where a name may stand, in points from the middle of its point, the nearest first."""
LIRA = ("lira-online", "adaptive")
CUT, POINTS = 5.0, 0.02
"""What the best point has to reach: LiRA's true-positive rate at 0.1% false positives cut by so much, for at most so much
clean accuracy (a fraction)."""


def rows() -> list[tuple[str, str]]:
    """Every (experiment, row) of the grids."""
    return [(name, row) for name, experiment in BEST.items() for row in experiment.rows]


def _point(name: str, row: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not cells:
        return {"row": row, "seeds": [], "not_run": "no cell of it has been run"}
    measured = {
        what: over_seeds([MEASURES[what][1](cell, LIRA) for cell in cells])
        for what in ("target_accuracy", "auc", "adaptive_auc", "size_bytes", "size_ratio", "latency_ms")
    }
    lira_rows = [attack_row(cell, LIRA) for cell in cells]
    cis = [row["auc_ci"] for row in lira_rows if row is not None]
    return {
        "row": row,
        "seeds": [cell["seed"] for cell in cells],
        "auc_cis": cis,
        "lira": lira_at_low_fpr(cells),
        "rates": [None if (own := lira_at_low_fpr([cell])) is None else own["value"] for cell in cells],
        **measured,
    }


def _rate(point: Mapping[str, Any]) -> float | None:
    return None if not point.get("lira") else point["lira"]["value"]


def frontier(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows that no other beats in one of accuracy and LiRA's rate without losing in the other."""
    known = [(p["row"], p["target_accuracy"]["mean"], rate) for p in points if (rate := _rate(p)) is not None]
    return [
        row
        for row, accuracy, rate in known
        if not any(a >= accuracy and r <= rate and (a > accuracy or r < rate) for _, a, r in known)
    ]


def best_point(points: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The row that cuts LiRA's rate at 0.1% false positives most among those that lose at most 2 points of accuracy.

    Only rows that were run with every seed of the undefended one are compared with it, on those: one seed of many rows would
    show the luckiest. ``cut``: how many times (None: to nothing found); ``points_lost``: of accuracy, a fraction; ``met``:
    whether the cut is at least fivefold; ``seeds``. None where the undefended row has not been run, has nothing that could be
    cut, or no row keeps the accuracy.
    """
    named = {point["row"]: point for point in points if _rate(point) is not None}
    undefended = named.pop("undefended", None)
    if undefended is None or not _rate(undefended):
        return None
    seeds = undefended["seeds"]
    before, accuracy = (_mean_of(undefended, what, seeds) for what in ("rates", "accuracies"))
    allowed = [
        (_mean_of(point, "rates", seeds), lost, row)
        for row, point in named.items()
        if set(seeds) <= set(point["seeds"]) and (lost := accuracy - _mean_of(point, "accuracies", seeds)) <= POINTS
    ]
    if not allowed:
        return None
    rate, lost, row = min(allowed)
    cut = before / rate if rate else None
    return {"row": row, "cut": cut, "points_lost": lost, "met": cut is None or cut >= CUT, "seeds": seeds}


def _mean_of(point: Mapping[str, Any], what: str, seeds: Sequence[int]) -> float:
    values = point["rates"] if what == "rates" else point["target_accuracy"]["values"]
    by_seed = dict(zip(point["seeds"], values, strict=True))
    return sum(by_seed[seed] for seed in seeds) / len(seeds)


def gather(*, full: bool, work: Path, stale: bool) -> dict[str, Any]:
    """The JSON of ``best`` from the cells that have been run."""
    content: dict[str, Any] = {"table": "best", "full": full, "experiments": {}, "codes": [], "commits": []}
    every: list[dict[str, Any]] = []
    for name, experiment in BEST.items():
        points = []
        for row in experiment.rows:
            cells = papers_cells.measured_cells(name, row, full=full, work=work, stale=stale)
            points.append(_point(name, row, cells))
            every += cells
        content["experiments"][name] = {
            "recipe": experiment.recipe.removeprefix("../"),
            "scale": {} if full else scale_factors(name),
            "points": points,
            "frontier": frontier(points),
            "best": best_point(points),
        }
    content["codes"] = sorted({cell["key"]["code"] for cell in every})
    content["commits"] = sorted({cell["commit"] for cell in every})
    content["bench"] = papers_cells.BENCH
    content["machine"] = every[0]["machine"] if every else None
    content["versions"] = every[0]["versions"] if every else None
    return content


def sentence(best: Mapping[str, Any] | None) -> str:
    """The best point in words."""
    if best is None:
        return "no point to name: the undefended row is missing or nothing was found in it, or no defence keeps the accuracy"
    cut = f"to 1/{best['cut']:.1f}" if best["cut"] else "to none found"
    reached = "" if best["met"] else f" (short of 1/{CUT:g})"
    return (
        f"best: {best['row']}, LiRA's TPR at 0.1% FPR {cut}{reached}, accuracy {-100 * best['points_lost']:+.1f} points, "
        f"seeds {', '.join(map(str, best['seeds']))}"
    )


def show(content: Mapping[str, Any], console: Console) -> None:
    """Print one table for each data set."""
    for name, experiment in content["experiments"].items():
        factors = ", ".join(f"{field} {f['full']} -> {f['ours']}" for field, f in experiment["scale"].items())
        caption = f"{sentence(experiment['best'])}\n{experiment['recipe']}.toml" + (
            f", scaled down: {factors}" if factors else ""
        )
        table = Table(title=name, caption=caption, caption_justify="left")
        for heading in (
            "",
            "seeds",
            "accuracy",
            "LiRA online AUC",
            "TPR at 0.1% FPR",
            "best adaptive AUC",
            "file",
            "frontier",
        ):
            table.add_column(heading)
        for point in experiment["points"]:
            table.add_row(*_texts(point, point["row"] in experiment["frontier"]))
        console.print(table)


def _texts(point: Mapping[str, Any], on_frontier: bool) -> list[str]:
    if "not_run" in point:
        return [point["row"], "0", *["not run"] * 5, ""]
    area = ours("auc", point["auc"])
    if len(point["auc_cis"]) == 1:
        low, high = point["auc_cis"][0]
        area += f" [{low:.3f}, {high:.3f}]"
    ratio = f" ({point['size_ratio']['mean']:.3f})" if point["size_ratio"] else ""
    return [
        point["row"],
        str(len(point["seeds"])),
        ours("target_accuracy", point["target_accuracy"]),
        area,
        low_fpr(point["lira"]),
        ours("adaptive_auc", point["adaptive_auc"]),
        f"{point['size_bytes']['mean'] / 1e3:.1f} kB{ratio}",
        "*" if on_frontier else "",
    ]


def draw(content: Mapping[str, Any], folder: Path) -> None:
    """One SVG for each data set: clean accuracy against LiRA's rate at 0.1% false positives."""
    for name, experiment in content["experiments"].items():
        points = [point for point in experiment["points"] if _rate(point) is not None]
        if not points:
            continue
        figure = Figure(figsize=(8, 5.5), layout="constrained")
        axes = figure.subplots()
        for point in points:
            x, y = 100 * _rate(point), 100 * point["target_accuracy"]["mean"]
            low, high = (100 * end for end in point["lira"]["ci"])
            colour = "C1" if point["row"] in experiment["frontier"] else "C0"
            axes.errorbar(x, y, xerr=[[max(0.0, x - low)], [max(0.0, high - x)]], marker="o", color=colour, capsize=2)
        axes.set(xlabel="LiRA online, adaptive: TPR at 0.1% FPR, %", ylabel="accuracy on non-members, %")
        axes.set_title(f"{name} (orange: the frontier)", fontsize=9)
        axes.grid(alpha=0.3)
        figure.draw_without_rendering()  # places depend on the final axes
        label(axes, {point["row"]: (100 * _rate(point), 100 * point["target_accuracy"]["mean"]) for point in points})
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
        write_bytes(folder / f"{name}.svg", image.getvalue())


def label(axes: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """Write each name near its point: the nearest place that no other has taken, joined to its point where it is far."""
    figure = axes.get_figure()
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(list(places.values()))]
    for name, (x, y) in places.items():
        for right, up in OFFSETS:
            moved = offset_copy(axes.transData, figure, right, up, units="points")
            side = "left" if right > 0 else "right"
            text = axes.text(x, y, name, fontsize=6, ha=side, va="center", transform=moved)
            box = text.get_window_extent()
            inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                if abs(up) > NEAR:
                    line = {"arrowstyle": "-", "lw": 0.4, "color": "grey"}
                    axes.annotate("", (x, y), (right, up), textcoords="offset points", arrowprops=line)
                break
            text.remove()
