"""Rows of the JSON's ``robustness``."""

from typing import Any

from edgepriv.audit.answers import Bools
from edgepriv.audit.statistics import wilson


def row(name: str, before: Bools, held: Bools) -> dict[str, Any]:
    """The row of one attack in the audit's JSON.

    Args:
        name: of the attack.
        before: bool [n], whom it attacked.
        held: bool [n], who withstood it.

    Returns:
        The row.
    """
    return {
        "name": name,
        "robust_accuracy": float(held.mean()),
        **interval(held),
        "attacked": int(before.sum()),
        "fooled": int((before & ~held).sum()),
    }


def interval(held: Bools) -> dict[str, Any]:
    """Interval of the share that withstood.

    Args:
        held: bool [n].

    Returns:
        ``ci``, Wilson's interval at 95%, and ``n``.
    """
    return {"ci": list(wilson(int(held.sum()), len(held))), "n": len(held)}
