"""Evidence and the true membership -> the attacks' part of ``model.audit.json``. Only here do both meet."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from edgepriv.audit import statistics
from edgepriv.audit.answers import Bools, Floats, Outputs
from edgepriv.audit.attacks import ATTACKS, NEEDS, Attack, Unavailable
from edgepriv.audit.attacks.base import QUERIES
from edgepriv.audit.clustered import Groups, counted, of_persons, persons_in
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.significance import REVERSED, SIGNIFICANT, STATED, Direction, holm, p_value
from edgepriv.audit.ties import settled
from edgepriv.errors import UserError, nearest

FALSE_POSITIVE_RATES = (0.01, 0.001)
# Reference models that are attacked in turn to learn a threshold.
REHEARSALS = 8
# A direction is learnt from reference or shadow models if they show it with less than this probability by chance.
CLEAR = 0.01
# Rates at which the points of a ROC curve that are kept are exact: 25 for each factor of ten, down to one in a million.
RATES = tuple(10 ** (power / 25) for power in range(-150, 1))
BINS = 60


class Assessment(NamedTuple):
    """``attacks`` and ``left_out`` in the JSON's form; ``scores``: attack name -> float64 [n], in the direction of its row.

    ``as_stated``: attack name -> the row of an attack that is reversed in ``attacks``, as it is stated.
    """

    attacks: list[dict[str, Any]]
    left_out: list[dict[str, str]]
    scores: dict[str, Floats]
    as_stated: dict[str, dict[str, Any]]


def select(names: str) -> list[str]:
    """The attacks that a list of names stands for.

    Args:
        names: ``"all"``, ``"quick"``, or names separated by commas, such as ``"quick,lira-online"``. Quick are the attacks
            that train nothing and query each candidate once.

    Returns:
        Names in the order of the registry, each once.

    Raises:
        UserError: for an unknown name, with the nearest known one, and where none is named.
    """
    groups = {
        "all": set(ATTACKS),
        "quick": {
            name for name, attack in ATTACKS.items() if attack.needs <= {"labels", "scores"} and attack.queries == 1
        },
    }
    asked = [name.strip() for name in names.split(",") if name.strip()]
    wanted = set().union(*(groups.get(name, {name}) for name in asked))
    unknown = sorted(wanted - set(ATTACKS))
    if unknown or not wanted:
        what = f"unknown attack {', '.join(unknown)}" if unknown else "no attack named"
        meant = nearest(unknown[0], [*groups, *ATTACKS]) if unknown else ""
        raise UserError(f"{what}: choose all, quick, or some of {', '.join(ATTACKS)}{meant}")
    return [name for name in ATTACKS if name in wanted]


def utility(outputs: Outputs, membership: Bools, groups: Groups = None) -> dict[str, Any]:
    """Accuracy of the target on members and non-members, and the gap between them.

    Args:
        outputs: the target's answers to the candidates.
        membership: bool [n] of the candidates.
        groups: int64 [n], whose records they are.

    Returns:
        Fractions in [0, 1] with Wilson intervals, and the two counts: the audit's ``utility`` as JSON.
    """
    right = outputs.predicted == outputs.labels
    right, membership = statistics.checked(right, membership)
    right = right.astype(bool)
    sides = (membership, ~membership)
    shares = [float(right[side].mean()) for side in sides]
    intervals = [
        list(statistics.wilson(*counted(right[side], None if groups is None else groups[side]))) for side in sides
    ]
    return {
        "member_accuracy": shares[0],
        "member_accuracy_ci": intervals[0],
        "non_member_accuracy": shares[1],
        "non_member_accuracy_ci": intervals[1],
        "generalisation_gap": shares[0] - shares[1],
        "n_members": int(membership.sum()),
        "n_non_members": int((~membership).sum()),
    }


def assess(
    evidence: Evidence,
    membership: Bools,
    *,
    attacks: Iterable[str],
    threat_model: str,
    seed: int = 0,
    groups: Groups = None,
) -> Assessment:
    """Run the named attacks and measure them against the true membership.

    Scores that differ by rounding alone are equal (``ties.settled``). An attack that is significant in the other direction
    is reported reversed, with its scores negated: members whose scores are too low are as exposed as those whose scores are
    too high. ``corrected`` decides on that when all attacks are known.

    Args:
        evidence: what the attacker knows of the candidates.
        membership: bool [n] of the candidates.
        attacks: names of ``ATTACKS``.
        threat_model: the name under which the rows are reported.
        seed: of the attacks' own randomness and of the random halves of the evaluation.
        groups: int64 [n], whose records the candidates are; intervals, tests and bounds are then of persons (``clustered``).

    Returns:
        A row for each attack, the attacks that the evidence does not suffice for with the reason, and the scores.

    Raises:
        UserError: for fewer than two members or non-members, and for scores that are not finite.
    """
    _, membership = statistics.checked(np.zeros(len(evidence.target.labels)), membership)
    if min(membership.sum(), (~membership).sum()) < 2:
        raise UserError("an audit needs at least two members and two non-members")
    evidence = replace(evidence, seed=seed)
    results, left_out, scores, as_stated = [], [], {}, {}
    for attack in (ATTACKS[name] for name in attacks):
        missing = attack.needs - evidence.offers
        try:
            if evidence.labels_only and attack.reads == "probabilities":
                raise Unavailable("the file returns labels only")
            if missing:
                raise Unavailable(_lacking(missing, evidence))
            run, chosen = attack.tuned(evidence)
            attack_scores = run(evidence)
        except Unavailable as reason:
            left_out.append({"name": attack.name, "reason": str(reason)})
            continue
        attack_scores = settled(statistics.checked(attack_scores, membership)[0])
        rehearsal = _rehearsal(replace(attack, run=run), evidence)  # with the same parameters
        learnt = _direction(rehearsal)
        p, direction = p_value(*of_persons(attack_scores, membership, groups), FALSE_POSITIVE_RATES, learnt)
        known = {"threat_model": threat_model, "chosen": chosen, "direction_learnt": learnt, "p_value": p}
        judged = _Judged(membership, groups)
        row = _measure(attack, evidence, attack_scores, judged, rehearsal, STATED) | known
        if direction == REVERSED and p < SIGNIFICANT:
            as_stated[attack.name], attack_scores = row, -attack_scores
            row = _measure(attack, evidence, attack_scores, judged, rehearsal, REVERSED) | known
        results.append(row)
        scores[attack.name] = attack_scores
    return Assessment(results, left_out, scores, as_stated)


def corrected(parts: Iterable[Assessment]) -> None:
    """Correct p-values for as many attacks as there are in all parts (Holm).

    An attack that is then within chance is not reported reversed: its row becomes the one as it is stated, and its scores
    with it.

    Args:
        parts: changed in place: every row gets its ``p_adjusted``.
    """
    parts = list(parts)
    adjusted = iter(holm([row["p_value"] for part in parts for row in part.attacks]))
    for part in parts:
        for place, row in enumerate(part.attacks):
            p = next(adjusted)
            if row["direction"] == REVERSED and p >= SIGNIFICANT:
                row = part.attacks[place] = part.as_stated[row["name"]]
                part.scores[row["name"]] = -part.scores[row["name"]]
            row["p_adjusted"] = p


def _lacking(missing: frozenset[str], evidence: Evidence) -> str:
    known = [evidence.lacks[need] for need in sorted(missing) if need in evidence.lacks]
    return "; ".join(known) or f"needs {' and '.join(NEEDS[need] for need in sorted(missing))}"


class _Judged(NamedTuple):
    """The truth about the candidates: bool [n] and, where it is known, int64 [n]."""

    membership: Bools
    groups: Groups


def _measure(
    attack: Attack,
    evidence: Evidence,
    scores: Floats,
    judged: _Judged,
    rehearsal: "_Rehearsal | None",
    direction: Direction,
) -> dict[str, Any]:
    """One attack's row, but for its p-value; ``scores`` are in ``direction``, the rehearsal's as the attack is stated."""
    membership, groups = judged
    area, interval = statistics.auc(scores, membership, groups)
    threshold, source, tested = _threshold(evidence, scores, judged, rehearsal, direction)
    return {
        "name": attack.name,
        "title": attack.title,
        "paper": attack.paper,
        "queries": QUERIES[attack.asks],
        "queries_per_example": attack.queries,
        "n_members": int(membership.sum()),
        "n_non_members": int((~membership).sum()),
        **_persons(judged),
        "direction": direction,
        "auc": area,
        "auc_ci": list(interval),
        "auc_as_stated": area if direction == STATED else 1 - area,
        "threshold_source": source,
        **statistics.at_threshold(scores[tested], membership[tested], threshold),
        "tpr_at_fpr": {
            str(fpr): statistics.tpr_at_fpr(scores, membership, fpr, groups) for fpr in FALSE_POSITIVE_RATES
        },
        "epsilon_lower_bound": statistics.epsilon_lower_bound(*of_persons(scores, membership, groups), evidence.seed),
        "roc": roc_points(scores, membership),
        "histogram": histogram(scores, membership),
    }


def _persons(judged: _Judged) -> dict[str, int]:
    """How many persons the candidates are, where anybody says; epsilon and tests of chance are then of these."""
    membership, groups = judged
    if groups is None:
        return {}
    return {
        "n_member_persons": persons_in(membership, groups),
        "n_non_member_persons": persons_in(~membership, groups),
    }


class _Rehearsal(NamedTuple):
    """An attack on models of known membership: its scores [m], who was a member bool [m], and whose models they are."""

    scores: Floats
    member: Bools
    source: str


def _rehearsal(attack: Attack, evidence: Evidence) -> _Rehearsal | None:
    """None where the attacker has no model to try the attack on."""
    if "references" in attack.needs:
        rehearsed = _rehearse(attack, evidence)
        return _Rehearsal(*rehearsed, "reference models") if rehearsed is not None else None
    # Attacks that learn on the shadow model would look too good on what they learnt from: learn on one half only.
    shadow = evidence.shadow
    first = None if shadow is None else statistics.halves_of_pairs(shadow.member, evidence.seed, shadow.groups)
    if first is not None and attack.needs <= {"labels", "shadow", "gradients", "weights", "label-queries"}:
        pretended, known = evidence.with_shadow_as_target(first)
        return _Rehearsal(attack.run(pretended), known, "shadow model")
    return None


def _direction(rehearsal: _Rehearsal | None) -> Direction | None:
    """The direction in which the attacker's own models leak; None without any, or where they show neither clearly."""
    if rehearsal is None:
        return None
    p, direction = p_value(settled(rehearsal.scores), rehearsal.member, ())
    return direction if p < CLEAR else None


