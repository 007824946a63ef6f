"""Reference models attacked in turn: by what they give away, an attack's parameters are chosen, never by the audited file."""

from collections.abc import Callable

import numpy as np

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.statistics import auc
from edgepriv.audit.trained_answers import References

MOST_TRIALS, MOST_POOLED = 16, 200_000
"""Reference models attacked to choose the parameters, spread over all of them; fewer where their candidates are more."""
RATES = (0.001, 0.002, 0.005, 0.01)
"""False-positive rates by which they are chosen, as far as the non-members are enough to resolve them. Four, since at the
first of them alone, few references leave the choice to a handful of false alarms."""


def tried_in_turn(references: References) -> list[int]:
    """The reference models to attack.

    Args:
        references: R models' answers to n candidates.

    Returns:
        Places in 0 .. R - 1 of models with members and non-members, spread over all of them.
    """
    member = references.member
    mixed = np.flatnonzero(member.any(axis=1) & ~member.all(axis=1))
    if not len(mixed):
        return []
    most = int(np.clip(MOST_POOLED // member.shape[1], 2, MOST_TRIALS))
    return [int(r) for r in mixed[np.unique(np.linspace(0, len(mixed) - 1, most).astype(int))]]


def measure(member: Bools) -> tuple[str, Callable[[Floats], float]]:
    """What a parameter is to make as large as possible.

    Args:
        member: bool [n], the membership of all pooled scores.

    Returns:
        In words; and a function of scores float64 [n].
    """
    strangers = np.count_nonzero(~member)
    # The added sliver undoes binary rounding: 1000 non-members at 0.001 allow one false alarm.
    rates = {rate: int(strangers * rate + 1e-9) for rate in RATES}
    allowed = np.array([count for count in rates.values() if count])
    if not len(allowed):
        return "the area under the curve", lambda scores: auc(scores, member)[0]
    least = 1 / np.count_nonzero(member)

    def mean_log_rate(scores: Floats) -> float:
        cuts = np.partition(scores[~member], strangers - 1 - allowed)[strangers - 1 - allowed]
        shares = (scores[member][:, None] > cuts).mean(axis=0)
        return float(np.log(np.maximum(shares, least)).mean())

    lowest = min(rate for rate, count in rates.items() if count)
    return f"the members found at {lowest:.1%} to {RATES[-1]:.0%} false alarms", mean_log_rate
