"""The members, and the persons, that an attack is surest of: score, false-positive rate at it, and how stable that is.

Persons are named by the places of their records: an audit keeps no names.
"""

from typing import Any, NamedTuple

import numpy as np

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.clustered import Groups, of_persons

MOST_EXPOSED = 20
RECORDS = 10
"""Records of a person that are listed, at most."""


class Again(NamedTuple):
    """``scores``: float64 [draws, n], each with ``models`` reference models of ``of``; None with the reason ``why_not``."""

    scores: Floats | None
    models: int = 0
    of: int = 0
    why_not: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """As JSON, without the scores."""
        if self.scores is None:
            return {"not_run": self.why_not}
        return {"draws": len(self.scores), "reference_models": self.models, "of": self.of}


def exposed_records(
    scores: Floats, membership: Bools, labels: np.ndarray, index: np.ndarray, names: tuple[str, ...], again: Again
) -> list[dict[str, Any]]:
    """The members with the highest scores.

    Args:
        scores: float64 [n], of the candidates.
        membership: bool [n].
        labels: int64 [n].
        index: int64 [n], places in the data set.
        names: of the classes.
        again: the same with half of the reference models.

    Returns:
        Rows of ``index``, ``label``, ``class``, ``score``, ``fpr``, ``rank`` and ``stability``: the lowest and highest ``fpr``
        over the draws, and in how many the member is ``among_first`` as many as there are rows; None without draws.
    """
    return [
        {"index": int(index[place]), "label": int(labels[place]), "class": names[int(labels[place])]} | figures
        for place, figures in _first(scores, membership, again.scores)
    ]


def exposed_persons(
    scores: Floats, membership: Bools, index: np.ndarray, groups: Groups, again: Again
) -> list[dict[str, Any]]:
    """The persons with the highest mean score of all their records.

    Args:
        scores: float64 [n], of the candidates.
        membership: bool [n].
        index: int64 [n], places in the data set.
        groups: int64 [n], whose records they are.
        again: the same with half of the reference models.

    Returns:
        Rows as of ``exposed_records``, with ``records`` (how many) and ``index`` (the first of them) of the person; ``fpr`` is
        the share of other persons. Empty where nobody says whose records they are.
    """
    if groups is None:
        return []
    each, member = of_persons(scores, membership, groups)
    of_draws = None if again.scores is None else np.stack([of_persons(s, membership, groups)[0] for s in again.scores])
    person = np.unique(groups, return_inverse=True)[1]
    rows = []
    for place, figures in _first(each, member, of_draws):
        records = np.sort(index[person == place])
        rows.append({"index": records[:RECORDS].tolist(), "records": len(records)} | figures)
    return rows


def _first(scores: Floats, member: Bools, draws: Floats | None) -> list[tuple[int, dict[str, Any]]]:
    """Places of the members with the highest scores, and what is said of each."""
    members = np.flatnonzero(member)
    top = _highest(scores, members)
    rates = _rates(scores, member, top)
    of_draws = None if draws is None else np.stack([_rates(drawn, member, top) for drawn in draws])
    stays = None if draws is None else np.stack([np.isin(top, _highest(drawn, members)) for drawn in draws]).sum(axis=0)
    rows = []
    for n, place in enumerate(top):
        stability = None
        if of_draws is not None and stays is not None:
            stability = {
                "fpr": [float(of_draws[:, n].min()), float(of_draws[:, n].max())],
                "among_first": int(stays[n]),
            }
        row = {"score": float(scores[place]), "fpr": float(rates[n]), "rank": n + 1, "stability": stability}
        rows.append((int(place), row))
    return rows


def _highest(scores: Floats, members: np.ndarray) -> np.ndarray:
    return members[np.argsort(-scores[members], kind="stable")[:MOST_EXPOSED]]


def _rates(scores: Floats, member: Bools, places: np.ndarray) -> Floats:
    """Share of those who are no members and score as high or higher; at least that of one."""
    strangers = np.sort(scores[~member])
    as_high = len(strangers) - np.searchsorted(strangers, scores[places])
    rates: Floats = np.maximum(as_high, 1) / len(strangers)
    return rates
