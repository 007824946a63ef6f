"""The audit by person: how well all records of one together tell whether she was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgepriv.audit import statistics
from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.assess import FALSE_POSITIVE_RATES
from edgepriv.audit.clustered import Groups, of_persons

SCORE = "mean of the attack's scores of a person's records"


def persons_part(
    attacks: Sequence[Mapping[str, Any]], scores: Mapping[str, Floats], membership: Bools, groups: Groups
) -> dict[str, Any]:
    """``persons`` of the audit: every attack that was run on all candidates, with one score for each person.

    The score is the mean over the records (``clustered.of_persons``): of a likelihood-ratio attack the mean log-likelihood
    ratio. Intervals are those of as many strangers as there are persons: DeLong's and Clopper-Pearson's.

    Args:
        attacks: rows of the audit.
        scores: "threat model/attack" -> float64 [n], in the direction of its row.
        membership: bool [n] of the candidates.
        groups: int64 [n], whose records they are; None where nobody says.

    Returns:
        ``members`` and ``non_members`` (persons), ``records`` (fewest, median and most of a person), ``score`` and ``rows``:
        ``auc``, ``auc_ci``, ``tpr_at_fpr`` and ``record_auc``, strongest first. Empty without groups.
    """
    if groups is None:
        return {}
    _, person = np.unique(groups, return_inverse=True)
    sizes, member = np.bincount(person), of_persons(membership.astype(float), membership, groups)[1]
    rows = []
    for attack in attacks:
        own = scores[f"{attack['threat_model']}/{attack['name']}"]
        if len(own) < len(membership):
            continue
        each, _ = of_persons(own, membership, groups)
        area, interval = statistics.auc(each, member)
        rows.append(
            {
                **{key: attack[key] for key in ("name", "threat_model", "direction", "p_adjusted")},
                "auc": area,
                "auc_ci": list(interval),
                "tpr_at_fpr": {str(fpr): _rate(each, member, fpr) for fpr in FALSE_POSITIVE_RATES},
                "record_auc": attack["auc"],
            }
        )
    return {
        "members": int(member.sum()),
        "non_members": int((~member).sum()),
        "records": [int(sizes.min()), float(np.median(sizes)), int(sizes.max())],
        "score": SCORE,
        "rows": sorted(rows, key=lambda row: -row["auc"]),
    }


def _rate(scores: Floats, member: Bools, fpr: float) -> dict[str, Any]:
    rate = statistics.tpr_at_fpr(scores, member, fpr)
    return rate | (
        {"note": f"not resolvable with {(~member).sum()} persons who are no members"} if "note" in rate else {}
    )
