"""Rows of the JSON's ``robustness``."""

from typing import Any

from edgepriv.audit.answers import Bools
from edgepriv.audit.statistics import wilson


def row(name: str, before: Bools, held: Bools) -> dict[str, Any]:
    """One attack: the accuracy that is left after it with its interval, and how many examples stood ``before``."""
    return {
        "name": name,
        "robust_accuracy": float(held.mean()),
        **interval(held),
        "attacked": int(before.sum()),
        "fooled": int((before & ~held).sum()),
    }


def interval(held: Bools) -> dict[str, Any]:
    """Wilson's 95% interval of a share, and of how many."""
    return {"ci": list(wilson(int(held.sum()), len(held))), "n": len(held)}
