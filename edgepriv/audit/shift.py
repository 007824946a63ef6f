"""Do members and non-members differ before any model has seen them?

An attack tells members from non-members by the model's answers. If the two come from different sources (another camera,
another month, another mix of classes), the answers differ whether the model has learnt anything or not, and an untrained
network seems to leak. So a classifier that sees the inputs and the labels, and never the model, is asked the same question:
what it can tell is shift (``edgepriv.audit.beyond_shift`` takes it out of the attacks' figures).

Two classifiers, since a difference may lie in either: on features of the inputs, a logistic regression and boosted trees
together; on the labels, how much more frequent each is among members. Each is learnt on one half of the examples and judged
on the other, and the other way round, so that its AUC is of examples that it has not seen, and its p-value holds whatever it
has learnt. Examples that are equal, and records of one person, stand in the same half; p-values and intervals are of persons.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from edgepriv.audit import statistics
from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.clustered import Groups, of_persons
from edgepriv.audit.significance import rank_sum
from edgepriv.data import Dataset

MOST = 2_500
"""Members, and non-members, that the classifiers see at most."""
FEWEST = 20
CHANCE = 0.001
"""A difference is called shift when it would come by chance less often, for each of the two classifiers."""
MARGIN = 0.02
"""And when its AUC is further than this from 0.5: less explains no attack worth naming."""
SIDE, BINS = 8, 16
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class Propensity(NamedTuple):
    """How like a member each record looks to classifiers that never saw it, nor the model.

    ``place`` int64 [k]: places among members followed by non-members; ``scores`` float64 [k]: higher for members, 0 to 1.
    """

    place: np.ndarray
    scores: Floats


def shift_part(
    dataset: Dataset, members: np.ndarray, non_members: np.ndarray, seed: int
) -> tuple[dict[str, Any], Propensity | None]:
    """``shift`` of the audit: what inputs alone, and labels alone, tell about who is a member.

    Args:
        dataset: members and non-members.
        members: int64 [m], their positions in it.
        non_members: int64, theirs.
        seed: of the draw where there are more than 2,500 of a side, and of the two halves.

    Returns:
        ``found``: whether members and non-members differ in themselves; ``auc``, ``auc_ci``, ``p_value`` and ``seen`` ("their
        inputs" or "their labels") of the classifier that tells more, ``inputs`` and ``labels`` of each; ``n_members`` and
        ``n_non_members``. With fewer than 20 of a side nothing is measured: ``found`` is False and ``note`` says so. And
        what the classifiers that tell them apart give each record; None where there is no shift.
    """
    sides = [
        np.sort(np.random.default_rng([seed, 11]).permutation(len(side))[:MOST]) for side in (members, non_members)
    ]
    sizes = {"n_members": len(sides[0]), "n_non_members": len(sides[1])}
    if min(map(len, sides)) < FEWEST:
        return {"found": False, "note": f"needs {FEWEST} members and as many non-members", **sizes}, None
    place = np.concatenate([sides[0], len(members) + sides[1]])
    index = np.concatenate([members, non_members])[place]
    member = np.arange(len(index)) < len(sides[0])
    inputs, labels = dataset.inputs(index), dataset.y[index]
    groups = None if dataset.groups is None else dataset.groups[index]
    first = _half(inputs, seed) if groups is None else _half_of(_together(inputs, groups), member, seed)
    with threadpool_limits(1):
        given = {
            "their inputs": _given(_by_inputs, features(inputs), Sides(member, first, groups), seed),
            "their labels": _given(_by_label, labels, Sides(member, first, groups), seed),
        }
    by_source = {name: told for name, (told, _) in given.items()}
    seen = max(by_source, key=lambda name: (_shifted(by_source[name]), by_source[name]["auc"]))
    part = {
        "found": _shifted(by_source[seen]),
        "seen": seen,
        **by_source[seen],
        "inputs": by_source["their inputs"],
        "labels": by_source["their labels"],
        **sizes,
    }
    shifted = [(told["auc"] - 0.5, scores) for told, scores in given.values() if _shifted(told)]
    if not shifted:
        return part, None
    # Where both tell something, each counts by how much.
    together = sum(weight * scores for weight, scores in shifted) / sum(weight for weight, _ in shifted)
    return part, Propensity(place, np.asarray(together, dtype=np.float64))


def warning_of(shift: dict[str, Any]) -> list[str]:
    """What the audit says beside its figures.

    Args:
        shift: of ``shift_part``.

    Returns:
        One sentence; none where members and non-members are alike.
    """
    if not shift["found"]:
        return []
    low, high = shift["auc_ci"]
    return [
        f"members and non-members differ in themselves: {shift['seen']} alone, without the model, tell them apart with AUC "
        f"{shift['auc']:.3f} [{low:.3f}, {high:.3f}], p {shift['p_value']:.1g}; attacks find this difference even in a model "
        "that has learnt nothing, so their figures are not leakage alone: take non-members from the same source as members"
    ]


def explains(shift: Mapping[str, Any] | None, attack: Mapping[str, Any]) -> bool:
    """Whether inputs or labels alone, without the model, tell as much as an attack finds.

    Args:
        shift: of ``shift_part``; None where it was not looked for.
        attack: a row of the audit's ``attacks``.

    Returns:
        True where members and non-members differ in themselves, and the attack's interval does not lie above theirs.
    """
    if shift is None or not shift["found"]:
        return False
    low = attack.get("auc_ci_simultaneous", attack["auc_ci"])[0]
    return bool(low <= shift["auc_ci"][1])


def _shifted(told: dict[str, Any]) -> bool:
    return bool(told["p_value"] < CHANCE and told["auc"] > 0.5 + MARGIN)


def _half(inputs: npt.NDArray[np.float32], seed: int) -> Bools:
    """Mask bool [n] of a random half of the examples, equal ones together."""
    which = _equal(inputs)
    chosen: Bools = (np.random.default_rng([seed, 12]).permutation(which.max() + 1) % 2 == 0)[which]
    return chosen


def _equal(inputs: npt.NDArray[np.float32]) -> np.ndarray:
    """int64 [n], the same number for equal examples."""
    digests = [sha256(row.tobytes()).hexdigest() for row in inputs]
    return np.unique(digests, return_inverse=True)[1].reshape(-1)


def _together(inputs: npt.NDArray[np.float32], groups: np.ndarray) -> np.ndarray:
    """int [n], the same number for records of one person, for equal examples, and for whatever these connect."""
    person, equal = np.unique(groups, return_inverse=True)[1].reshape(-1), _equal(inputs)
    persons = int(person.max()) + 1
    nodes = persons + int(equal.max()) + 1
    edges = coo_array((np.ones(len(person)), (person, persons + equal)), shape=(nodes, nodes))
    components: np.ndarray = connected_components(edges, directed=False)[1]
    return components[person]


def _half_of(which: np.ndarray, member: Bools, seed: int) -> Bools:
    """The same of those with one number together: half of those among members, and half of the others."""
    _, which = np.unique(which, return_inverse=True)
    inside = np.bincount(which, weights=member) > 0
    order = np.lexsort((np.random.default_rng([seed, 12]).permutation(len(inside)), inside))
    first = np.zeros(len(inside), dtype=np.bool_)
    for side in (order[~inside[order]], order[inside[order]]):
        first[side[::2]] = True
    chosen: Bools = first[which]
    return chosen


class Sides(NamedTuple):
    """bool [n]: who is a member, and the half on which the one classifier is learnt; int64 [n]: whose records they are."""

    member: Bools
    first: Bools
    groups: Groups = None


def _given(learn: Any, seen: np.ndarray, sides: Sides, seed: int) -> tuple[dict[str, Any], Floats]:
    """``auc``, ``auc_ci``, ``p_value`` of scores that each half gets from a classifier of the other half; and the scores."""
    member, first, groups = sides
    scores, chances = np.zeros(len(member)), []
    for judged in (first, ~first):
        known = ~judged
        if min(np.bincount(member[known], minlength=2).min(), np.bincount(member[judged], minlength=2).min()) < 2:
            return {"auc": 0.5, "auc_ci": [0.0, 1.0], "p_value": 1.0}, scores
        given = learn(seen[known], member[known], seen[judged], seed)
        # Two classifiers' scores are not on one scale: their ranks are.
        scores[judged] = rankdata(given) / len(given)
        chances.append(rank_sum(*of_persons(given, member[judged], None if groups is None else groups[judged])))
    area, interval = statistics.auc(scores, member, groups)
    return {"auc": area, "auc_ci": list(interval), "p_value": min(1.0, 2 * min(chances))}, scores


def _by_inputs(known: Floats, member: Bools, asked: Floats, seed: int) -> Floats:
    """Sum of the ranks that a straight line and trees give: small steps in many features, and large ones in a few."""
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, learning_rate=0.1, random_state=seed)
    given = np.zeros(len(asked))
    for machine in (linear, trees):
        given += rankdata(machine.fit(known, member).predict_proba(asked)[:, 1])
    return given


def _by_label(known: np.ndarray, member: Bools, asked: np.ndarray, seed: int) -> Floats:
    """How much more frequent each label is among members, one example of each side added."""
    count = max(int(known.max()), int(asked.max())) + 1
    inside, outside = (np.bincount(known[side], minlength=count) + 1.0 for side in (member, ~member))
    ratio: Floats = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
    scores: Floats = ratio[asked]
    return scores


def features(inputs: npt.NDArray[np.float32]) -> Floats:
    """What a classifier sees of inputs.

    Args:
        inputs: float32 [n, F], or images [n, C, H, W].

    Returns:
        float64 [n, G]: rows as they are, and each row's statistics; images averaged over blocks to at most 8 x 8, and of each
        channel the mean, the spread, quantiles, a histogram, and how much neighbours differ.
    """
    if inputs.ndim == 2:
        return np.concatenate([inputs, _statistics(inputs)], axis=1).astype(np.float64)
    channels = [_statistics(inputs[:, c].reshape(len(inputs), -1)) for c in range(inputs.shape[1])]
    return np.concatenate([_small(inputs), *channels, _texture(inputs)], axis=1).astype(np.float64)


def _statistics(rows: npt.NDArray[np.float32]) -> Floats:
    place = np.minimum((rows * BINS).astype(int).clip(0), BINS - 1)
    counted = np.stack([(place == k).mean(axis=1) for k in range(BINS)], axis=1)
    whole = (rows == np.floor(rows)).mean(axis=1)
    moments = np.stack([rows.mean(axis=1), rows.std(axis=1), whole], axis=1)
    return np.concatenate([moments, np.quantile(rows, _QUANTILES, axis=1).T, counted], axis=1)


def _small(images: npt.NDArray[np.float32]) -> Floats:
    block = [max(1, size // SIDE) for size in images.shape[2:]]
    rows, columns = (size // step for size, step in zip(images.shape[2:], block, strict=True))
    whole = images[:, :, : rows * block[0], : columns * block[1]]
    mean = whole.reshape(*images.shape[:2], rows, block[0], columns, block[1]).mean(axis=(3, 5))
    pixels: Floats = mean.reshape(len(images), -1).astype(np.float64)
    return pixels


def _texture(images: npt.NDArray[np.float32]) -> Floats:
    """Of each channel: differences of neighbours and of their neighbours, on average and by their spread, and how many are
    equal; and by the place in blocks of eight, which is where compressed pictures break."""
    features = []
    for axis in (2, 3):
        if images.shape[axis] < 3:
            continue
        step = np.abs(np.diff(images, axis=axis))
        bend = np.abs(np.diff(images, 2, axis=axis))
        for of in (step, bend):
            features += [of.mean(axis=(2, 3)), of.std(axis=(2, 3)), (of < 1e-6).mean(axis=(2, 3))]
        edges = np.arange(step.shape[axis]) % 8 == 7
        if edges.any():
            features.append(step.compress(edges, axis=axis).mean(axis=(2, 3)) - step.mean(axis=(2, 3)))
    return np.concatenate(features, axis=1) if features else np.zeros((len(images), 0))
