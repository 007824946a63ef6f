"""A rate of the classifier, with its interval."""

from typing import Any

from edgepriv.audit.answers import Bools
from edgepriv.audit.clustered import Groups, counted
from edgepriv.audit.statistics import wilson


def rate_of(hits: Bools, groups: Groups) -> dict[str, Any]:
    """A rate with its interval.

    Args:
        hits: bool [n].
        groups: int64 [n], whose records they are; None if nobody says.

    Returns:
        ``value`` in [0, 1], ``ci`` (95%, Wilson's of ``clustered`` sizes) and ``n``; None, None and 0 of no records.
    """
    if not len(hits):
        return {"value": None, "ci": None, "n": 0}
    return {"value": float(hits.mean()), "ci": list(wilson(*counted(hits, groups))), "n": len(hits)}


def taken(groups: Groups, side: Bools) -> Groups:
    """The groups of some of the records.

    Args:
        groups: int64 [n]; None without any.
        side: bool [n], which records.

    Returns:
        int64, one for each of them; None without groups.
    """
    return None if groups is None else groups[side]
