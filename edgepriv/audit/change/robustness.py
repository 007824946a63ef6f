"""What changed in accuracy under perturbations."""

from collections.abc import Iterator
from typing import Any

from edgepriv.audit.change.versions import ROBUSTNESS, Row, correlated, figure_of
from edgepriv.audit.differences import Difference, Measured, joined
from edgepriv.audit.evasion.rows import outcomes_in


def _perturbed(audit: Row) -> Row | None:
    """``robustness``, and which columns of a table the attacks were free to change."""
    told = audit.get("robustness")
    return told and told | {"perturb": ((audit.get("settings") or {}).get("audit") or {}).get("perturb")}


_OF_PERTURBATIONS = {
    "norm": "norms",
    "eps": "sizes",
    "unit": "units",
    "level": "attacks",
    "steps": "steps",
    "perturb": "columns",
}


def robustness(older: Row, newer: Row, same: bool, why_not: list[str]) -> Iterator[dict[str, Any]]:
    """What changed in accuracy under perturbations, at 95%.

    Args:
        older: the older version's audit.
        newer: the newer one's.
        same: whether both were asked about the same records.
        why_not: what could not be compared is added, with the reason.

    Yields:
        A row of ``figure_of``, or nothing.
    """
    before, after = _perturbed(older), _perturbed(newer)
    if before is None and after is None:
        return
    if before is None or after is None:
        why_not.append("robustness: only one of the two audits perturbed inputs")
        return
    for key, what in _OF_PERTURBATIONS.items():
        if before.get(key) != after.get(key):
            told = [row.get(key) for row in (before, after)]
            why_not.append(f"robustness: perturbations by other {what} ({told[0]} and {told[1]})")
            return
    if before["worst_case_accuracy"] is None or after["worst_case_accuracy"] is None:
        why_not.append("robustness: the worst case was not measured on both, as gradients are of no use")
        return
    measured = [Measured(row["worst_case_accuracy"], tuple(row["ci"])) for row in (before, after)]
    outcomes = [row.get("outcomes") for row in (before, after)]
    paired = bool(same and all(outcomes) and before["examples_sha256"] == after["examples_sha256"])
    correlation = 0.0
    if paired:
        held = [outcomes_in(row["outcomes"]["worst"], row["n"]) for row in (before, after)]
        correlation = correlated(held[0], held[1])
    one = Difference(measured[0].value, measured[1].value, joined(measured[0], measured[1], correlation), "", "")
    yield figure_of(ROBUSTNESS, "accuracy under perturbations", one, paired, "percent", more_is_worse=False)
