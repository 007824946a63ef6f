"""Rows of the JSON's ``robustness``."""

from typing import Any

import numpy as np

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


def outcomes_of(right: Bools, held: Bools) -> dict[str, str]:
    """Who was right on clean inputs, and who withstood every attack, so that two versions can be compared example by example.

    Args:
        right: bool [n].
        held: bool [n].

    Returns:
        ``clean`` and ``worst``: eight examples a byte, the first in the highest bit, as hex.
    """
    return {name: np.packbits(side).tobytes().hex() for name, side in (("clean", right), ("worst", held))}


def outcomes_in(told: str, n: int) -> Bools:
    """What ``outcomes_of`` wrote down.

    Args:
        told: one of its values.
        n: number of examples.

    Returns:
        bool [n].
    """
    return np.unpackbits(np.frombuffer(bytes.fromhex(told), dtype=np.uint8), count=n).astype(np.bool_)
