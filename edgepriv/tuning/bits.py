"""Which layer gets how many bits, by what each was measured to lose."""

import heapq
import re
from collections.abc import Mapping
from typing import Any

from edgepriv.recipe import FULL_WIDTH


def allocated(table: Mapping[str, Any], mean_bits: float) -> str:
    """Bits by layer, so many on average, that move the model's answers least.

    Each layer begins at the fewest bits. The step that takes most divergence away for each bit of the file that it adds is
    taken next, until the weights have their average. The divergence of rounding one layer alone stands for its part in that
    of all together (Dong et al. 2020, HAWQ-V2, whose trace it replaces).

    Args:
        table: of ``edgepriv show --sensitivity``: ``widths`` and ``rows``.
        mean_bits: bits of a weight on average; at the fewest or below, all have the fewest.

    Returns:
        Rules as a recipe writes them: "conv1=4,fc*=2".
    """
    widths = sorted(table["widths"])
    rows = {row["name"]: row for row in table["rows"]}
    place = dict.fromkeys(rows, 0)
    spent = sum(row["parameters"] * widths[0] for row in rows.values())
    most = mean_bits * sum(row["parameters"] for row in rows.values())
    steps = [(-gain, name) for name in rows if (gain := _gain(rows[name], widths, 0)) is not None]
    heapq.heapify(steps)
    while steps:
        _, name = heapq.heappop(steps)
        added = rows[name]["parameters"] * (widths[place[name] + 1] - widths[place[name]])
        if spent + added > most + 1e-9:
            continue
        place[name] += 1
        spent += added
        gain = _gain(rows[name], widths, place[name])
        if gain is not None:
            heapq.heappush(steps, (-gain, name))
    if len(set(place.values())) == 1 and not table["skipped"]:
        return f"*={widths[next(iter(place.values()))]}"
    rules = [f"{_pattern(name)}={widths[at]}" for name, at in sorted(place.items())]
    return ",".join([*rules, *(f"{_pattern(name)}={FULL_WIDTH}" for name in table["skipped"])])


def _pattern(layer: str) -> str:
    """What a rule names a layer by: any sign stands where its own means something else in a rule."""
    return re.sub(r"[][*?,=\s]", "?", layer)


def _gain(row: Mapping[str, Any], widths: list[int], at: int) -> float | None:
    """Divergence that the next wider step takes away for each bit it adds; None at the widest."""
    if at + 1 >= len(widths):
        return None
    now, then = widths[at], widths[at + 1]
    better = row["divergence"][str(now)] - row["divergence"][str(then)]
    return float(better / (row["parameters"] * (then - now)))
