"""Is an attack better than guessing, when so many were tried?"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom, mannwhitneyu

from edgepriv.audit.statistics import checked, tpr_at_fpr


def p_value(scores: npt.ArrayLike, member: npt.ArrayLike, fprs: Sequence[float]) -> float:
    """Probability in [0, 1] of so large a difference when members and non-members are drawn alike.

    The smallest over the AUC (Mann & Whitney 1947, two-sided, ties corrected) and the true-positive rate at each of
    ``fprs`` that can be resolved, times their number (Bonferroni): an attack may show in either. With k false positives
    allowed, t true ones mean that at most k of the t + k highest scores are non-members', which has a hypergeometric
    probability; ties make it smaller still. Unlike an interval at the threshold, this counts the chance in the threshold.
    """
    s, m = checked(scores, member)
    found = [float(mannwhitneyu(s[m], s[~m], method="asymptotic").pvalue) if np.ptp(s) > 0 else 1.0]
    members, others = int(m.sum()), int((~m).sum())
    for fpr in fprs:
        rate = tpr_at_fpr(s, m, fpr)["value"]
        if rate is not None:
            allowed, hits = int(others * fpr + 1e-9), round(rate * members)
            found.append(float(hypergeom.cdf(allowed, members + others, others, hits + allowed)))
    return min(1.0, len(found) * min(found))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979): below 0.05, all are better than guessing with 95% confidence, together."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.tolist()
