"""Intervals that hold for all attacks together, and so for whichever of them one looks at afterwards.

The strongest of many attacks is chosen because its figure is large, so its own interval lies too high. These hold at 95% for
every attack at once.

AUC: attacks on the same candidates are alike, and Bonferroni's correction would pay for each of them. The multiplier bootstrap
(Chernozhukov, Chetverikov & Kato 2013) pays for as many as differ. The AUC's error is a mean of what each record contributes
(the placements of DeLong's variance). Weighting contributions by standard normal numbers draws errors of all attacks together,
and the 95% quantile of the largest one, in units of its standard error, takes the place of 1.96. Where errors are rare, and for
true-positive rates, it is Clopper-Pearson's interval at 5% divided by the number of attacks (Bonferroni).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from edgepriv.audit import statistics
from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.clustered import Groups, counted, persons_in

DRAWS = 2000
METHOD = "multiplier bootstrap of the largest error among all attacks for AUC, Bonferroni for true-positive rates"


def add_simultaneous(
    rows: Sequence[dict[str, Any]], scores: Mapping[str, np.ndarray], fprs: Sequence[float], seed: int
) -> dict[str, Any]:
    """Give every attack its ``auc_ci_simultaneous``, and every rate its ``ci_simultaneous``.

    Args:
        rows: of the audit's ``attacks``, changed in place.
        scores: of the audit: by "threat model/attack" and "threat model/attack/index"; ``member``, ``group``.
        fprs: false-positive rates of the rows.
        seed: of the bootstrap.

    Returns:
        ``method``, ``attacks`` (how many the intervals hold for) and ``critical``, what stands for 1.96. As JSON.
    """
    member, groups = scores["member"], scores.get("group")
    everyone, alpha = np.arange(len(member)), statistics.ALPHA / max(1, len(rows))
    contributed, judged = [], []
    for row in rows:
        name = f"{row['threat_model']}/{row['name']}"
        place = scores.get(f"{name}/index", everyone)
        own = None if groups is None else groups[place]
        judged.append((scores[name], member[place], own))
        part = np.zeros(len(member))
        part[place] = contributions(scores[name], member[place])
        contributed.append(part)
    if not rows:
        return {"method": METHOD, "attacks": 0, "critical": None}
    errors = of_persons(np.stack(contributed), groups)
    spread = np.sqrt((errors**2).sum(axis=1))
    critical = critical_value(errors, seed)
    for row, (values, truth, own), sd in zip(rows, judged, spread, strict=True):
        row["auc_ci_simultaneous"] = _interval(row["auc"], truth, own, float(sd), critical, alpha)
        for fpr in fprs:
            rate = row["tpr_at_fpr"][str(fpr)]
            cut = statistics.cut_at_fpr(values, truth, fpr)
            if cut is not None:
                hits = counted(values[truth] > cut, None if own is None else own[truth])
                rate["ci_simultaneous"] = list(statistics.clopper_pearson(*hits, alpha))
    return {"method": METHOD, "attacks": len(rows), "critical": critical}


def contributions(scores: Floats, member: Bools) -> Floats:
    """What each record adds to the error of an AUC.

    Args:
        scores: float64 [n], finite.
        member: bool [n].

    Returns:
        float64 [n]: (share of the other side that it beats, less the AUC) / size of its side. Their squares sum to DeLong's
        variance, but for n - 1 in place of n.
    """
    ranks, result = rankdata(scores), np.zeros(len(scores))
    for side, other, sign in ((member, ~member, 1.0), (~member, member, -1.0)):
        share = (ranks[side] - rankdata(scores[side])) / other.sum()
        size = int(side.sum())
        result[side] = sign * (share - share.mean()) / np.sqrt(size * max(1, size - 1))
    return result


def of_persons(contributed: Floats, groups: Groups) -> Floats:
    """Contributions of persons: the sums of their records'.

    Args:
        contributed: float64 [K, n].
        groups: int64 [n], whose records they are; None for a person each.

    Returns:
        float64 [K, persons].
    """
    if groups is None:
        return contributed
    person = np.unique(groups, return_inverse=True)[1].reshape(-1)
    return np.stack([np.bincount(person, weights=row) for row in contributed])


def critical_value(errors: Floats, seed: int) -> float:
    """The 95% quantile of the largest error of all attacks, in units of each one's standard error.

    Args:
        errors: float64 [K, n], contributions.
        seed: of the draws.

    Returns:
        1.96 or more.
    """
    spread = np.sqrt((errors**2).sum(axis=1, keepdims=True))
    known = spread[:, 0] > 1e-9
    if not known.any():
        return float(norm.ppf(1 - statistics.ALPHA / 2))
    units = errors[known] / spread[known]
    rng = np.random.default_rng([seed, 51])
    largest = np.concatenate(
        [np.abs(units @ rng.standard_normal((units.shape[1], DRAWS // 10))).max(axis=0) for _ in range(10)]
    )
    alone = float(norm.ppf(1 - statistics.ALPHA / 2))
    return max(alone, float(np.quantile(largest, 1 - statistics.ALPHA)))


def _interval(area: float, member: Bools, groups: Groups, spread: float, critical: float, alpha: float) -> list[float]:
    pairs = min(persons_in(member, groups), persons_in(~member, groups))
    if spread <= 1e-9 or min(area, 1 - area) * pairs < statistics.RARE:
        return list(statistics.clopper_pearson(area * pairs, pairs, alpha))
    reach = critical * spread / (area * (1 - area))
    return [float(expit(logit(area) - reach)), float(expit(logit(area) + reach))]
