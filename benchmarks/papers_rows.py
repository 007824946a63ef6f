"""What an experiment of benchmarks/papers.py is: a recipe, and rows of changes to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgepriv.recipe import FULL_WIDTH

Changes = Mapping[str, Any]
"""Section -> field -> value, as ``Recipe.with_changes`` takes them."""


@dataclass(frozen=True)
class Experiment:
    """``recipe``: file in recipes/papers. ``rows``: name -> changes of that recipe, one model each. ``cpu_minutes``: of one
    cell at our scale, reference models included; for the estimate before any cell is there."""

    recipe: str
    rows: Mapping[str, Changes]
    cpu_minutes: float


UNDEFENDED: Changes = {
    "robust": {"epochs": 0},
    "qat": {"epochs": 0},
    "adversary": {"method": "none"},
    "quantize": {"bits": FULL_WIDTH},
}


def joined(*changes: Changes) -> dict[str, Any]:
    """Changes of several sections as one; where two name a field, the later wins."""
    result: dict[str, Any] = {}
    for change in changes:
        for section, fields in change.items():
            result[section] = {**result.get(section, {}), **fields}
    return result
