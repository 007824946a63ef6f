"""What changed in the canaries that the strongest attack finds."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from scipy.stats import norm

from edgepriv.audit import statistics
from edgepriv.audit.assess import FALSE_POSITIVE_RATES
from edgepriv.audit.canaries import headline_of
from edgepriv.audit.change.versions import LEAKAGE, Row, figure_of, joined_rows, strength
from edgepriv.audit.differences import Measured


def canaries(before: Row | None, after: Row | None, alpha: float, why_not: list[str]) -> Iterator[dict[str, Any]]:
    """What the strongest attack finds of the canaries, where both versions had the same kind of them.

    Args:
        before: ``canaries`` of the older version's audit; None without any.
        after: the same of the newer one.
        alpha: 1 minus the confidence.
        why_not: what could not be compared is added, with the reason.

    Yields:
        A row of ``figure_of``, or nothing.
    """
    if before is None and after is None:
        return
    if before is None or after is None:
        why_not.append("canaries: only one of the two models was trained with them")
        return
    for key, what in _OF_CANARIES.items():
        if before.get(key) != after.get(key):
            why_not.append(f"canaries: {what} ({before.get(key)} and {after.get(key)})")
            return
    names = [{row["name"] for row in part["attacks"]} for part in (before, after)]
    for fpr in sorted(FALSE_POSITIVE_RATES):
        best = [_most_found(part["attacks"], names[0] & names[1], fpr) for part in (before, after)]
        if best[0] is None or best[1] is None:
            continue
        measured = [_wider(headline_of(row)["tpr_at_fpr"][str(fpr)], alpha) for row in (best[0], best[1])]
        one = joined_rows(measured, [best[0], best[1]])
        yield figure_of(LEAKAGE, f"canaries found at {100 * fpr:g}% false positives", one, False, "rate")
        return
    why_not.append("canaries: no attack on them was run on both that resolves a false-positive rate of 1%")


_OF_CANARIES = {
    "kind": "of another kind",
    "members": "another number of members",
    "non_members": "another number of non-members",
    "threat_model": "found by another attacker",
    "reference_models": "another number of reference models",
}


def _most_found(rows: Sequence[Row], names: Collection[str], fpr: float) -> Row | None:
    known = [row for row in rows if row["name"] in names and strength(headline_of(row), fpr) >= 0]
    return max(known, key=lambda row: strength(headline_of(row), fpr), default=None)


def _wider(rate: Row, alpha: float) -> Measured:
    """A rate with its 95% interval stretched to another confidence, as a normal error would be."""
    by = float(norm.isf(alpha / 2) / norm.isf(statistics.ALPHA / 2))
    value, (low, high) = rate["value"], rate["ci"]
    return Measured(value, (max(0.0, value - by * (value - low)), min(1.0, value + by * (high - value))))
