"""Lines and cells of the tables in docs/findings.md and docs/papers.md: several seeds of a row together, as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from papers_measures import REFERENCES_LEFT_OUT, attack_row, best_adaptive
from papers_measures import at_low_fpr as rate_at_low_fpr

from edgepriv.files import read_json

CELLS = Path(__file__).parent / "results" / "papers" / "cells"
LIRA, RMIA = ("lira-online", "adaptive"), ("rmia-online", "adaptive")

Cells = Sequence[Mapping[str, Any]]
Rows = list[list[str]]


def cells_of(experiment: str, row: str, folder: Path = CELLS) -> list[dict[str, Any]]:
    """The kept cells of one row, by seed; none where it has not been run."""
    path = folder / f"{experiment}.json"
    return read_json(path, "cells").get(row, []) if path.exists() else []


def markdown(headings: Sequence[str], rows: Rows) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(values: Sequence[float]) -> str:
    return f"{100 * float(np.mean(values)):.1f}%"


def number(values: Sequence[float]) -> str:
    return f"{float(np.mean(values)):.3f}" if values else "-"


def of_attack(cells: Cells, attack: tuple[str, str], what: str) -> list[float]:
    return [row[what] for cell in cells if (row := attack_row(cell, attack)) is not None]


def utility(cells: Cells, what: str = "non_member_accuracy") -> list[float]:
    return [cell["utility"][what] for cell in cells]


def both_accuracies(cells: Cells) -> str:
    return f"{percent(utility(cells, 'member_accuracy'))} / {percent(utility(cells))}"


def at_low_fpr(cells: Cells, attack: tuple[str, str]) -> str:
    """True-positive rate at 0.1% false positives, all seeds' members together."""
    rate = rate_at_low_fpr(cells, attack[0], attack[1:])
    if rate is None or rate["value"] is None:
        return "-"
    return with_interval(f"{100 * rate['value']:.2f}%", rate["ci"], 2, 100) + of_fewer_seeds(cells)


def best_attack(cells: Cells) -> str:
    attacks = [best for cell in cells if (best := best_adaptive(cell)) is not None]
    if not attacks:
        return "-"
    names = ", ".join(sorted({row["name"] for row in attacks}))
    return f"{number([row['auc'] for row in attacks])} ({names})" + of_fewer_seeds(cells)


def of_fewer_seeds(cells: Cells) -> str:
    """Which seeds a figure of attacks with reference models is of, where it is not of all of the row's."""
    measured = [str(cell["seed"]) for cell in cells if REFERENCES_LEFT_OUT not in cell]
    if not measured or len(measured) == len(cells):
        return ""
    return f", seed{'s' if len(measured) > 1 else ''} {', '.join(measured)}"


def file_of(cells: Cells) -> str:
    timed = next(row for row in cells[0]["timed"] if row["name"] == "model")
    return f"{timed['size_bytes'] / 1000:.1f} kB, {timed['latency_ms']['p50']:.3f} ms"


def with_interval(value: str, ci: Sequence[float], digits: int, scale: float = 1) -> str:
    low, high = (f"{scale * end:.{digits}f}" for end in ci)
    return f"{value} [{low}, {high}]"


def table(headings: Sequence[str], rows: Mapping[str, Cells], line: Callable[[Cells], list[str]]) -> str:
    """One line for each label whose row has been run: label, number of seeds, ``line``."""
    return markdown(
        [headings[0], "seeds", *headings[1:]],
        [[label, str(len(cells)), *line(cells)] for label, cells in rows.items() if cells],
    )
