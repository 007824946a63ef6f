"""Two audits of two versions of a model: what became better or worse beyond noise, and what cannot be compared.

Leakage is judged by the strongest attack among those that both audits ran in the same way; its figures share an error of 5%
(Bonferroni). Accuracy and robustness are judged at 95% each.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from edgepriv.audit import statistics
from edgepriv.audit.assess import FALSE_POSITIVE_RATES
from edgepriv.audit.attacks import ATTACKS, TRAINED
from edgepriv.audit.canaries import headline_of
from edgepriv.audit.differences import Difference, Measured, Scored, Side, joined, rate_at, strongest_difference
from edgepriv.audit.evasion.rows import outcomes_in
from edgepriv.audit.knowledge import phrase_of

BETTER, WORSE, NOISE, UNKNOWN = "better", "worse", "within noise", "not compared"
LEAKAGE, ACCURACY, ROBUSTNESS = "leakage", "accuracy", "robustness"
STRONGEST = "the strongest attack"
"""How a sentence of ``not_compared`` begins that is about an attack which decides on a version; no other stands for it."""
FEWEST_ALARMS = 5
"""False positives that a rate must allow: by fewer, its threshold is too uncertain to compare two of them."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """One version: the name it goes by, its audit, and the scores beside that; None where these are not there."""

    name: str
    audit: Row
    scores: Mapping[str, np.ndarray] | None = None


def compared(before: Version, after: Version, seed: int = 0) -> dict[str, Any]:
    """What changed from one version to the next.

    Args:
        before: the older version.
        after: the newer one.
        seed: of the draws.

    Returns:
        ``against``: the older version. ``figures``: rows of ``topic``, ``figure``, ``before``, ``after``, ``difference`` with
        ``ci``, ``paired`` (whether record by record), ``unit`` ("area", "rate" or "percent"), ``by_before`` and ``by_after``
        (which attack), and ``verdict``. ``verdicts``: topic -> "better", "worse", "within noise" or "not compared".
        ``differs``: in what the two audits differ; ``not_compared``: what could not be compared, and why. As JSON.
    """
    same = _same_records(before, after)
    differs = list(_differences(before, after, same))
    why_not: list[str] = []
    figures = [
        *_leakage(before, after, same, seed, why_not),
        *_accuracy(before, after, same, why_not),
        *_robustness(_perturbed(before.audit), _perturbed(after.audit), same, why_not),
    ]
    return {
        "against": before.name,
        "figures": figures,
        "verdicts": {topic: _verdict(figures, topic, why_not) for topic in (LEAKAGE, ACCURACY, ROBUSTNESS)},
        "differs": differs,
        "not_compared": why_not,
    }


def _verdict(figures: Sequence[Row], topic: str, why_not: Sequence[str]) -> str:
    """The worst of a topic: what got worse is not made good by what got better, nor by attacks that are not the strongest."""
    verdicts = {row["verdict"] for row in figures if row["topic"] == topic}
    if topic == LEAKAGE and WORSE not in verdicts and any(line.startswith(STRONGEST) for line in why_not):
        return UNKNOWN
    return next((verdict for verdict in (WORSE, BETTER, NOISE) if verdict in verdicts), UNKNOWN)


def _same_data(before: Version, after: Version) -> bool:
    one, other = ((version.audit.get("data") or {}).get("sha256") for version in (before, after))
    return one is not None and one == other


def _same_records(before: Version, after: Version) -> bool:
    """Whether both were asked about the same members and the same non-members."""
    splits = [(version.audit.get("data") or {}).get("split") or {} for version in (before, after)]
    digests = [[(split.get("sha256") or {}).get(role) for role in ("members", "non_members")] for split in splits]
    sizes = [[version.audit["utility"][key] for key in ("n_members", "n_non_members")] for version in (before, after)]
    return _same_data(before, after) and digests[0] == digests[1] and sizes[0] == sizes[1]


def _differences(before: Version, after: Version, same: bool) -> Iterator[str]:
    old, new = before.audit, after.audit
    if not _same_data(before, after):
        yield "the data sets differ: what differs may be the data, not the model"
    elif not same:
        yield "members or non-members differ: records are compared as two separate draws"
    names = [{_key(row) for row in audit["attacks"]} for audit in (old, new)]
    for more, less, which, than in ((0, 1, before, after), (1, 0, after, before)):
        if names[more] - names[less]:
            listed = ", ".join(sorted(f"{name} ({model})" for name, model in names[more] - names[less])[:4])
            number = len(names[more] - names[less])
            some = f" and {number - 4} more" if number > 4 else ""
            yield f"{_attacks(number)} run on {which.name} alone, and not on {than.name}: {listed}{some}"
    for key, what in (("references", "reference models"), ("seed", "seed of the audit")):
        if old.get(key) != new.get(key):
            yield f"{what}: {old.get(key)} of {before.name}, {new.get(key)} of {after.name}"
    versions = [(audit.get("versions") or {}).get("edgepriv") for audit in (old, new)]
    if versions[0] != versions[1]:
        yield f"edgepriv {versions[0]} audited {before.name}, {versions[1]} {after.name}"
    if any((audit.get("shift") or {}).get("found") for audit in (old, new)):
        yield "members and non-members differ in themselves, which every figure of leakage contains"


def _attacks(number: int) -> str:
    return "1 attack was" if number == 1 else f"{number} attacks were"


def _key(row: Row) -> tuple[str, str]:
    return row["name"], row["threat_model"]


def _comparable(before: Version, after: Version, why_not: list[str]) -> list[tuple[Row, Row]]:
    """Rows of attacks that both audits ran in the same way."""
    old = {_key(row): row for row in before.audit["attacks"]}
    pairs = [(old[_key(row)], row) for row in after.audit["attacks"] if _key(row) in old]
    kept, left = [], dict[str, int]()
    budgets = [(version.audit.get("settings") or {}).get("adversary") for version in (before, after)]
    numbers = [version.audit.get("references") for version in (before, after)]
    for pair in pairs:
        base = ATTACKS.get(pair[0]["name"])
        trains = base is None or bool(base.needs & TRAINED)
        if trains and numbers[0] != numbers[1]:
            reason = f"{numbers[0]} reference models of {before.name}, {numbers[1]} of {after.name}"
        elif "adversarial" in pair[0].get("queries", "") and budgets[0] != budgets[1]:
            reason = "their perturbations were of different size"
        else:
            kept.append(pair)
            continue
        left[reason] = left.get(reason, 0) + 1
    why_not += [f"{number} attack{'s' * (number != 1)}: {reason}" for reason, number in left.items()]
    return kept


def _leakage(before: Version, after: Version, same: bool, seed: int, why_not: list[str]) -> list[dict[str, Any]]:
    cut = [(version.audit.get("head") or {}).get("cut", False) for version in (before, after)]
    shifted = any((version.audit.get("shift") or {}).get("found") for version in (before, after))
    if cut[0] != cut[1]:
        why_not.append("leakage: one file was audited without its head, the other with it")
        return []
    if shifted and not same:
        why_not.append(
            "leakage: members and non-members differ in themselves, and not in the same way in the two audits"
        )
        return []
    pairs = _comparable(before, after, why_not)
    if not pairs:
        why_not.append("leakage: no attack was run in the same way on both")
        return []
    parts = [
        [pair for pair in pairs if _asked(pair[1]) == size] for size in dict.fromkeys(_asked(row) for _, row in pairs)
    ]
    fprs = [_resolved(part) for part in parts]
    why_not += _unresolved(parts, fprs)
    canaries = [version.audit.get("canaries") for version in (before, after)]
    measures = sum(1 + len(rates) for rates in fprs) + (None not in canaries)
    rows = []
    for part, rates in zip(parts, fprs, strict=True):
        on = f", on {_asked(part[0][1])[0]:,} + {_asked(part[0][1])[1]:,} records" if len(parts) > 1 else ""
        rows += _of_part(part, rates, (before, after), same, seed, statistics.ALPHA / measures, on)
    rows += _canaries(canaries[0], canaries[1], statistics.ALPHA / measures, why_not)
    why_not += _stronger_elsewhere(pairs, before, after, sorted({fpr for rates in fprs for fpr in rates}))
    return rows


def _resolved(part: Sequence[tuple[Row, Row]]) -> list[float]:
    """False-positive rates at which two thresholds can be compared."""
    fewest = min(_counts(row)[1] for pair in part for row in pair)
    return [fpr for fpr in FALSE_POSITIVE_RATES if fewest * fpr + 1e-9 >= FEWEST_ALARMS]


def _unresolved(parts: Sequence[Sequence[tuple[Row, Row]]], resolved: Sequence[Sequence[float]]) -> Iterator[str]:
    """Rates that no part has enough non-members for."""
    most = max(_counts(row)[1] for part in parts for pair in part for row in pair)
    for fpr in FALSE_POSITIVE_RATES:
        if not any(fpr in rates for rates in resolved):
            yield (
                f"true-positive rates at {100 * fpr:g}% false positives: {most:,} non-members, and a comparison takes "
                f"{round(FEWEST_ALARMS / fpr):,}"
            )


def _asked(row: Row) -> tuple[int, int]:
    """On how many members and non-members an attack was run."""
    return row["n_members"], row["n_non_members"]


def _counts(row: Row) -> tuple[int, int]:
    """Members and non-members, or persons where records belong to these."""
    return (
        row.get("n_member_persons", row["n_members"]),
        row.get("n_non_member_persons", row["n_non_members"]),
    )


def _stronger_elsewhere(
    pairs: Sequence[tuple[Row, Row]], before: Version, after: Version, fprs: Sequence[float]
) -> Iterator[str]:
    """An attack that decides on a version, by its AUC or by what it finds, and has nothing to be compared with."""
    for place, version in enumerate((before, after)):
        here = {_key(pair[place]) for pair in pairs}
        told = dict[tuple[str, str], str]()
        for fpr in (None, *fprs):
            best = max(version.audit["attacks"], key=lambda row: _strength(row, fpr))
            if _key(best) not in here:
                figure = f"AUC {best['auc']:.3f}" if fpr is None else _found_at(best, fpr)
                told.setdefault(
                    _key(best),
                    f"{STRONGEST} on {version.name}: {best['name']} ({phrase_of(best)}), {figure}, was not run in the same "
                    "way on both",
                )
        yield from told.values()


def _strength(row: Row, fpr: float | None) -> float:
    """AUC, or the true-positive rate; below all others where that is not resolved."""
    if fpr is None:
        return float(row["auc"])
    value = (row["tpr_at_fpr"].get(str(fpr)) or {}).get("value")
    return -1.0 if value is None else float(value)


def _found_at(row: Row, fpr: float) -> str:
    return f"{100 * _strength(row, fpr):.1f}% of members at {100 * fpr:g}% false positives"


def _of_part(
    part: Sequence[tuple[Row, Row]],
    fprs: Sequence[float],
    versions: tuple[Version, Version],
    same: bool,
    seed: int,
    alpha: float,
    on: str,
) -> list[dict[str, Any]]:
    """The strongest attack among those on the same number of candidates."""
    names = [f"AUC of the strongest attack{on}"]
    names += [f"members found by the strongest attack at {100 * fpr:g}% false positives{on}" for fpr in fprs]
    sides = [_side(version, [pair[place] for pair in part]) for place, version in enumerate(versions)]
    if sides[0] is None or sides[1] is None:
        paired, differing = False, _without_scores(part, fprs, alpha)
    else:
        paired = same and _on_the_same(sides[0], sides[1], versions)
        differing = strongest_difference(sides[0], sides[1], fprs, paired=paired, seed=seed, alpha=alpha)
    return [
        _figure(LEAKAGE, name, one, paired, "rate" if place else "area")
        for place, (name, one) in enumerate(zip(names, differing, strict=True))
    ]


def _side(version: Version, rows: Sequence[Row]) -> Side | None:
    """The scores of some attacks; None where they are not there, or are not those of the audit."""
    scores = version.scores
    if scores is None or "member" not in scores:
        return None
    member, attacks = scores["member"], []
    for row in rows:
        name = f"{row['threat_model']}/{row['name']}"
        if name not in scores:
            return None
        place = scores.get(f"{name}/index", np.arange(len(member)))
        values = np.asarray(scores[name], dtype=np.float64)
        if len(values) != len(place) or abs(statistics.auc(values, member[place])[0] - row["auc"]) > 1e-9:
            return None
        attacks.append(Scored(f"{row['name']} ({phrase_of(row)})", values, place))
    return Side(attacks, member, scores.get("group"))


def _on_the_same(before: Side, after: Side, versions: tuple[Version, Version]) -> bool:
    index = [version.scores["index"] for version in versions if version.scores is not None]
    return (
        np.array_equal(index[0], index[1])
        and np.array_equal(before.member, after.member)
        and all(np.array_equal(one.place, two.place) for one, two in zip(before.attacks, after.attacks, strict=True))
    )


def _without_scores(part: Sequence[tuple[Row, Row]], fprs: Sequence[float], alpha: float) -> list[Difference]:
    """From the JSON alone: the intervals of the two strongest attacks, joined as if the records were others."""
    best = [max((pair[place] for pair in part), key=lambda row: row["auc"]) for place in (0, 1)]
    areas = [Measured(row["auc"], tuple(row.get("auc_ci_simultaneous", row["auc_ci"]))) for row in best]
    results = [_joined(areas, best)]
    for fpr in fprs:
        top = [max((_rate(pair[place], fpr, alpha / len(part)) for pair in part), key=_value) for place in (0, 1)]
        results.append(_joined([measured for measured, _ in top], [row for _, row in top]))
    return results


def _rate(row: Row, fpr: float, alpha: float) -> tuple[Measured, Row]:
    return rate_at((row["roc"]["fpr"], row["roc"]["tpr"]), *_counts(row), fpr, alpha), row


def _value(measured: tuple[Measured, Row]) -> float:
    return measured[0].value


def _joined(measured: Sequence[Measured], rows: Sequence[Row]) -> Difference:
    names = [f"{row['name']} ({phrase_of(row)})" for row in rows]
    return Difference(measured[0].value, measured[1].value, joined(measured[0], measured[1]), names[0], names[1])


def _figure(
    topic: str, figure: str, one: Difference, paired: bool, unit: str, more_is_worse: bool = True
) -> dict[str, Any]:
    low, high = one.ci
    up, down = (WORSE, BETTER) if more_is_worse else (BETTER, WORSE)
    return {
        "topic": topic,
        "figure": figure,
        "before": one.before,
        "after": one.after,
        "difference": one.after - one.before,
        "ci": [float(low), float(high)],
        "paired": paired,
        "unit": unit,
        "by_before": one.by_before,
        "by_after": one.by_after,
        "verdict": up if low > 0 else down if high < 0 else NOISE,
    }


def _canaries(before: Row | None, after: Row | None, alpha: float, why_not: list[str]) -> Iterator[dict[str, Any]]:
    """What the strongest attack finds of the canaries, where both versions had the same kind of them."""
    if before is None and after is None:
        return
    if before is None or after is None:
        why_not.append("canaries: only one of the two models was trained with them")
        return
    for key, what in _OF_CANARIES.items():
        if before.get(key) != after.get(key):
            why_not.append(f"canaries: {what} ({before.get(key)} and {after.get(key)})")
            return
    names = [{row["name"] for row in part["attacks"]} for part in (before, after)]
    for fpr in sorted(FALSE_POSITIVE_RATES):
        best = [_most_found(part["attacks"], names[0] & names[1], fpr) for part in (before, after)]
        if best[0] is None or best[1] is None:
            continue
        measured = [_wider(headline_of(row)["tpr_at_fpr"][str(fpr)], alpha) for row in (best[0], best[1])]
        one = _joined(measured, [best[0], best[1]])
        yield _figure(LEAKAGE, f"canaries found at {100 * fpr:g}% false positives", one, False, "rate")
        return
    why_not.append("canaries: no attack on them was run on both that resolves a false-positive rate of 1%")


_OF_CANARIES = {
    "kind": "of another kind",
    "members": "another number of members",
    "non_members": "another number of non-members",
    "threat_model": "found by another attacker",
    "reference_models": "another number of reference models",
}


def _most_found(rows: Sequence[Row], names: Collection[str], fpr: float) -> Row | None:
    known = [row for row in rows if row["name"] in names and _strength(headline_of(row), fpr) >= 0]
    return max(known, key=lambda row: _strength(headline_of(row), fpr), default=None)


def _wider(rate: Row, alpha: float) -> Measured:
    """A rate with its 95% interval stretched to another confidence, as a normal error would be."""
    by = float(norm.isf(alpha / 2) / norm.isf(statistics.ALPHA / 2))
    value, (low, high) = rate["value"], rate["ci"]
    return Measured(value, (max(0.0, value - by * (value - low)), min(1.0, value + by * (high - value))))


def _accuracy(before: Version, after: Version, same: bool, why_not: list[str]) -> Iterator[dict[str, Any]]:
    sides = [version.audit["utility"] for version in (before, after)]
    if any("non_member_accuracy_ci" not in side for side in sides):
        why_not.append("accuracy: an audit of an earlier version has no interval for it")
        return
    measured = [Measured(side["non_member_accuracy"], tuple(side["non_member_accuracy_ci"])) for side in sides]
    right = [_right(version) for version in (before, after)] if same and _same_order(before, after) else [None, None]
    paired = right[0] is not None and right[1] is not None and len(right[0]) == len(right[1])
    correlation = _correlation(right[0], right[1]) if right[0] is not None and right[1] is not None and paired else 0.0
    one = Difference(measured[0].value, measured[1].value, joined(measured[0], measured[1], correlation), "", "")
    yield _figure(ACCURACY, "accuracy on unseen data", one, paired, "percent", more_is_worse=False)


def _same_order(before: Version, after: Version) -> bool:
    """Whether the records behind both files of scores stand at the same places."""
    told = [(version.scores or {}).get("index") for version in (before, after)]
    return told[0] is not None and told[1] is not None and np.array_equal(told[0], told[1])


def _right(version: Version) -> np.ndarray | None:
    """Which non-members the model has right, as the attack by correctness asked; None where it was not run."""
    scores = version.scores or {}
    told = next((scores[name] for name in scores if name.split("/", 1)[-1] == "correctness"), None)
    if told is None or len(told) != len(scores["member"]):
        return None
    right = np.abs(told[~scores["member"]]) > 0.5
    accuracy = version.audit["utility"]["non_member_accuracy"]
    return right if abs(float(right.mean()) - accuracy) < 1e-9 else None


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of two 0-1 outcomes; 0 where one of them never changes."""
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _perturbed(audit: Row) -> Row | None:
    """``robustness``, and which columns of a table the attacks were free to change."""
    told = audit.get("robustness")
    return told and told | {"perturb": ((audit.get("settings") or {}).get("audit") or {}).get("perturb")}


