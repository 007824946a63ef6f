"""Of those whom an attack names, how many are members, if a stated share of all records are.

An audit asks about as many members as it has, often half of the candidates. An attacker who draws records from the world meets
a member more rarely, and most of those named are then false alarms. The precision (positive predictive value) at a prior is
``prior * TPR / (prior * TPR + (1 - prior) * FPR)`` (Jayaraman, Wang, Knipmeyer, Gu & Evans 2021, section 3).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgepriv.audit import statistics
from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.clustered import Groups, counted

UNNAMED = "nobody is named at this rate"


def add_precision(
    rows: Sequence[dict[str, Any]],
    scores: Mapping[str, np.ndarray],
    prior: float,
    fprs: Sequence[float],
) -> None:
    """Give every attack its ``precision_at_fpr``.

    Args:
        rows: of the audit's ``attacks``, changed in place.
        scores: of the audit: by "threat model/attack" and "threat model/attack/index"; ``member``, ``group``.
        prior: share of members among the records that the attacker may meet, in (0, 1).
        fprs: false-positive rates at which it is told.
    """
    member, groups = scores["member"], scores.get("group")
    for row in rows:
        name = f"{row['threat_model']}/{row['name']}"
        asked = scores.get(f"{name}/index", np.arange(len(member)))
        own = None if groups is None else groups[asked]
        row["precision_at_fpr"] = {str(fpr): precision(scores[name], member[asked], fpr, prior, own) for fpr in fprs}


def precision(scores: Floats, member: Bools, fpr: float, prior: float, groups: Groups = None) -> dict[str, Any]:
    """Precision at the threshold of ``statistics.tpr_at_fpr``.

    The false-positive rate is the one that this threshold has: with tied scores, or few non-members, it is below ``fpr``. The
    interval joins the Clopper-Pearson intervals of the two rates, each at 97.5%, as the precision rises with the one and
    falls with the other: it holds at 95% or more, whatever the two have to do with each other.

    Args:
        scores: float [n], finite; higher for members.
        member: bool [n].
        fpr: false-positive rate in (0, 1), at most.
        prior: share of members, in (0, 1).
        groups: int [n], whose records they are.

    Returns:
        ``value`` and ``ci`` in [0, 1], and ``fpr``, the rate of the threshold. Where it cannot be resolved, or nobody is named,
        ``value`` is None and ``note`` says why.

    Raises:
        UserError: for scores that are not finite, and where one kind is missing.
    """
    s, m = statistics.checked(scores, member)
    cut = statistics.cut_at_fpr(s, m, fpr)
    if cut is None:
        return {"value": None, "ci": None, "fpr": None, "note": statistics.unresolvable(m)}
    named = s > cut
    rates, bounds = [], []
    for side in (m, ~m):
        rates.append(float(named[side].mean()))
        own = None if groups is None else groups[side]
        bounds.append(statistics.clopper_pearson(*counted(named[side], own), statistics.ALPHA / 2))
    (tpr, observed), ((low_tpr, high_tpr), (low_fpr, high_fpr)) = rates, bounds
    interval = [at_prior(low_tpr, high_fpr, prior), at_prior(high_tpr, low_fpr, prior)]
    if tpr + observed == 0:
        return {"value": None, "ci": interval, "fpr": 0.0, "note": UNNAMED}
    return {"value": at_prior(tpr, observed, prior), "ci": interval, "fpr": observed}


def at_prior(tpr: float, fpr: float, prior: float) -> float:
    """Share of members among those named.

    Args:
        tpr: true-positive rate, in [0, 1].
        fpr: false-positive rate, in [0, 1].
        prior: share of members among all, in (0, 1).

    Returns:
        The precision in [0, 1]; 0 where nobody is named.
    """
    named = prior * tpr + (1 - prior) * fpr
    return prior * tpr / named if named > 0 else 0.0
