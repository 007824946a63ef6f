"""A rate of the classifier, with its interval."""

from typing import Any

from edgepriv.audit.answers import Bools
from edgepriv.audit.clustered import Groups, counted
from edgepriv.audit.statistics import wilson


def rate_of(hits: Bools, groups: Groups) -> dict[str, Any]:
    """``value``, ``ci`` (95%, Wilson's of ``clustered`` sizes) and ``n`` of ``hits`` [n]; None and None of no records."""
    if not len(hits):
        return {"value": None, "ci": None, "n": 0}
    return {"value": float(hits.mean()), "ci": list(wilson(*counted(hits, groups))), "n": len(hits)}


def taken(groups: Groups, side: Bools) -> Groups:
    """Groups of the records of ``side``, bool [n]."""
    return None if groups is None else groups[side]
