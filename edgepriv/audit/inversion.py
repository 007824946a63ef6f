"""A screen for model inversion: an input of each class by gradient ascent, and whether it is nearer to members than to others.

The attack of Fredrikson, Jha & Ristenpart 2015 on the differentiable twin of the file: from grey, and for images with a penalty
on rough pictures. What comes out is what the model takes for typical of a class, seldom a person. It shows a leak where it is
nearer to records that the model was trained on than to as many others of the class. The inputs are not kept: they may show
somebody.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgepriv.audit.statistics import clopper_pearson
from edgepriv.data import Dataset

MOST_CLASSES, MOST_RECORDS, STEPS, RATE, ROUGHNESS = 50, 500, 100, 0.05, 1e-3
"""Classes that are inverted, and records of each side of a class that they are compared with, at most; steps and learning rate
of Adam; weight of the total variation of images."""
FEWEST = 5
"""Records of each side that a class must have."""
REACHED = 0.5
"""Probability of its class from which an input counts as inverted: one that never left grey says nothing of the class."""

Ints = npt.NDArray[np.int64]


def inversion_part(
    twin: nn.Module | None, no_twin: str, dataset: Dataset, members: Ints, non_members: Ints, seed: int
) -> dict[str, Any]:
    """What gradient ascent finds of the classes.

    Args:
        twin: of the file, inputs in [0, 1] -> logits; None without one.
        no_twin: why there is none.
        dataset: the examples.
        members: int64 [m], places of the members.
        non_members: int64 [n], places of others.
        seed: of the draws.

    Returns:
        ``status`` ("executed" or "not run") and ``reason``; where executed ``classes`` (rows of ``class``,
        ``probability`` that the twin gives the class at that input, ``member`` and ``non_member``, root mean squared
        distances to the nearest of either side, ``between``, the same from a non-member to the nearest other one, in the
        median) and ``figures``.
    """
    if twin is None:
        return {
            "status": "not run",
            "reason": f"there is no differentiable twin: {no_twin or 'it could not be made'}",
        }
    draws = np.random.default_rng([seed, 15])
    sides = {c: _sides(dataset.y, c, members, non_members, draws) for c in range(dataset.num_classes)}
    enough = [c for c, pair in sides.items() if min(map(len, pair)) >= FEWEST]
    if not enough:
        return {
            "status": "not run",
            "reason": f"no class has {FEWEST} members and {FEWEST} non-members to compare with",
        }
    chosen = [enough[i] for i in np.unique(np.linspace(0, len(enough) - 1, min(MOST_CLASSES, len(enough))).astype(int))]
    inputs, probabilities = _ascended(twin, dataset.input_shape, chosen)
    rows: list[dict[str, Any]] = []
    for c, x, probability in zip(chosen, inputs, probabilities, strict=True):
        inside, outside = (dataset.inputs(side).reshape(len(side), -1) for side in sides[c])
        nearest = [float(_distances(x.reshape(1, -1), side).min()) for side in (inside, outside)]
        rows.append(
            {
                "class": str(dataset.class_names[c]),
                "probability": float(probability),
                "member": nearest[0],
                "non_member": nearest[1],
                "between": _between(outside),
            }
        )
    reached = [row for row in rows if row["probability"] > REACHED]
    tried = f"{STEPS} steps of gradient ascent for each"
    if not reached:
        reason = f"gradient ascent reached none of {len(rows)} classes, so there is nothing to compare ({tried})"
        return {"status": "not run", "reason": reason}
    return {
        "status": "executed",
        "reason": f"{len(reached)} of {dataset.num_classes} classes reached, {tried}",
        "attacker": "file",
        "classes": rows,
        "figures": _figures(reached),
    }


def _sides(labels: Ints, c: int, members: Ints, non_members: Ints, draws: np.random.Generator) -> tuple[Ints, Ints]:
    """As many members as non-members of a class: the nearer of two sides of one size is a coin toss where nothing leaks."""
    sides = [side[labels[side] == c] for side in (members, non_members)]
    count = min(MOST_RECORDS, *map(len, sides))
    one, other = (np.sort(draws.permutation(side)[:count]) for side in sides)
    return one, other


def _ascended(twin: nn.Module, shape: tuple[int, ...], classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    wanted = torch.tensor(classes)
    x = torch.full((len(classes), *shape), 0.5).requires_grad_(True)
    optimizer = torch.optim.Adam([x], lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        cost = nn.functional.cross_entropy(twin(x), wanted, reduction="sum") + ROUGHNESS * _roughness(x)
        cost.backward()
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    with torch.no_grad():
        probabilities = twin(x).softmax(1)[torch.arange(len(classes)), wanted]
    return x.detach().numpy(), probabilities.numpy()


def _roughness(x: Tensor) -> Tensor:
    """Total variation of images [n, C, H, W]; rows of tables have none."""
    if x.dim() != 4:
        return x.new_zeros(())
    return x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root mean squared differences [n, m] of rows."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squared, 0) / a.shape[1]))


def _between(rows: np.ndarray) -> float:
    apart = _distances(rows, rows)
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(axis=1)))


def _figures(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    decided = [row for row in rows if row["member"] != row["non_member"]]
    hits = sum(row["member"] < row["non_member"] for row in decided)
    share = [] if not decided else [
        {
            "figure": "inverted classes whose nearest record is a member",
            "value": hits / len(decided),
            "ci": [float(bound) for bound in clopper_pearson(hits, len(decided))],
            "guessing": 0.5,
            "unit": "percent",
            "by": f"{len(decided)} classes, gradient ascent on the twin",
        }
    ]  # fmt: skip
    ratios = [row["member"] / row["between"] for row in rows if row["between"] > 0]
    if ratios:
        share.append(
            {
                "figure": "distance of an inverted class to the nearest member, 1 is that of two records",
                "value": float(np.median(ratios)),
                "ci": None,
                "guessing": None,
                "unit": "number",
                "by": f"median of {len(ratios)} classes",
            }
        )
    return share
