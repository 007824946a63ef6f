"""A screen for attribute inference on tables: a column that the attacker does not know is guessed from the answers.

The attacker knows the rest of the row and its true class, tries every value of the column and asks. Two rules guess from the
answers: ``marginal`` weighs how well each value explains the true class by how common the value is (Fredrikson et al. 2014),
``csmia`` goes by the label and its confidence alone (Mehnaz et al. 2022). A column that is guessed well of everybody is a
correlation that the model has learnt; what leaks of the training data is what is guessed better of members than of others
(Yeom et al. 2018).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepriv.audit.answers import Bools
from edgepriv.audit.clustered import Groups, counted
from edgepriv.audit.statistics import clopper_pearson
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError, nearest

MOST_VALUES = 20
"""Different values of a column up to which each is tried."""
_EXPLAINED = {
    "marginal": "by how well a value explains the class, and how common it is",
    "csmia": "by label and confidence",
}

Ints = npt.NDArray[np.int64]
Predict = Callable[[np.ndarray], np.ndarray]


def inputs_of_column(dataset: Dataset, name: str) -> Ints:
    """The inputs that stand for a column of a table.

    Args:
        dataset: the examples.
        name: the column's title; of arrays without titles its place, counted from 0.

    Returns:
        int64 [k], positions among the inputs.

    Raises:
        UserError: where the examples are no table, or no such column is an input of the model.
    """
    if len(dataset.input_shape) != 1:
        raise UserError("--sensitive names a column of a table, and these examples are none: leave it out")
    if dataset.encoding is not None:
        places = [i for i, (column, _) in enumerate(dataset.encoding.features) if column["name"] == name]
        if not places:
            titles = dataset.encoding.titles
            raise UserError(f"--sensitive {name!r}: the model reads no such column{nearest(name, titles)}")
        return np.array(places, np.int64)
    width = dataset.input_shape[0]
    if not name.isdecimal() or int(name) >= width:
        raise UserError(
            f"--sensitive {name!r}: the columns of these arrays have no titles: give the place of one, 0 to {width - 1}"
        )
    return np.array([int(name)], np.int64)


# The audit's parts, each of which says something else of whom is asked about.
def attribute_part(
    predict: Predict,
    dataset: Dataset,
    split: Split,
    asked: Ints,
    member: Bools,
    name: str | None,
) -> dict[str, Any]:
    """How often a column is guessed right, of members and of others.

    Args:
        predict: float32 [n, F] -> probabilities [n, K] of the file.
        dataset: the examples.
        split: whose ``reference``, or else whose non-members, tell the attacker how common each value is.
        asked: int64 [n], places of the candidates.
        member: bool [n], who of them is a member.
        name: of the column; None where none was named.

    Returns:
        ``status`` ("executed", "not run" or "not applicable") and ``reason``; where executed ``column``, ``values``,
        ``n_members``, ``n_non_members``, ``rules`` (by name: ``members``, ``non_members`` and ``difference``, each ``value``
        and 95% ``ci``), ``prior`` (the most common value guessed of everybody: the same three) and ``figures`` for the risk
        statement.

    Raises:
        UserError: see ``inputs_of_column``.
    """
    if name is None:
        return _without_column(dataset)
    columns = inputs_of_column(dataset, name)
    known = split.reference if len(split.reference) else split.non_members
    values, common = np.unique(dataset.inputs(known)[:, columns], axis=0, return_counts=True)
    if not 2 <= len(values) <= MOST_VALUES:
        return {
            "status": "not applicable" if len(values) < 2 else "not run",
            "reason": f"column {name} has {len(values):,} different values, and each is tried: 2 to {MOST_VALUES} can be",
        }
    rows = dataset.inputs(asked)
    truth = _places(rows[:, columns], values)
    probabilities = np.stack([predict(_with(rows, columns, value)) for value in values], axis=1)
    share = common / common.sum()
    guesses = {
        "marginal": _marginal(probabilities, dataset.y[asked], share),
        "csmia": _csmia(probabilities, dataset.y[asked], share),
    }
    groups = None if dataset.groups is None else dataset.groups[asked]
    prior = _sides(np.full(len(asked), share.argmax()) == truth, member, groups)
    rules = {rule: _sides(guess == truth, member, groups) for rule, guess in guesses.items()}
    return {
        "status": "executed",
        "reason": f"column {name}, {len(values)} values, on {member.sum():,} members and {(~member).sum():,} non-members",
        "attacker": "answers",
        "column": name,
        "values": len(values),
        "n_members": int(member.sum()),
        "n_non_members": int((~member).sum()),
        "rules": rules,
        "prior": prior,
        "figures": [figure for rule, sides in rules.items() for figure in _figures(name, rule, sides, prior)],
    }


def _without_column(dataset: Dataset) -> dict[str, Any]:
    if len(dataset.input_shape) != 1:
        return {
            "status": "not applicable",
            "reason": "the records are no rows of a table, which have no column to guess",
        }
    return {"status": "not run", "reason": "no column was named as sensitive (--sensitive COLUMN)"}


def _with(rows: np.ndarray, columns: Ints, value: np.ndarray) -> np.ndarray:
    changed = rows.copy()
    changed[:, columns] = value
    return changed


def _places(cells: np.ndarray, values: np.ndarray) -> Ints:
    """Which of the values each row has; -1 for one that the attacker has never seen, and so cannot guess."""
    same = (cells[:, None, :] == values[None]).all(axis=2)
    return np.where(same.any(axis=1), same.argmax(axis=1), -1).astype(np.int64)


def _marginal(probabilities: np.ndarray, labels: Ints, share: np.ndarray) -> Ints:
    """``probabilities`` [n, values, K]."""
    return _best(probabilities[np.arange(len(labels)), :, labels] * share, share)


def _csmia(probabilities: np.ndarray, labels: Ints, share: np.ndarray) -> Ints:
    """The value whose answer is right, and surest of several such; where none is right, the one that is least sure."""
    sure, right = probabilities.max(axis=2), probabilities.argmax(axis=2) == labels[:, None]
    surest, least = _best(np.where(right, sure, -1.0), share), _best(-sure, share)
    return np.asarray(np.where(right.any(axis=1), surest, least))


def _best(worth: np.ndarray, share: np.ndarray) -> Ints:
    """The value of the highest worth [n, values]; of several such, as hard answers leave them, the most common."""
    return np.asarray(np.where(worth == worth.max(axis=1, keepdims=True), share, -1.0).argmax(axis=1))


def _sides(hits: Bools, member: Bools, groups: Groups) -> dict[str, dict[str, Any]]:
    """Shares guessed right, and their difference with Newcombe's interval (1998, method 10), which joins those of the two."""
    sides: dict[str, dict[str, Any]] = {}
    for side, mask in (("members", member), ("non_members", ~member)):
        own = None if groups is None else groups[mask]
        bounds = clopper_pearson(*counted(hits[mask], own))
        sides[side] = {"value": float(hits[mask].mean()), "ci": [float(bound) for bound in bounds]}
    one, other = sides["members"], sides["non_members"]
    value = one["value"] - other["value"]
    low = value - float(np.hypot(one["value"] - one["ci"][0], other["ci"][1] - other["value"]))
    high = value + float(np.hypot(one["ci"][1] - one["value"], other["value"] - other["ci"][0]))
    return {**sides, "difference": {"value": value, "ci": [low, high]}}


def _figures(name: str, rule: str, sides: Mapping[str, Any], prior: Mapping[str, Any]) -> list[dict[str, Any]]:
    by = f"{rule}, {_EXPLAINED[rule]}"
    return [
        {
            "figure": f"{name} of a member guessed right",
            **sides["members"],
            "guessing": prior["members"]["value"],
            "unit": "percent",
            "by": by,
        },
        {
            "figure": f"{name}: members less non-members",
            **sides["difference"],
            "guessing": 0.0,
            "unit": "points",
            "by": f"{rule}; what is above 0 leaks of the training data",
        },
    ]
