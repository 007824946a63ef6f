"""A table of the papers on the terminal: the paper's number over ours in each cell."""

from collections.abc import Mapping
from typing import Any

from papers_measures import FEWEST_SEEDS, MEASURES, OURS
from rich.console import Console
from rich.table import Table

PLAIN = {"distance", "auc", "adaptive_auc"}
"""Not percentages."""


def number(name: str, value: float) -> str:
    """``0.5007`` -> ``50.1%``; AUCs and distances as they are."""
    return f"{value:.3f}" if name in PLAIN else f"{100 * value:.1f}%"


def ours(name: str, value: Mapping[str, Any] | None) -> str:
    """``50.3% [49.8, 50.9]``; without the interval below three seeds. Student's t knows no bounds, but shares have them."""
    if value is None:
        return "not measured"
    if value["ci"] is None:
        return number(name, value["mean"])
    ends = value["ci"] if name == "distance" else [min(max(end, 0.0), 1.0) for end in value["ci"]]
    low, high = (number(name, end).rstrip("%") for end in ends)
    return f"{number(name, value['mean'])} [{low}, {high}]"


def low_fpr(rate: Mapping[str, Any] | None) -> str:
    """``1.2% [0.9, 1.6]`` of adaptive LiRA, of another attack with its name below; or why there is none."""
    if rate is None:
        return "not run"
    if rate["value"] is None:
        return str(rate["note"])
    low, high = (100 * end for end in rate["ci"])
    other = "" if rate["attack"].startswith("lira") else f"\n({rate['attack']})"
    return f"{100 * rate['value']:.2f}% [{low:.2f}, {high:.2f}]{other}"


def cost(row: Mapping[str, Any]) -> str:
    """``34.9 kB (0.141), 0.027 ms (×1.01)``; ratios to the float file of the same weights, where the file is not that."""
    measured = row["ours"]
    size, latency = measured["size_bytes"]["mean"], measured["latency_ms"]["mean"]
    ratio = measured["size_ratio"], measured["latency_ratio"]
    of_float = [f" ({ratio[0]['mean']:.3f})", f" (×{ratio[1]['mean']:.2f})"] if all(ratio) else ["", ""]
    return f"{size / 1e3:.1f} kB{of_float[0]}\n{latency:.4f} ms{of_float[1]}"


def show(content: Mapping[str, Any], console: Console) -> None:
    """Print one table's JSON."""
    table = Table(title=f"{content['table']}: {content['title']}", caption=caption(content), caption_justify="left")
    table.add_column("")
    table.add_column("seeds")
    for name in content["measures"]:
        table.add_column(f"{MEASURES[name][0]}\npaper\nours")
    lacking = [name for name in OURS[:1] if name not in content["measures"]]
    for name in lacking:
        table.add_column(f"{MEASURES[name][0]}\n\nours")
    for heading in (
        "best adaptive attack\n\nAUC",
        "adaptive LiRA\n(or the best attack)\nTPR at 0.1% FPR",
        "file\n\np50, batch 1, 1 thread",
    ):
        table.add_column(heading)
    for row in content["lines"]:
        table.add_row(*cells(row, content["measures"], lacking))
    console.print(table)


def cells(row: Mapping[str, Any], measures: list[str], lacking: list[str]) -> list[str]:
    """The texts of one line."""
    told = [number(name, row["paper"][name]) if name in row["paper"] else "" for name in measures]
    if "ours" not in row:
        texts = [f"{text}\nnot run" for text in told] + ["not run"] * (len(lacking) + 3)
        return [f"{row['label']}\n({row['not_run']})", "0", *texts]
    measured = row["ours"]
    return [
        row["label"],
        str(len(row["seeds"])),
        *(f"{text}\n{ours(name, measured[name])}" for name, text in zip(measures, told, strict=True)),
        *(ours(name, measured[name]) for name in lacking),
        f"{row['best_adaptive_attack'] or 'none run'}\n{ours('adaptive_auc', measured['adaptive_auc'])}",
        low_fpr(row["low_fpr"]),
        cost(row),
    ]


def caption(content: Mapping[str, Any]) -> str:
    """Scale, notes, and how the intervals are made."""
    sentences = [
        scale(content),
        content["note"],
        content["published_note"] and f"In the paper: {content['published_note']}",
    ]
    sentences.append(
        f"Ours: mean over seeds; ranges are Student's t at 95% over seeds, cut at 0 and 100%, from {FEWEST_SEEDS} seeds on. "
        "Rates at low FPR have Clopper-Pearson's at 95% for the members of all seeds together."
    )
    if len(content["codes"]) > 1:
        sentences.append(f"Its cells were made by {len(content['codes'])} versions of the code.")
    return "\n".join(text for text in sentences if text)


def scale(content: Mapping[str, Any]) -> str:
    """How much smaller our runs are than the recipes, which state the paper's setting."""
    if content["full"]:
        return "At the size of recipes/papers."
    parts = []
    for experiment, fields in content["scale"].items():
        changed = [
            f"{name} {field['full']} -> {field['ours']}" + (f" (÷{field['factor']:.3g})" if "factor" in field else "")
            for name, field in fields.items()
        ]
        parts.append(f"{experiment}: {', '.join(changed) or 'at the size of its recipe'}")
    return "Scaled down. " + "; ".join(parts) + "."
