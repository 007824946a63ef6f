"""The classifier's figures by subgroup, and which subgroups a hardened file serves worse than its float twin did."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binom, norm

from edgepriv.audit.answers import Bools, Floats, Outputs
from edgepriv.audit.clustered import Groups, variance_of_mean
from edgepriv.audit.rates import rate_of, taken
from edgepriv.audit.significance import SIGNIFICANT, holm
from edgepriv.data.dataset import Subgroups


def subgroups_part(outputs: Outputs, positive: Bools | None, groups: Groups, subgroups: Subgroups) -> dict[str, Any]:
    """``subgroups`` of the classifier's figures.

    Args:
        outputs: answers to n held-out records.
        positive: bool [n], whose answer is the second of two classes, at the threshold where one was chosen; None of more
            classes.
        groups: int64 [n], whose records they are.
        subgroups: of the same n records.

    Returns:
        ``column``, and ``rows`` of the subgroups that occur: ``subgroup``, ``n``, ``accuracy``, and of two classes
        ``sensitivity`` and ``specificity``, each with its interval (Wilson's, of ``clustered`` sizes).
    """
    right, ill = outputs.predicted == outputs.labels, outputs.labels == 1
    rows = []
    for place, name in enumerate(subgroups.names):
        inside = subgroups.of == place
        if not inside.any():
            continue
        row = {"subgroup": name, "n": int(inside.sum()), "accuracy": rate_of(right[inside], taken(groups, inside))}
        if positive is not None:
            for figure, side, hits in (("sensitivity", ill, positive), ("specificity", ~ill, ~positive)):
                both = inside & side
                row[figure] = rate_of(hits[both], taken(groups, both))
        rows.append(row)
    return {"column": subgroups.title, "rows": rows}


def changes_of(before: Bools, after: Bools, groups: Groups, subgroups: Subgroups) -> dict[str, dict[str, Any]]:
    """How accuracy changed in each subgroup, on the same records.

    The interval is Wald's for matched proportions (Agresti & Min 2005, Statistics in Medicine 24, 729), its variance that of
    the mean difference, over persons where they are known. The p-value is McNemar's exact one (1947), one-sided: of the records
    that one of the two files alone has right, are too many lost? Where persons are known, it is of persons who lose
    more records than they win. It is adjusted for the number of subgroups (Holm 1979).

    Args:
        before: bool [n], what the float twin has right.
        after: bool [n], what the shipped file has right.
        groups: int64 [n], whose records they are.
        subgroups: of the same n records.

    Returns:
        By name: ``value`` (after less before), ``ci``, ``p``, ``p_adjusted``, ``before``, and ``falls``: whether the interval
        lies below 0 and the adjusted p-value below 0.05.
    """
    changes: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(subgroups.names):
        inside = subgroups.of == place
        if not inside.any():
            continue
        own = taken(groups, inside)
        gain = after[inside].astype(float) - before[inside]
        reach = float(norm.ppf(0.975) * np.sqrt(variance_of_mean(gain, own)))
        value = float(gain.mean())
        changes[name] = {
            "value": value,
            "ci": [max(-1.0, value - reach), min(1.0, value + reach)],
            "p": _fall(gain, own),
            "before": float(before[inside].mean()),
        }
    for row, adjusted in zip(changes.values(), holm([row["p"] for row in changes.values()]), strict=True):
        row["p_adjusted"] = adjusted
        row["falls"] = bool(row["ci"][1] < 0 and adjusted < SIGNIFICANT)
    return changes


def compare(figures: dict[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Put the changes into the rows of ``subgroups`` of the classifier's figures, and name those that fall.

    Args:
        figures: of the shipped file, changed in place.
        changes: by name of the subgroup, see ``changes_of``.

    Returns:
        A warning for each subgroup that falls.
    """
    warnings = []
    part: Mapping[str, Any] = figures["subgroups"]
    rows: Sequence[dict[str, Any]] = part["rows"]
    for row in rows:
        change = row["change"] = dict(changes[row["subgroup"]])
        if change["falls"]:
            low, high = (100 * end for end in change["ci"])
            warnings.append(
                f"{row['subgroup']!r} of {part['column']}: accuracy falls from {change['before']:.1%} to "
                f"{row['accuracy']['value']:.1%} on {row['n']:,} held-out records after hardening "
                f"({100 * change['value']:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}; "
                f"p = {change['p_adjusted']:.2g}, adjusted for {len(rows)} subgroups)"
            )
    return warnings


def _fall(gain: Floats, groups: Groups) -> float:
    """P-value of a fall by the sign test."""
    each = gain if groups is None else np.bincount(np.unique(groups, return_inverse=True)[1], weights=gain)
    lost, won = int((each < 0).sum()), int((each > 0).sum())
    return float(binom.sf(lost - 1, lost + won, 0.5))