_OF_PERTURBATIONS = {
    "norm": "norms",
    "eps": "sizes",
    "unit": "units",
    "level": "attacks",
    "steps": "steps",
    "perturb": "columns",
}


def _robustness(before: Row | None, after: Row | None, same: bool, why_not: list[str]) -> Iterator[dict[str, Any]]:
    if before is None and after is None:
        return
    if before is None or after is None:
        why_not.append("robustness: only one of the two audits perturbed inputs")
        return
    for key, what in _OF_PERTURBATIONS.items():
        if before.get(key) != after.get(key):
            told = [row.get(key) for row in (before, after)]
            why_not.append(f"robustness: perturbations by other {what} ({told[0]} and {told[1]})")
            return
    if before["worst_case_accuracy"] is None or after["worst_case_accuracy"] is None:
        why_not.append("robustness: the worst case was not measured on both, as gradients are of no use")
        return
    measured = [Measured(row["worst_case_accuracy"], tuple(row["ci"])) for row in (before, after)]
    outcomes = [row.get("outcomes") for row in (before, after)]
    paired = bool(same and all(outcomes) and before["examples_sha256"] == after["examples_sha256"])
    correlation = 0.0
    if paired:
        held = [outcomes_in(row["outcomes"]["worst"], row["n"]) for row in (before, after)]
        correlation = _correlation(held[0], held[1])
    one = Difference(measured[0].value, measured[1].value, joined(measured[0], measured[1], correlation), "", "")
    yield _figure(ROBUSTNESS, "accuracy under perturbations", one, paired, "percent", more_is_worse=False)