def _threshold(
    evidence: Evidence, scores: Floats, judged: _Judged, rehearsal: _Rehearsal | None, direction: Direction
) -> tuple[float, str, Bools]:
    """A threshold that owes nothing to the examples it is judged on: (threshold, its source, mask of those judged)."""
    membership, groups = judged
    if rehearsal is not None:
        sign = 1 if direction == STATED else -1
        threshold = statistics.best_threshold(sign * rehearsal.scores, rehearsal.member)
        return threshold, rehearsal.source, np.ones_like(membership)
    first = statistics.halves(membership, evidence.seed, groups)
    threshold = statistics.best_threshold(scores[first], membership[first])
    return threshold, "random half of the candidates, judged on the other half", ~first


def _rehearse(attack: Attack, evidence: Evidence) -> tuple[Floats, Bools] | None:
    """Attack reference models with each other: pooled scores and their known membership, None if that is impossible."""
    if evidence.references is None or len(evidence.references.member) < 2:
        return None
    member = evidence.references.member
    mixed = np.flatnonzero(member.any(axis=1) & ~member.all(axis=1))
    chosen = mixed[np.unique(np.linspace(0, len(mixed) - 1, REHEARSALS).astype(int))] if len(mixed) else mixed
    for equally in (True, False):  # equally many of very few models are too few for some attacks
        scores, known = [], []
        for r in chosen:
            rehearsal, truth = evidence.with_reference_as_target(int(r), equally=equally)
            try:
                scores.append(attack.run(rehearsal))
            except Unavailable:
                continue
            known.append(truth)
        if scores:
            return np.concatenate(scores), np.concatenate(known)
    return None


