"""What the combination of several releases finds that the best attack on a single one does not."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np

from edgepriv.audit import statistics
from edgepriv.audit.assess import FALSE_POSITIVE_RATES
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.moments import correlation
from edgepriv.audit.change.leakage import FEWEST_ALARMS
from edgepriv.audit.clustered import Groups
from edgepriv.audit.differences import Difference, Scored, Side, strongest_difference
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.knowledge import attacker_in
from edgepriv.audit.lineage import IN_WORDS
from edgepriv.audit.releases import Others, Release
from edgepriv.audit.ties import settled
from edgepriv.audit.trained_answers import References

ALONE = ("lira-offline", "lira-online", "rmia-offline", "rmia-online")
"""Attacks on each other release by itself: those that are combined."""
MORE, LESS, NOISE = "more", "less", "within noise"

Row = Mapping[str, Any]


def combined_part(
    rows: Sequence[Row],
    scores: Mapping[str, np.ndarray],
    releases: Sequence[Release],
    known: Others,
    references: References,
    *,
    file: str,
    threat_model: str,
    seed: int,
) -> dict[str, Any]:
    """``releases`` of the audit.

    Args:
        rows: of the audit's ``attacks``.
        scores: of the audit, by "threat model/attack".
        releases: beside the audited file.
        known: what the attacker knows of them.
        references: of the audited file.
        file: name of the audited file.
        threat_model: whose reference models they are.
        seed: of draws.

    Returns:
        ``threat_model``. ``files``: of each other release ``file``, ``sha256``, ``relation`` with ``why``, ``training`` (equal
        numbers are one training, 0 that of the audited file), whose ``references`` stand for it, ``correlation`` of the scores
        of paired reference models with those of the audited file (``in``, ``out``; None where they do not vary) and ``alone``,
        the attacks on it by itself (``name``, ``auc``, ``auc_ci``). ``figures``: for the AUC and each rate that can be
        compared, ``single`` and ``combined`` of the strongest attacks with their names, their ``difference`` with ``ci``, and
        ``verdict``: "more", "less" or "within noise". ``not_run``: why there are none, else None. ``sentence``. As JSON.
    """
    member, groups = scores["member"], scores.get("group")
    everyone = np.arange(len(member))
    single = [
        Scored(f"{row['name']} on {file}", scores[f"{row['threat_model']}/{row['name']}"], everyone)
        for row in rows
        if attacker_in(row) != "releases" and len(scores[f"{row['threat_model']}/{row['name']}"]) == len(member)
    ]
    both = [
        Scored(row["name"], scores[f"{row['threat_model']}/{row['name']}"], everyone)
        for row in rows
        if attacker_in(row) == "releases"
    ]
    files = []
    for release, evidence in zip(releases, known.evidence, strict=True):
        alone = _alone(evidence, release.model.name)
        single += alone
        files.append(_file(release, evidence, references, alone, member, groups))
    figures = []
    if single and both:
        fprs = [fpr for fpr in FALSE_POSITIVE_RATES if _others(member, groups) * fpr + 1e-9 >= FEWEST_ALARMS]
        alpha = statistics.ALPHA / (1 + len(fprs))
        sides = Side(single, member, groups), Side(both, member, groups)
        differing = strongest_difference(*sides, fprs, paired=True, seed=seed, alpha=alpha)
        figures = [_figure(fpr, one) for fpr, one in zip((None, *fprs), differing, strict=True)]
    why_not = None if figures else "no attack on several releases was run (left out)"
    part = {"threat_model": threat_model, "files": files, "figures": figures, "not_run": why_not}
    return part | {"sentence": in_words(part)}


def in_words(part: Mapping[str, Any]) -> str:
    """What the combination adds.

    Args:
        part: ``releases`` of an audit, but for its sentence.

    Returns:
        Sentences.
    """
    told = [f"{row['file']} is {IN_WORDS[row['relation']]} ({row['why']}{_alike(row)})" for row in part["files"]]
    if part["not_run"]:
        return "; ".join([*told, f"nothing is combined: {part['not_run']}"])
    return "; ".join([*told, *map(_adds, part["figures"])])


def _adds(row: Row) -> str:
    what = "AUC" if row["fpr"] is None else f"members found at {100 * row['fpr']:g}% false positives"

    def figure(value: float, sign: str = "") -> str:
        return f"{value:{sign}.3f}" if row["fpr"] is None else f"{100 * value:{sign}.1f}%"

    low, high = (figure(end, "+") for end in row["ci"])
    return (
        f"{what} {figure(row['combined'])} by {row['by_combined']} against {figure(row['single'])} by the best single attack, "
        f"{row['by_single']}: {figure(row['difference'], '+')} ({low} to {high}), {row['verdict']}"
    )


def _alike(row: Row) -> str:
    if row["references"] != "its own":
        return "; the reference models of the audited file stand for it too"
    known = [value for value in row["correlation"].values() if value is not None]
    return f"; scores of reference models correlate by {np.mean(known):.2f}" if known else ""


def _alone(evidence: Evidence, file: str) -> list[Scored]:
    """The attacks that are combined, on one other release by itself."""
    scored = []
    for name in ALONE:
        try:
            run, _ = ATTACKS[name].tuned(evidence)
            values = settled(run(evidence))
        except Unavailable:
            continue
        scored.append(Scored(f"{name} on {file}", values, np.arange(len(values))))
    return scored


def _file(
    release: Release,
    evidence: Evidence,
    references: References,
    alone: Sequence[Scored],
    member: np.ndarray,
    groups: Groups,
) -> dict[str, Any]:
    alike = (float("nan"), float("nan"))
    if evidence.references is not None and release.recipe is not None:
        alike = correlation(references, evidence.references)
    rows = []
    for one, name in zip(alone, [each.name.split(" on ")[0] for each in alone], strict=True):
        area, interval = statistics.auc(one.scores, member, groups)
        rows.append({"name": name, "auc": area, "auc_ci": list(interval)})
    return {
        "file": release.model.name,
        "sha256": release.model.sha256,
        "relation": release.relation,
        "why": release.why,
        "training": release.training,
        "references": "its own" if release.recipe is not None else "those of the audited file",
        "correlation": {
            side: None if isnan(value) else value for side, value in zip(("in", "out"), alike, strict=True)
        },
        "alone": rows,
    }


def _others(member: np.ndarray, groups: Groups) -> int:
    """Non-members, or persons among them."""
    return int((~member).sum()) if groups is None else len(np.unique(groups[~member]))


def _figure(fpr: float | None, one: Difference) -> dict[str, Any]:
    low, high = one.ci
    return {
        "fpr": fpr,
        "single": one.before,
        "combined": one.after,
        "difference": one.after - one.before,
        "ci": [float(low), float(high)],
        "by_single": one.by_before,
        "by_combined": one.by_after,
        "verdict": MORE if low > 0 else LESS if high < 0 else NOISE,
    }
