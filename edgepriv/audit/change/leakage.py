"""What changed in leakage from one version to the next.

Leakage is judged by the strongest attack among those that both audits ran in the same way; its figures share an error of 5%
(Bonferroni).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgepriv.audit import statistics
from edgepriv.audit.assess import FALSE_POSITIVE_RATES
from edgepriv.audit.attacks import ATTACKS, TRAINED
from edgepriv.audit.change.canaries import canaries
from edgepriv.audit.change.versions import LEAKAGE, Row, Version, counts_of, figure_of, joined_rows, key_of, strength
from edgepriv.audit.differences import Difference, Measured, Scored, Side, rate_at, strongest_difference
from edgepriv.audit.knowledge import phrase_of

STRONGEST = "the strongest attack"
"""How a sentence of ``not_compared`` begins that is about an attack which decides on a version; no other stands for it."""
FEWEST_ALARMS = 5
"""False positives that a rate must allow: by fewer, its threshold is too uncertain to compare two of them."""


def leakage(before: Version, after: Version, same: bool, seed: int, why_not: list[str]) -> list[dict[str, Any]]:
    """What changed in leakage, by the strongest attack among those that both audits ran in the same way.

    Args:
        before: the older version.
        after: the newer one.
        same: whether both were asked about the same records.
        seed: of the draws.
        why_not: what could not be compared is added, with the reason.

    Returns:
        Rows of ``figure_of``.
    """
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
    planted = [version.audit.get("canaries") for version in (before, after)]
    measures = sum(1 + len(rates) for rates in fprs) + (None not in planted)
    rows = []
    for part, rates in zip(parts, fprs, strict=True):
        on = f", on {_asked(part[0][1])[0]:,} + {_asked(part[0][1])[1]:,} records" if len(parts) > 1 else ""
        rows += _of_part(part, rates, (before, after), same, seed, statistics.ALPHA / measures, on)
    rows += canaries(planted[0], planted[1], statistics.ALPHA / measures, why_not)
    why_not += _stronger_elsewhere(pairs, before, after, sorted({fpr for rates in fprs for fpr in rates}))
    return rows


def _comparable(before: Version, after: Version, why_not: list[str]) -> list[tuple[Row, Row]]:
    """Rows of attacks that both audits ran in the same way."""
    old = {key_of(row): row for row in before.audit["attacks"]}
    pairs = [(old[key_of(row)], row) for row in after.audit["attacks"] if key_of(row) in old]
    kept, left = [], dict[str, int]()
    budgets = [(version.audit.get("settings") or {}).get("adversary") for version in (before, after)]
    combined = [_combined(version.audit) for version in (before, after)]
    numbers = [version.audit.get("references") for version in (before, after)]
    for pair in pairs:
        base = ATTACKS.get(pair[0]["name"])
        trains = base is None or bool(base.needs & TRAINED)
        if trains and numbers[0] != numbers[1]:
            reason = f"{numbers[0]} reference models of {before.name}, {numbers[1]} of {after.name}"
        elif base is not None and "releases" in base.needs and combined[0] != combined[1]:
            reason = "other releases were combined"
        elif "adversarial" in pair[0].get("queries", "") and budgets[0] != budgets[1]:
            reason = "their perturbations were of different size"
        else:
            kept.append(pair)
            continue
        left[reason] = left.get(reason, 0) + 1
    why_not += [f"{number} attack{'s' * (number != 1)}: {reason}" for reason, number in left.items()]
    return kept


def _combined(audit: Row) -> list[str]:
    """What the releases that attacks combine are to the audited file; each version has files of its own."""
    return sorted(row["relation"] for row in (audit.get("releases") or {}).get("files", []))


def _resolved(part: Sequence[tuple[Row, Row]]) -> list[float]:
    """False-positive rates at which two thresholds can be compared."""
    fewest = min(counts_of(row)[1] for pair in part for row in pair)
    return [fpr for fpr in FALSE_POSITIVE_RATES if fewest * fpr + 1e-9 >= FEWEST_ALARMS]


def _unresolved(parts: Sequence[Sequence[tuple[Row, Row]]], resolved: Sequence[Sequence[float]]) -> Iterator[str]:
    """Rates that no part has enough non-members for."""
    most = max(counts_of(row)[1] for part in parts for pair in part for row in pair)
    for fpr in FALSE_POSITIVE_RATES:
        if not any(fpr in rates for rates in resolved):
            yield (
                f"true-positive rates at {100 * fpr:g}% false positives: {most:,} non-members, and a comparison takes "
                f"{round(FEWEST_ALARMS / fpr):,}"
            )


def _asked(row: Row) -> tuple[int, int]:
    """On how many members and non-members an attack was run."""
    return row["n_members"], row["n_non_members"]


def _stronger_elsewhere(
    pairs: Sequence[tuple[Row, Row]], before: Version, after: Version, fprs: Sequence[float]
) -> Iterator[str]:
    """An attack that decides on a version, by its AUC or by what it finds, and has nothing to be compared with."""
    for place, version in enumerate((before, after)):
        here = {key_of(pair[place]) for pair in pairs}
        told = dict[tuple[str, str], str]()
        for fpr in (None, *fprs):
            best = max(version.audit["attacks"], key=lambda row: strength(row, fpr))
            if key_of(best) not in here:
                figure = f"AUC {best['auc']:.3f}" if fpr is None else _found_at(best, fpr)
                told.setdefault(
                    key_of(best),
                    f"{STRONGEST} on {version.name}: {best['name']} ({phrase_of(best)}), {figure}, was not run in the same "
                    "way on both",
                )
        yield from told.values()


def _found_at(row: Row, fpr: float) -> str:
    return f"{100 * strength(row, fpr):.1f}% of members at {100 * fpr:g}% false positives"


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
        figure_of(LEAKAGE, name, one, paired, "rate" if place else "area")
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
    results = [joined_rows(areas, best)]
    for fpr in fprs:
        top = [max((_rate(pair[place], fpr, alpha / len(part)) for pair in part), key=_value) for place in (0, 1)]
        results.append(joined_rows([measured for measured, _ in top], [row for _, row in top]))
    return results


def _rate(row: Row, fpr: float, alpha: float) -> tuple[Measured, Row]:
    return rate_at((row["roc"]["fpr"], row["roc"]["tpr"]), *counts_of(row), fpr, alpha), row


def _value(measured: tuple[Measured, Row]) -> float:
    return measured[0].value
