"""How much of an attack's AUC a classifier on inputs and labels alone explains, and what is left of it.

Members and non-members that differ in themselves are told apart by any function of the inputs. Among records with an equal
propensity, the chance that a record with such an input and label is a member, inputs are distributed alike on both sides
(Rosenbaum & Rubin 1983, Biometrika 70, theorem 1), so that whatever an attack still finds there, the model has learnt. The
propensity is estimated by classifiers that have not seen the record (``edgepriv.audit.shift``), so records are sorted into
strata of like propensity, and members are compared with the non-members of their own stratum only. What such a classifier
cannot see, it cannot explain, and its own errors leave a part of the difference within the strata: what is left is more than
the leak, never less.

The AUC within strata is their mean, weighted by m n / (m + n) (van Elteren 1960). Intervals are from what each record adds to
its error, as in ``edgepriv.audit.selected``: the two AUCs are of the same records, and their difference is as precise as that
makes it. They hold for all attacks at once (Bonferroni), since one looks at the strongest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.selected import contributions, of_persons
from edgepriv.audit.shift import Propensity
from edgepriv.audit.statistics import ALPHA

STRATA, OF_A_SIDE = 20, 20
"""At most so many strata, and on average at least so many records of the smaller side in each."""
FEWEST = 2
"""Members, and non-members, of a stratum that is compared."""
OVERLAP = 0.1
"""Share of records that must have their like on the other side: below, what is left is of too few to speak for the rest."""


def add_beyond_shift(
    rows: Sequence[dict[str, Any]], scores: Mapping[str, np.ndarray], propensity: Propensity
) -> dict[str, Any]:
    """Give every attack its ``beyond_shift``.

    Args:
        rows: of the audit's ``attacks``, changed in place: ``auc`` and ``auc_ci`` among records of like propensity, and
            ``explained`` and ``explained_ci``, how much of the AUC is gone then, all on the records that have a propensity;
            None where too few records have their like on the other side.
        scores: of the audit: by "threat model/attack" and "threat model/attack/index"; ``member``, ``group``.
        propensity: of the records that were judged.

    Returns:
        ``overlap``, the share of members and non-members that are distributed alike over the strata, 0 to 1; ``strata``.
    """
    member, groups = scores["member"], scores.get("group")
    known = np.full(len(member), np.nan)
    known[propensity.place] = propensity.scores
    strata = strata_of(propensity.scores, member[propensity.place])
    shared = overlap(strata, member[propensity.place])
    reach = float(norm.ppf(1 - ALPHA / max(1, len(rows)) / 2))
    for row in rows:
        name = f"{row['threat_model']}/{row['name']}"
        place = scores.get(f"{name}/index", np.arange(len(member)))
        judged = ~np.isnan(known[place])
        row["beyond_shift"] = None
        if shared >= OVERLAP:
            own = None if groups is None else groups[place][judged]
            row["beyond_shift"] = beyond(scores[name][judged], member[place][judged], known[place][judged], own, reach)
    return {"overlap": shared, "strata": int(strata.max()) + 1}


def beyond(
    scores: Floats, member: Bools, propensity: Floats, groups: np.ndarray | None = None, reach: float = 1.96
) -> dict[str, Any] | None:
    """AUC of an attack among records of like propensity, and how much of its AUC that takes away.

    Args:
        scores: float64 [n], finite; higher for members.
        member: bool [n].
        propensity: float64 [n], higher for records that look like members.
        groups: int64 [n], whose records they are; None for a person each.
        reach: half the width of an interval in standard errors.

    Returns:
        ``auc``, ``auc_ci``, ``explained``, ``explained_ci``; None where no stratum has two of each side.
    """
    if min(member.sum(), (~member).sum()) < FEWEST:
        return None
    strata = strata_of(propensity, member)
    whole = _area(scores, member)
    weights, areas, within = [], [], np.zeros(len(scores))
    for stratum in range(strata.max() + 1):
        inside = np.flatnonzero(strata == stratum)
        sides = member[inside].sum(), (~member[inside]).sum()
        if min(sides) < FEWEST:
            continue
        weights.append(sides[0] * sides[1] / len(inside))
        areas.append(_area(scores[inside], member[inside]))
        within[inside] = weights[-1] * contributions(scores[inside], member[inside])
    if not weights:
        return None
    left = float(np.average(areas, weights=weights))
    within /= sum(weights)
    errors = of_persons(np.stack([within, contributions(scores, member) - within]), groups)
    spread = reach * np.sqrt((errors**2).sum(axis=1))
    return {
        "auc": left,
        "auc_ci": [max(0.0, left - spread[0]), min(1.0, left + spread[0])],
        "explained": whole - left,
        "explained_ci": [whole - left - spread[1], whole - left + spread[1]],
    }


def strata_of(propensity: Floats, member: Bools) -> np.ndarray:
    """int64 [n], the stratum of each record: quantiles of the propensity, equal ones together.

    Args:
        propensity: float64 [n].
        member: bool [n].

    Returns:
        Numbers from 0, ascending in the propensity.
    """
    smaller = min(int(member.sum()), int((~member).sum()))
    count = int(np.clip(smaller // OF_A_SIDE, 1, STRATA))
    wanted = np.minimum((rankdata(propensity, method="average") - 0.5) / len(propensity) * count, count - 1).astype(int)
    return np.unique(wanted, return_inverse=True)[1].reshape(-1)


def overlap(strata: np.ndarray, member: Bools) -> float:
    """How much of the two sides is distributed alike over strata.

    Args:
        strata: int64 [n].
        member: bool [n].

    Returns:
        1 less the total variation between the two distributions.
    """
    inside, outside = (np.bincount(strata[side], minlength=strata.max() + 1) / side.sum() for side in (member, ~member))
    return float(np.minimum(inside, outside).sum())


def _area(scores: Floats, member: Bools) -> float:
    ranks, inside = rankdata(scores), int(member.sum())
    return float((ranks[member].sum() - inside * (inside + 1) / 2) / (inside * (len(scores) - inside)))
