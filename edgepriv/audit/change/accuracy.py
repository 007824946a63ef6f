"""What changed in accuracy on records that neither version was trained on."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgepriv.audit.change.versions import ACCURACY, Version, correlated, figure_of
from edgepriv.audit.differences import Difference, Measured, joined


def accuracy(before: Version, after: Version, same: bool, why_not: list[str]) -> Iterator[dict[str, Any]]:
    """What changed in accuracy on non-members, at 95%.

    Args:
        before: the older version.
        after: the newer one.
        same: whether both were asked about the same records.
        why_not: what could not be compared is added, with the reason.

    Yields:
        A row of ``figure_of``, or nothing.
    """
    sides = [version.audit["utility"] for version in (before, after)]
    if any("non_member_accuracy_ci" not in side for side in sides):
        why_not.append("accuracy: an audit of an earlier version has no interval for it")
        return
    measured = [Measured(side["non_member_accuracy"], tuple(side["non_member_accuracy_ci"])) for side in sides]
    right = [_right(version) for version in (before, after)] if same and _same_order(before, after) else [None, None]
    paired = right[0] is not None and right[1] is not None and len(right[0]) == len(right[1])
    correlation = correlated(right[0], right[1]) if right[0] is not None and right[1] is not None and paired else 0.0
    one = Difference(measured[0].value, measured[1].value, joined(measured[0], measured[1], correlation), "", "")
    yield figure_of(ACCURACY, "accuracy on unseen data", one, paired, "percent", more_is_worse=False)


def _same_order(before: Version, after: Version) -> bool:
    """Whether the records behind both files of scores stand at the same places."""
    told = [(version.scores or {}).get("index") for version in (before, after)]
    return told[0] is not None and told[1] is not None and np.array_equal(told[0], told[1])


def _right(version: Version) -> np.ndarray | None:
    """Which non-members the model has right, as the attack by correctness asked; None where it was not run."""
    scores = version.scores or {}
    told = next((scores[name] for name in scores if name.split("/", 1)[-1] == "correctness"), None)
    if told is None or len(told) != len(scores["member"]):
        return None
    right = np.abs(told[~scores["member"]]) > 0.5
    accuracy = version.audit["utility"]["non_member_accuracy"]
    return right if abs(float(right.mean()) - accuracy) < 1e-9 else None
