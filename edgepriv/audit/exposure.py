"""Who is exposed most: the strongest attack class by class, and the members that it is surest of.

Only an attack that is beyond guessing singles anybody out: the members that a guess is surest of are nobody in particular.
For the owner's eyes: these tables name training examples. They belong into the audit's JSON and nowhere else.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgepriv.audit import statistics
from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.clustered import Groups, of_persons
from edgepriv.audit.most_exposed import Again, exposed_persons, exposed_records
from edgepriv.audit.significance import SIGNIFICANT, higher, holm

RATE = 0.01


# What was found, whom it is about, and how the attack is run again: one argument each.
def exposure(
    attacks: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Floats],
    membership: Bools,
    *,
    labels: np.ndarray,
    index: np.ndarray,
    class_names: Sequence[str],
    threat_model: str,
    groups: Groups = None,
    again: Callable[[Mapping[str, Any]], Again] | None = None,
) -> dict[str, Any]:
    """Leakage by class, and the most exposed members, by the strongest attack of one attacker.

    The attack is the one with the largest AUC among those of ``threat_model`` that were run on all candidates and are beyond
    guessing (``p_adjusted``).

    Args:
        attacks: rows of the audit.
        scores: "threat model/attack" -> float64 [n].
        membership: bool [n] of the candidates.
        labels: int64 [n], the true classes.
        index: int64 [n], positions in the data set.
        class_names: by class.
        threat_model: the attacker.
        groups: int64 [n], whose records they are.
        again: row of an attack -> its scores with half of the reference models; None for those that are not known.

    Returns:
        ``per_class`` and ``most_exposed`` as JSON; the latter has ``stability``, how often the attack was run again, and
        ``persons`` where the data say whose records they are. Empty if no attack was run on all candidates; without rows, and
        with the reason in ``note``, if none of those is beyond guessing.
    """
    on_all = [
        row
        for row in attacks
        if row["threat_model"] == threat_model and len(scores[f"{threat_model}/{row['name']}"]) == len(membership)
    ]
    if not on_all:
        return {}
    beyond = [row for row in on_all if row["p_adjusted"] < SIGNIFICANT]
    if not beyond:
        nobody: dict[str, Any] = {
            "attack": None,
            "threat_model": threat_model,
            "note": f"None of the {len(on_all)} attacks on all candidates is beyond guessing, corrected for the {len(attacks)} "
            "that were tried (Holm): no class and no record is singled out.",
            "rows": [],
        }
        return {"per_class": nobody, "most_exposed": nobody}
    best = max(beyond, key=lambda row: row["auc"])
    strongest, direction = best["name"], best["direction"]
    chosen = scores[f"{threat_model}/{strongest}"]
    note = (
        f"{strongest} has the largest AUC of the {len(beyond)} attacks on all candidates, out of {len(on_all)}, that are "
        f"beyond guessing, corrected for the {len(attacks)} that were tried (Holm): chosen on the same results, so its "
        "figures are biased upwards."
    )
    half_again = again(best) if again is not None else Again(None, why_not="nothing was trained")
    sides = f"{(~membership).sum():,} non-members"
    persons = exposed_persons(chosen, membership, index, groups, half_again)
    about = {"attack": strongest, "threat_model": threat_model, "direction": direction}
    return {
        "per_class": {
            **about,
            "note": f"{note} Intervals are for one class at a time: of 20 classes, one is expected to lie outside. A class is "
            "called like guessing unless it is beyond chance at 5%, corrected for the number of classes and of attacks.",
            "rows": _by_class(chosen, membership, labels, class_names, 2 * len(on_all), groups),
        },
        "most_exposed": {
            **about,
            "note": f"{note} fpr is the share of the {sides} that score as high or higher; "
            f"at least {1 / (~membership).sum():.2g}, the smallest that so many resolve.",
            "stability": half_again.told,
            "rows": exposed_records(chosen, membership, labels, index, tuple(class_names), half_again),
            **({"persons": persons} if persons else {}),
        },
    }


def _by_class(
    scores: Floats,
    membership: Bools,
    labels: np.ndarray,
    class_names: Sequence[str],
    tried: int,
    groups: Groups = None,
) -> list[dict[str, Any]]:
    """A row for each class that occurs; ``p_adjusted`` for so many classes, and ``tried`` attacks and directions."""
    rows = [
        _of_class(
            name,
            scores[labels == label],
            membership[labels == label],
            None if groups is None else groups[labels == label],
        )
        for label, name in enumerate(class_names)
        if (labels == label).any()
    ]
    tested = [row for row in rows if row["p_adjusted"] is not None]
    for row, adjusted in zip(tested, holm([row["p_adjusted"] for row in tested]), strict=True):
        row["p_adjusted"] = min(1.0, tried * adjusted)
    return rows


def _of_class(name: str, scores: Floats, membership: Bools, groups: Groups) -> dict[str, Any]:
    members, non_members = int(membership.sum()), int((~membership).sum())
    row: dict[str, Any] = {"class": name, "members": members, "non_members": non_members}
    if not (members and non_members):
        lacks = "members" if non_members else "non-members"
        return row | {
            "auc": None,
            "auc_ci": None,
            f"tpr_at_{RATE}": None,
            "p_adjusted": None,
            "note": f"has no {lacks}",
        }
    area, interval = statistics.auc(scores, membership, groups)
    rate = statistics.tpr_at_fpr(scores, membership, RATE, groups)
    chance = higher(*of_persons(scores, membership, groups), (RATE,))
    row |= {"auc": area, "auc_ci": list(interval), f"tpr_at_{RATE}": rate["value"], "p_adjusted": chance}
    return row | ({"note": rate["note"]} if "note" in rate else {})
