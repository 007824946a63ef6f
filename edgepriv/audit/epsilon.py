"""What the attacks show of epsilon: the one-run bound where chance decided who was a member, and why not elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.one_run import Records, one_run_part
from edgepriv.audit.statistics import ALPHA
from edgepriv.data import Dataset
from edgepriv.data.splits import training_side

DELTA = 1e-5
"""Of the f-DP form where no training claims another."""
PLACES_MATTER = "mislabelled"
"""Canaries that keep the record of the place that they take; all others are made, and placed by chance."""


def why_not_drawn(dataset: Dataset, canaries: bool = False) -> str | None:
    """Why chance did not decide who of the audited records was a member.

    A permutation of one pool, seeded, decides in a data set without parts: a fixed number of members, each set of records as
    likely as any other. Canaries are half in and half out in the same way. Where they are made, and placed by chance, it
    does not matter how members were chosen.

    Args:
        dataset: that members and non-members are of.
        canaries: whether only these are audited.

    Returns:
        The reason; None where chance did decide.
    """
    if canaries and dataset.canaries is not None and dataset.canaries.kind != PLACES_MATTER:
        return None
    if dataset.known_members is not None:
        return "the files say who was a member, and nobody says that chance decided it"
    if training_side(dataset) is not None:
        return (
            f"members are of the training part of {dataset.name} and non-members of another part: chance did not decide"
        )
    if dataset.groups is not None:
        return "whole persons, not single records, were drawn"
    return None


def epsilon_part(
    attacks: Sequence[Mapping[str, Any]],
    scores: Mapping[str, np.ndarray],
    why_not: str | None,
    *,
    delta: float | None,
    seed: int,
) -> dict[str, Any]:
    """``epsilon`` of the audit.

    Args:
        attacks: rows of the audit.
        scores: of the audit, by "threat model/attack".
        why_not: of ``why_not_drawn``.
        delta: that the training claims; None where it claims none.
        seed: of draws.

    Returns:
        ``drawn``, whether chance decided who was a member; then ``not_run``, the reason, or ``one_run_part`` with the pure
        epsilon (delta 0) where the training claims no delta.
    """
    if why_not is not None:
        return {"drawn": False, "not_run": f"a bound from one training needs members drawn by chance: {why_not}"}
    records = records_of(attacks, scores)
    part = one_run_part(records, scores["member"], alpha=ALPHA, delta=DELTA if delta is None else delta, seed=seed)
    if delta is None:
        pure = one_run_part(records, scores["member"], alpha=ALPHA, delta=0.0, seed=seed)
        part["one_run"] = pure["one_run"] | {"delta": 0.0}
    return {"drawn": True} | part


def records_of(attacks: Sequence[Mapping[str, Any]], scores: Mapping[str, np.ndarray]) -> dict[str, Records]:
    """Every attack's scores, with the places of those that it was run on.

    Args:
        attacks: rows of the audit.
        scores: of the audit, by "threat model/attack" and "threat model/attack/index".

    Returns:
        By "threat model/attack".
    """
    everyone = np.arange(len(scores["member"]))
    names = [f"{row['threat_model']}/{row['name']}" for row in attacks]
    return {name: Records(scores[name], scores.get(f"{name}/index", everyone)) for name in names}


def of_canaries(scores: Mapping[str, Floats], member: Bools, why_not: str | None, seed: int) -> dict[str, Any]:
    """``epsilon`` of the file's own canaries.

    Args:
        scores: of each attack, float64 [n].
        member: bool [n].
        why_not: of ``why_not_drawn``.
        seed: of draws.

    Returns:
        As ``epsilon_part``.
    """
    rows = [{"threat_model": "canaries", "name": name} for name in scores]
    named = {f"canaries/{name}": values for name, values in scores.items()} | {"member": member}
    return epsilon_part(rows, named, why_not, delta=None, seed=seed)
