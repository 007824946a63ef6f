"""Who is exposed most: the strongest attack class by class, and the members that it is surest of.

For the owner's eyes: these tables name training examples. They belong into the audit's JSON and nowhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgepriv.audit import statistics
from edgepriv.audit.evidence import Bools, Floats

MOST_EXPOSED = 20
RATE = 0.01


def exposure(
    attacks: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Floats],
    membership: Bools,
    *,
    labels: np.ndarray,
    index: np.ndarray,
    class_names: Sequence[str],
    threat_model: str,
) -> dict[str, Any]:
    """``per_class`` and ``most_exposed`` by the attack of ``threat_model`` with the largest AUC on all candidates.

    ``attacks``: rows of the audit; ``scores``: "threat model/name" -> float64 [n]; ``membership`` bool [n], ``labels``
    [n] and ``index`` [n] of the candidates. Empty if no attack was run on all of them.
    """
    on_all = [
        row
        for row in attacks
        if row["threat_model"] == threat_model and len(scores[f"{threat_model}/{row['name']}"]) == len(membership)
    ]
    if not on_all:
        return {}
    strongest = max(on_all, key=lambda row: row["auc"])["name"]
    chosen = scores[f"{threat_model}/{strongest}"]
    note = (
        f"{strongest} is the strongest of {len(on_all)} attacks by its AUC on these same candidates: "
        "chosen with the result in sight, so its figures lean high."
    )
    about = {"attack": strongest, "threat_model": threat_model}
    return {
        "per_class": {
            **about,
            "note": f"{note} Intervals are for one class at a time: of 20 classes, one is expected to lie outside.",
            "rows": [
                _of_class(name, chosen[labels == label], membership[labels == label])
                for label, name in enumerate(class_names)
                if (labels == label).any()
            ],
        },
        "most_exposed": {
            **about,
            "note": f"{note} fpr is the share of the {(~membership).sum():,} non-members that score as high or higher; "
            f"at least {1 / (~membership).sum():.2g}, the smallest that so many resolve.",
            "rows": _most_exposed(chosen, membership, labels, index),
        },
    }


def _of_class(name: str, scores: Floats, membership: Bools) -> dict[str, Any]:
    members, non_members = int(membership.sum()), int((~membership).sum())
    row: dict[str, Any] = {"class": name, "members": members, "non_members": non_members}
    if not (members and non_members):
        lacks = "members" if non_members else "non-members"
        return row | {"auc": None, "auc_ci": None, f"tpr_at_{RATE}": None, "note": f"has no {lacks}"}
    area, interval = statistics.auc(scores, membership)
    found = statistics.tpr_at_fpr(scores, membership, RATE)
    row |= {"auc": area, "auc_ci": list(interval), f"tpr_at_{RATE}": found["value"]}
    return row | ({"note": found["note"]} if "note" in found else {})


def _most_exposed(scores: Floats, membership: Bools, labels: np.ndarray, index: np.ndarray) -> list[dict[str, Any]]:
    members, strangers = np.flatnonzero(membership), np.sort(scores[~membership])
    top = members[np.argsort(-scores[members], kind="stable")[:MOST_EXPOSED]]
    as_high = len(strangers) - np.searchsorted(strangers, scores[top])
    return [
        {
            "index": int(index[candidate]),
            "label": int(labels[candidate]),
            "score": float(scores[candidate]),
            "fpr": max(int(count), 1) / len(strangers),
            "rank": rank,
        }
        for rank, (candidate, count) in enumerate(zip(top, as_high, strict=True), 1)
    ]
