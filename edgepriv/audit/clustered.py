"""Figures of records that belong to persons: several records of one are alike, and count for fewer than so many strangers'.

Three ways, each where it fits. Rates keep their records and lose sample size (Rao & Scott 1992). The area under the curve
takes its variance over persons (Obuchowski 1997). Tests of chance and bounds on epsilon are of one score for each person,
the mean over the records: membership is a property of the person, so persons, not records, are what chance may exchange.
"""

import numpy as np

from edgepriv.accuracy import effective
from edgepriv.audit.answers import Bools, Floats

Groups = np.ndarray | None
"""int64 [n], whose record each is; None where each is by itself."""


def of_persons(scores: Floats, member: Bools, groups: Groups) -> tuple[Floats, Bools]:
    """One score for each person, and whether they are members.

    The mean, not the sum: of log-likelihood ratios the sum would be the ratio of all records together if they were
    independent, but it grows with their number, which tells persons with many records apart by that alone.

    Args:
        scores: float [n].
        member: bool [n], the same for all records of a person.
        groups: int64 [n]; None: each record is a person.

    Returns:
        float [P] and bool [P], persons in the order of their numbers.
    """
    if groups is None:
        return scores, member
    _, person = np.unique(groups, return_inverse=True)
    sizes = np.bincount(person)
    means: Floats = np.bincount(person, weights=scores) / sizes
    return means, np.bincount(person, weights=member) > 0


def counted(hits: Bools, groups: Groups) -> tuple[float, float]:
    """What an interval of a rate may count; see ``edgepriv.accuracy.effective``.

    Args:
        hits: bool [n].
        groups: int64 [n], whose records they are; None for a person each.

    Returns:
        Successes and trials.
    """
    return (float(hits.sum()), float(len(hits))) if groups is None else effective(hits, groups)


def variance_of_mean(values: Floats, groups: Groups) -> float:
    """Variance of a mean over the draw of persons.

    P / (P - 1) sum over persons of (sum of (v - mean))^2 / n^2: for the placements of the records of one side, one of the two
    terms of Obuchowski's variance of the area (1997, Biometrics 53, section 3), which has no third where nobody is on both
    sides. Without groups, DeLong's.

    Args:
        values: float64 [n].
        groups: int64 [n], whose records they are; None for a person each.

    Returns:
        The variance; 0 of fewer than two persons.
    """
    gaps = values - values.mean()
    if groups is not None:
        gaps = np.bincount(np.unique(groups, return_inverse=True)[1], weights=gaps)
    persons = len(gaps)
    return float(persons / (persons - 1) * (gaps**2).sum()) / len(values) ** 2 if persons > 1 else 0.0


def persons_in(side: Bools, groups: Groups) -> int:
    """How many persons some of the records are of.

    Args:
        side: bool [n], which records.
        groups: int64 [n]; None for a person each.

    Returns:
        The number of persons.
    """
    return int(side.sum()) if groups is None else len(np.unique(groups[side]))