def roc_points(scores: Floats, membership: Bools) -> dict[str, list[float]]:
    """At most 304 exact points of the ROC curve, spaced for log-log axes.

    Args:
        scores: float64 [n]; higher for members.
        membership: bool [n].

    Returns:
        ``fpr`` and ``tpr``: of every false-positive rate in ``RATES`` the highest point that does not exceed it, of every
        true-positive rate the first that reaches it.
    """
    curve = statistics.roc(scores, membership)
    grid = np.array(RATES)
    by_fpr = np.searchsorted(curve.fpr, grid + 1e-12, side="right") - 1
    by_tpr = np.minimum(np.searchsorted(curve.tpr, grid), len(curve.tpr) - 1)
    kept = np.unique(np.concatenate([[0, len(curve.fpr) - 1], by_fpr, by_tpr]))
    return {"fpr": curve.fpr[kept].tolist(), "tpr": curve.tpr[kept].tolist()}


def histogram(scores: Floats, membership: Bools) -> dict[str, list[Any]]:
    """Counts of members and non-members in 60 equal bins between the 0.5% and 99.5% quantiles.

    Args:
        scores: float64 [n].
        membership: bool [n].

    Returns:
        ``edges`` and the counts; scores beyond the outermost edges are counted in the outermost bins.
    """
    low, high = np.quantile(scores, [0.005, 0.995])
    if not high - low > 1e-9 * max(1.0, abs(low), abs(high)):
        low, high = scores.min() - 0.5, scores.max() + 0.5
    edges = np.linspace(low, high, BINS + 1)
    clipped = np.clip(scores, low, high)
    members, _ = np.histogram(clipped[membership], edges)
    non_members, _ = np.histogram(clipped[~membership], edges)
    return {"edges": edges.tolist(), "members": members.tolist(), "non_members": non_members.tolist()}
