"""Of those whom an attack names, how many are members, if a stated share of all records are.

An audit asks about as many members as it has, often half of the candidates. An attacker who draws records from the world meets
a member more rarely, and most of those named are then false alarms. The precision (positive predictive value) at a prior is
``prior * TPR / (prior * TPR + (1 - prior) * FPR)`` (Jayaraman, Wang, Knipmeyer, Gu & Evans 2021, section 3).

The attack of a headline is chosen among many because it looks best. ``ci_simultaneous`` holds for all attacks at once, as
those of ``audit.selected`` do: intervals of both rates of every attack, at 5% divided by their number, 2 for each attack
(Bonferroni). The precision rises with the TPR and falls with the FPR, so that its bounds follow from theirs (interval
arithmetic). Whenever all rates lie within their intervals, so do all precisions, at every prior.
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
    """Give every attack its ``precision_at_fpr``, with an interval of its own and one that holds for all of them at once.

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
        row["precision_at_fpr"] = {
            str(fpr): precision(scores[name], member[asked], fpr, prior, own, len(rows)) for fpr in fprs
        }


def precision(
    scores: Floats, member: Bools, fpr: float, prior: float, groups: Groups = None, attacks: int = 1
) -> dict[str, Any]:
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
        attacks: 1 or more, among which this one may be chosen for its figure.

    Returns:
        ``value``, ``ci`` and ``ci_simultaneous`` (at 95% for so many attacks at once) in [0, 1], and ``fpr``, the rate of the
        threshold. Where nobody is named, ``value`` is None and ``note`` says why. Where the rate cannot be resolved, the
        intervals are None as well.

    Raises:
        UserError: for scores that are not finite, and where one kind is missing.
    """
    s, m = statistics.checked(scores, member)
    cut = statistics.cut_at_fpr(s, m, fpr)
    if cut is None:
        nothing = {"value": None, "ci": None, "ci_simultaneous": None, "fpr": None}
        return nothing | {"note": statistics.unresolvable(m)}
    named = s > cut
    counts = [counted(named[side], None if groups is None else groups[side]) for side in (m, ~m)]
    tpr, observed = (float(named[side].mean()) for side in (m, ~m))
    intervals = {
        "ci": _interval(counts, prior, statistics.ALPHA),
        "ci_simultaneous": _interval(counts, prior, statistics.ALPHA / attacks),
    }
    if tpr + observed == 0:
        return {"value": None, "fpr": 0.0, "note": UNNAMED} | intervals
    return {"value": at_prior(tpr, observed, prior), "fpr": observed} | intervals


def _interval(counts: Sequence[tuple[float, float]], prior: float, alpha: float) -> list[float]:
    """Of how many are named among how many, members and others: both rates lie within their bounds with 1 - alpha or more."""
    (low_tpr, high_tpr), (low_fpr, high_fpr) = (statistics.clopper_pearson(*count, alpha / 2) for count in counts)
    return [at_prior(low_tpr, high_fpr, prior), at_prior(high_tpr, low_fpr, prior)]


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
