"""Rows of the JSON's ``robustness``."""

from typing import Any

from edgepriv.audit.answers import Bools
from edgepriv.audit.clustered import Groups, counted
from edgepriv.audit.statistics import wilson


def row(name: str, before: Bools, held: Bools, groups: Groups = None) -> dict[str, Any]:
    """The row of one attack in the audit's JSON.

    Args:
        name: of the attack.
        before: bool [n], whom it attacked.
        held: bool [n], who withstood it.
        groups: int64 [n], whose records they are; None for a person each.

    Returns:
        The row.
    """
    return {
        "name": name,
        "robust_accuracy": float(held.mean()),
        **interval(held, groups),
        "attacked": int(before.sum()),
        "fooled": int((before & ~held).sum()),
    }


def interval(held: Bools, groups: Groups = None) -> dict[str, Any]:
    """Interval of the share that withstood.

    Args:
        held: bool [n].
        groups: int64 [n], whose records they are: several of one person count for fewer than so many strangers'
            (``clustered.counted``); None for a person each.

    Returns:
        ``ci``, Wilson's interval at 95%, and ``n``.
    """
    return {"ci": list(wilson(*counted(held, groups))), "n": len(held)}
