"""ROC curves drawn with characters, for a terminal."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

WIDTH, HEIGHT = 61, 16
MARKS = "ox+*"
BOTH = "#"

Curve = Mapping[str, Sequence[float]]


def drawn(curves: Mapping[str, Curve], lowest: float) -> list[str]:
    """ROC curves on logarithmic axes, with the diagonal of guessing dotted.

    Args:
        curves: name -> ``fpr`` and ``tpr`` of a ROC curve, four at most.
        lowest: rate at the left and at the bottom, above 0: below it no non-member is left to count.

    Returns:
        Lines of at most 70 characters, then one for each curve that says how it is drawn.
    """
    decades = -log10(lowest)
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    for column in range(WIDTH):
        grid[_row(column / (WIDTH - 1))][column] = "."
    for mark, curve in zip(MARKS, curves.values(), strict=False):
        for column in range(WIDTH):
            rate = 10 ** (-decades * (1 - column / (WIDTH - 1)))
            height = 1 + log10(max(step_at(curve, rate), lowest)) / decades
            line = grid[_row(height)]
            line[column] = BOTH if line[column] in MARKS else mark
    labels = {_row(1 - decade / decades): f"{100 * 10**-decade:g}%" for decade in range(int(decades) + 1)}
    lines = [f"{labels.get(row, ''):>6} |{''.join(line).rstrip()}" for row, line in enumerate(grid)]
    axis = [" "] * (WIDTH + 6)
    for decade in range(int(decades) + 1):
        text = f"{100 * 10**-decade:g}%"
        place = min(round((WIDTH - 1) * (1 - decade / decades)), WIDTH + 6 - len(text))
        axis[place : place + len(text)] = text
    lines += [f"{'':>6} +{'-' * WIDTH}", f"{'':>8}{''.join(axis).rstrip()}"]
    names = [f"{mark} {name}" for mark, name in zip(MARKS, curves, strict=False)]
    return ["members found (up), by false positives (right)", *lines, *names, f"{BOTH} several, . guessing"]


def step_at(curve: Curve, rate: float) -> float:
    """The true-positive rate at a false-positive rate of at most ``rate``.

    Args:
        curve: ``fpr`` and ``tpr``, rising.
        rate: in [0, 1].

    Returns:
        In [0, 1].
    """
    below = [tpr for fpr, tpr in zip(curve["fpr"], curve["tpr"], strict=True) if fpr <= rate + 1e-12]
    return max(below, default=0.0)


def _row(height: float) -> int:
    return HEIGHT - 1 - floor(min(max(height, 0.0), 1.0) * (HEIGHT - 1) + 0.5)


def lowest_of(rows: Sequence[Mapping[str, Any]]) -> float:
    """Where logarithmic axes begin: at half of the smallest false-positive rate that all can tell from none.

    Args:
        rows: of audits' ``attacks``.

    Returns:
        A rate of 1% at most.
    """
    return float(min(1e-2, max(0.5 / row["n_non_members"] for row in rows)))
