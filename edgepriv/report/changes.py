"""What changed from one version of a model to the next, in words and as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from edgepriv.audit.change.versions import ACCURACY, BETTER, LEAKAGE, NOISE, ROBUSTNESS, UNKNOWN, WORSE
from edgepriv.report.formatting import area, file_size, milliseconds, percent, significant

SIZE, LATENCY = "size", "latency"
TOPICS = (LEAKAGE, ROBUSTNESS, ACCURACY, SIZE, LATENCY)
SAME_SIZE = 0.01
"""Share of the size up to which two files are called equal: names in a file, and nothing that a device would notice."""
FEWEST_ROUNDS = 3

Change = Mapping[str, Any]


def costs(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Size and latency of two files that were timed together.

    Args:
        before: a row of a bench's ``variants``.
        after: another one, with the same threads and batch, timed in the same rounds.

    Returns:
        Rows as those of ``regression.compared``: ``difference`` is after / before, 1 for no change; size is exact and has no
        ``ci``, that of latency is of the ratio, round by round (Student's t of its logarithm).
    """
    sizes = [row["size_bytes"] for row in (before, after)]
    rounds = [np.log(row["latency_p50_rounds"]) for row in (before, after)]
    gap = rounds[1] - rounds[0]
    size = _cost(SIZE, "size of the file", sizes, sizes[1] / sizes[0], None, "bytes")
    if abs(sizes[1] / sizes[0] - 1) < SAME_SIZE:
        size |= {"verdict": NOISE, "note": "equal within 1%"}
    p50 = [row["latency_ms"]["p50"] for row in (before, after)]
    if len(gap) < FEWEST_ROUNDS:
        note = f"{len(gap)} rounds tell nothing about noise: --rounds {FEWEST_ROUNDS} or more does"
        return [
            size,
            _cost(LATENCY, "latency p50", p50, p50[1] / p50[0], None, "ms") | {"verdict": UNKNOWN, "note": note},
        ]
    middle = float(gap.mean())
    reach = float(student.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))
    ci = [float(np.exp(middle - reach)), float(np.exp(middle + reach))]
    return [size, _cost(LATENCY, "latency p50, round by round", p50, float(np.exp(middle)), ci, "ms")]


def _cost(
    topic: str, figure: str, values: Sequence[float], ratio: float, ci: list[float] | None, unit: str
) -> dict[str, Any]:
    low, high = ci or (ratio, ratio)
    return {
        "topic": topic,
        "figure": figure,
        "before": values[0],
        "after": values[1],
        "difference": ratio,
        "ci": ci,
        "paired": ci is not None,
        "unit": unit,
        "by_before": "",
        "by_after": "",
        "verdict": WORSE if low > 1 else BETTER if high < 1 else NOISE,
    }


def with_costs(change: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A comparison of two audits with what the two files cost.

    Args:
        change: what ``regression.compared`` returns.
        rows: what ``costs`` returns.

    Returns:
        The same with these figures and verdicts.
    """
    verdicts = change["verdicts"] | {row["topic"]: row["verdict"] for row in rows}
    return change | {"figures": [*change["figures"], *rows], "verdicts": verdicts}


def without_audits(against: str, reason: str) -> dict[str, Any]:
    """A comparison where audits are missing.

    Args:
        against: the older version.
        reason: why leakage, robustness and accuracy cannot be compared.

    Returns:
        As ``regression.compared``, without figures.
    """
    return {
        "against": against,
        "figures": [],
        "verdicts": dict.fromkeys((LEAKAGE, ACCURACY, ROBUSTNESS), UNKNOWN),
        "differs": [],
        "not_compared": [f"leakage, robustness and accuracy: {reason}"],
    }


def figure_cells(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """A figure of a comparison as text.

    Args:
        row: of ``figures``.

    Returns:
        What it is, before, after, the difference with its interval, and the verdict.
    """
    show: Any = {"area": area, "rate": percent, "percent": percent, "bytes": file_size, "ms": milliseconds}[row["unit"]]
    cells = [show(row["before"]), show(row["after"])]
    verdict = row["verdict"] + (f" ({row['note']})" if row.get("note") else "")
    if row["unit"] in ("bytes", "ms"):
        bounds = "" if row["ci"] is None else f" [{significant(row['ci'][0])}, {significant(row['ci'][1])}]"
        return row["figure"], *cells, f"x {significant(row['difference'])}{bounds}", verdict
    scale, places = (1, 3) if row["unit"] == "area" else (100, 1)
    gap, low, high = (f"{scale * value:+.{places}f}" for value in (row["difference"], *row["ci"]))
    how = "record by record" if row["paired"] else "unpaired"
    return row["figure"], *cells, f"{gap} [{low}, {high}], {how}", verdict


def headline(name: str, change: Change) -> str:
    """One sentence: what became better, worse, or is within noise.

    Args:
        name: of the newer version.
        change: what ``with_costs`` returns.

    Returns:
        Such as "v2.onnx against v1.onnx: leakage worse; robustness within noise; size better; latency within noise".
    """
    verdicts = change["verdicts"]
    told = "; ".join(f"{topic} {verdicts[topic]}" for topic in TOPICS if topic in verdicts)
    return f"{name} against {change['against']}: {told}"


def notes(change: Change) -> list[str]:
    """In what two audits differ, and what could not be compared.

    Args:
        change: what ``regression.compared`` returns.

    Returns:
        One sentence each.
    """
    differs = [f"the two audits differ: {line}" for line in change["differs"]]
    return [*differs, *(f"not compared: {line}" for line in change["not_compared"])]
