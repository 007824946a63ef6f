"""Two versions of a model, as their audits tell of them, and the words for what became of a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepriv.audit.differences import Difference, Measured, joined
from edgepriv.audit.knowledge import phrase_of

BETTER, WORSE, NOISE, UNKNOWN = "better", "worse", "within noise", "not compared"
LEAKAGE, ACCURACY, ROBUSTNESS = "leakage", "accuracy", "robustness"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """One version: the name it goes by, its audit, and the scores beside that; None where these are not there."""

    name: str
    audit: Row
    scores: Mapping[str, np.ndarray] | None = None


def same_data(before: Version, after: Version) -> bool:
    """Whether two audits were made on the same data.

    Args:
        before: the older version.
        after: the newer one.

    Returns:
        False also where it is not known.
    """
    one, other = ((version.audit.get("data") or {}).get("sha256") for version in (before, after))
    return one is not None and one == other


def same_records(before: Version, after: Version) -> bool:
    """Whether both were asked about the same members and the same non-members.

    Args:
        before: the older version.
        after: the newer one.

    Returns:
        False also where it is not known.
    """
    splits = [(version.audit.get("data") or {}).get("split") or {} for version in (before, after)]
    digests = [[(split.get("sha256") or {}).get(role) for role in ("members", "non_members")] for split in splits]
    sizes = [[version.audit["utility"][key] for key in ("n_members", "n_non_members")] for version in (before, after)]
    return same_data(before, after) and digests[0] == digests[1] and sizes[0] == sizes[1]


def key_of(row: Row) -> tuple[str, str]:
    """What an attack is known by.

    Args:
        row: of an audit's ``attacks``.

    Returns:
        Its name and its threat model.
    """
    return row["name"], row["threat_model"]


def counts_of(row: Row) -> tuple[int, int]:
    """Members and non-members, or persons where records belong to these.

    Args:
        row: of an audit's ``attacks``.

    Returns:
        How many.
    """
    return (
        row.get("n_member_persons", row["n_members"]),
        row.get("n_non_member_persons", row["n_non_members"]),
    )


def strength(row: Row, fpr: float | None) -> float:
    """AUC, or a true-positive rate.

    Args:
        row: with ``auc`` and ``tpr_at_fpr``.
        fpr: false-positive rate; None for the AUC.

    Returns:
        The figure; -1, below all others, where it is not resolved.
    """
    if fpr is None:
        return float(row["auc"])
    value = (row["tpr_at_fpr"].get(str(fpr)) or {}).get("value")
    return -1.0 if value is None else float(value)


def joined_rows(measured: Sequence[Measured], rows: Sequence[Row]) -> Difference:
    """The difference of two figures as if they were of other records.

    Args:
        measured: before and after.
        rows: the attacks that they are of.

    Returns:
        The difference.
    """
    names = [f"{row['name']} ({phrase_of(row)})" for row in rows]
    return Difference(measured[0].value, measured[1].value, joined(measured[0], measured[1]), names[0], names[1])


def figure_of(
    topic: str, figure: str, one: Difference, paired: bool, unit: str, more_is_worse: bool = True
) -> dict[str, Any]:
    """A row of what changed.

    Args:
        topic: ``LEAKAGE``, ``ACCURACY`` or ``ROBUSTNESS``.
        figure: what is compared, in words.
        one: by how much it differs.
        paired: whether it was compared record by record.
        unit: "area", "rate" or "percent".
        more_is_worse: whether a larger figure is worse.

    Returns:
        As JSON, with ``verdict``.
    """
    low, high = one.ci
    up, down = (WORSE, BETTER) if more_is_worse else (BETTER, WORSE)
    return {
        "topic": topic,
        "figure": figure,
        "before": one.before,
        "after": one.after,
        "difference": one.after - one.before,
        "ci": [float(low), float(high)],
        "paired": paired,
        "unit": unit,
        "by_before": one.by_before,
        "by_after": one.by_after,
        "verdict": up if low > 0 else down if high < 0 else NOISE,
    }


def correlated(one: np.ndarray, other: np.ndarray) -> float:
    """Of two 0-1 outcomes.

    Args:
        one: [n].
        other: [n].

    Returns:
        In [-1, 1]; 0 where one of them never changes.
    """
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
