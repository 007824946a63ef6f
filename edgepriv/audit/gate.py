"""Limits for a release pipeline: ``--fail-if "auc>0.55"``.

A limit is about the worst attack, whichever examples it was run on and in whichever direction it tells members from others
(one that is reversed is judged reversed: an AUC of 0.14 beyond chance is a leak of 0.86). It is compared with the point
estimate: the interval is named, so that a reader sees when few examples decide. A true-positive rate that no attack can
resolve with so few non-members is an error, never a pass; if only some cannot (attacks on a part of the candidates), the
others decide and the sentence names those that were not judged. An attack that was asked for by its name and left out is an
error as well. Where members and non-members differ in themselves, a low figure is no pass, and one that the difference
explains is not exceeded either: an error. ``precision@`` is at the prior that ``--prior`` states, and refused without one.
``canary_tpr@`` is about the canaries alone, by the attack that finds most of them; of a model that was trained without canaries
it is an error. A comparison with an earlier version (``baseline``) is judged among the limits, and by the same rules.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgepriv.audit.assess import FALSE_POSITIVE_RATES
from edgepriv.audit.canaries import headline_of, twin_in_words
from edgepriv.audit.knowledge import phrase_of
from edgepriv.audit.shift import explains
from edgepriv.audit.significance import REVERSED
from edgepriv.errors import UserError

_LIMIT = re.compile(
    r"\s*(?P<measure>auc|(?:(?:canary_)?tpr|precision)@(?P<fpr>[0-9.]+)|robust_accuracy|clean_accuracy)\s*(?P<sign>[<>])\s*(?P<value>[0-9.]+)\s*"
)
CANARIES = "canary_tpr"
PRECISION = "precision"
COMPARED = ("auc", "tpr", PRECISION)
"""Measures that compare members with non-members."""
_MEASURES = (
    "auc>0.55, tpr@0.01>0.03, tpr@0.001>0.01, precision@0.01>0.5 (with --prior), canary_tpr@0.001>0.1, robust_accuracy<0.6 or "
    "clean_accuracy<0.9"
)


@dataclass(frozen=True)
class Limit:
    """Exceeded when ``measure`` is on the wrong side of ``value``: ``sign`` ">" or "<". ``fpr``: of a ``tpr@`` measure."""

    text: str
    measure: str
    fpr: float | None
    sign: str
    value: float


def parse_limit(text: str) -> Limit:
    """Read one limit.

    Args:
        text: such as "auc>0.55" or "tpr@0.01>0.03".

    Returns:
        The limit.

    Raises:
        UserError: for anything else; it names the known measures.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UserError(f"--fail-if {text!r}: expected {_MEASURES}")
    try:
        fpr, value = float(match["fpr"]) if match["fpr"] else None, float(match["value"])
    except ValueError:
        raise UserError(f"--fail-if {text!r}: the limit is not a number") from None
    measure = match["measure"].split("@")[0]
    if fpr is not None and fpr not in FALSE_POSITIVE_RATES:
        raise UserError(
            f"--fail-if {text!r}: known are {', '.join(f'{measure}@{known:g}' for known in FALSE_POSITIVE_RATES)}"
        )
    if value > 1:  # a limit in percent would be met by every model
        raise UserError(f"--fail-if {text!r}: the limit is a share from 0 to 1, such as 0.55 for 55%")
    return Limit(text, measure, fpr, match["sign"], value)


def refuse_without_prior(limits: Sequence[Limit], prior: float | None) -> None:
    """Refuse limits on a precision where nobody says how many of the records are members.

    Args:
        limits: that were asked for.
        prior: share of members that was stated; None for none.

    Raises:
        UserError: for the first of these limits.
    """
    for limit in limits:
        if limit.measure == PRECISION and prior is None:
            raise UserError(
                f"--fail-if {limit.text!r}: a precision is of a share of members among all records, so state that share, such "
                "as --prior 0.01"
            )


def judged(limits: Sequence[Limit], audit: dict[str, Any]) -> list[dict[str, str]]:
    """``limits`` of the audit's JSON.

    Args:
        limits: that were asked for.
        audit: the content of the JSON.

    Returns:
        ``limit``, ``outcome`` ("exceeded", "met" or "not measured") and ``sentence`` for each.
    """
    return [
        {"limit": limit.text, **dict(zip(("outcome", "sentence"), _judge(limit, audit), strict=True))}
        for limit in limits
    ]


def exceeded(outcomes: Sequence[dict[str, str]]) -> list[str]:
    """What of the limits an audit exceeds.

    Args:
        outcomes: of ``judged``, and of ``baseline.judged_against``.

    Returns:
        One sentence for each, naming the attack, then those for limits that were not measured; empty where all are met.

    Raises:
        UserError: where none is exceeded, for those that were not measured.
    """
    unknown = [f"{_option(limit)}: {limit['sentence']}" for limit in outcomes if limit["outcome"] == "not measured"]
    sentences = [limit["sentence"] for limit in outcomes if limit["outcome"] == "exceeded"]
    if unknown and not sentences:
        raise UserError("; ".join(unknown))
    return [*sentences, *unknown]


def _option(limit: dict[str, str]) -> str:
    text = limit["limit"]
    return f"--{text}" if text.startswith("baseline ") else f"--fail-if {text!r}"


@dataclass(frozen=True)
class _Value:
    """A measured number, its interval if there is one, and what gave it."""

    number: float
    interval: Sequence[float] | None
    by: str

    def __str__(self) -> str:
        bounds = "" if self.interval is None else f" [{self.interval[0]:.4f}, {self.interval[1]:.4f}]"
        return f"{self.number:.4f}{bounds} ({self.by})"


def _judge(limit: Limit, audit: dict[str, Any]) -> tuple[str, str]:
    values, unresolved = _values(limit, audit)
    bound = (audit["robustness"] or {}).get("at_most") if limit.measure == "robust_accuracy" and not values else None
    if bound is not None and limit.sign == "<" and bound < limit.value:
        return "exceeded", f"{limit.text} is exceeded: at most {bound:.4f}, as its gradients are of no use"
    if bound is not None:
        reasons = audit["robustness"]["warnings"]
        return "not measured", "; ".join([f"robust accuracy is known to be at most {bound:.4f}, and no more", *reasons])
    if not values:
        return "not measured", "; ".join(["this audit did not measure it", *unresolved])
    explained = _explained(limit, audit)
    if explained:
        return "not measured", explained
    above = limit.sign == ">"
    worst = (max if above else min)(values, key=lambda value: value.number)
    if worst.number > limit.value if above else worst.number < limit.value:
        return "exceeded", f"{limit.text} is exceeded: {worst}"
    if limit.measure in COMPARED and (audit.get("shift") or {}).get("found"):
        return "not measured", (
            "members and non-members differ in themselves, so a low figure is no pass: take non-members from the same source "
            "as members"
        )
    missing = [] if limit.measure.endswith("accuracy") or limit.measure == CANARIES else _asked_for_and_left_out(audit)
    if missing:
        return "not measured", f"asked for, and left out: {_named(missing)}"
    sentence = f"{limit.text} is not exceeded: {'at most' if above else 'at least'} {worst}"
    return "met", "; ".join([sentence, *(f"not judged: {reason}" for reason in unresolved)])


def _explained(limit: Limit, audit: dict[str, Any]) -> str:
    """Why attacks decide nothing where members and non-members differ before any model has seen them; empty where they do.

    Only a figure beyond what the difference explains says something of the model; without one, neither a high figure is a leak
    nor a low one a pass, as a leak against the difference would be hidden.
    """
    if limit.measure not in COMPARED:
        return ""
    shift = audit.get("shift")
    if shift is None or not shift["found"] or not all(explains(shift, attack) for attack in audit["attacks"]):
        return ""
    worst = max(audit["attacks"], key=lambda attack: attack["auc"])
    low, high = shift["auc_ci"]
    return (
        f"members and non-members differ in themselves: {shift['seen']} alone tell them apart with AUC {shift['auc']:.4f} "
        f"[{low:.4f}, {high:.4f}], which explains what the attacks find (at most {worst['auc']:.4f}, {worst['name']}), so the "
        "limit is neither kept nor exceeded: take non-members from the same source as members"
    )


def _values(limit: Limit, audit: dict[str, Any]) -> tuple[list[_Value], list[str]]:
    """What the limit is about, and the attacks that could not resolve it, by reason."""
    if limit.measure in {"robust_accuracy", "clean_accuracy"}:
        robustness = audit["robustness"]
        if robustness is None:
            return [], ["no perturbed inputs were tried (--robust none)"]
        key, interval = (
            ("worst_case_accuracy", "ci") if limit.measure == "robust_accuracy" else ("clean_accuracy", "clean_ci")
        )
        by = f"{robustness['norm']} eps {robustness['eps']:.4g}"
        value = robustness.get(key)
        return ([] if value is None else [_Value(value, robustness.get(interval), by)]), []
    if limit.measure == CANARIES:
        return _of_canaries(limit, audit)
    values, unresolved = [], dict[str, list[str]]()
    for attack in audit["attacks"]:
        turned = ", reversed" if attack.get("direction") == REVERSED else ""
        by = f"{attack['name']}{turned}, {phrase_of(attack)}"
        if limit.fpr is None:
            values.append(_Value(attack["auc"], attack.get("auc_ci_simultaneous", attack["auc_ci"]), by))
            continue
        rates = attack.get("precision_at_fpr", {}) if limit.measure == PRECISION else attack["tpr_at_fpr"]
        rate = next((rate for fpr, rate in rates.items() if float(fpr) == limit.fpr), None)
        if rate is None:
            return [], ["the audit was not told a prior (--prior)"]
        if rate["value"] is None:
            unresolved.setdefault(rate["note"], []).append(by)
        else:
            values.append(_Value(rate["value"], rate.get("ci_simultaneous", rate["ci"]), by))
    return values, [f"{_named(names)} ({reason})" for reason, names in unresolved.items()]


def _of_canaries(limit: Limit, audit: dict[str, Any]) -> tuple[list[_Value], list[str]]:
    """What the limit is about where it is of canaries."""
    part = audit.get("canaries")
    if part is None:
        twin = twin_in_words(audit.get("audit_twin"))
        return [], [twin or "the model was trained without canaries (edgepriv train --canaries)"]
    if not part["attacks"]:
        return [], [part.get("not_run") or "; ".join(f"{row['name']}: {row['reason']}" for row in part["left_out"])]
    values, unresolved = [], dict[str, None]()
    for row in part["attacks"]:
        rate = headline_of(row)["tpr_at_fpr"][str(limit.fpr)]
        if rate["value"] is None:
            unresolved[rate["note"]] = None
        else:
            values.append(_Value(rate["value"], rate["ci"], f"canaries, {row['name']}, {phrase_of(row)}"))
    return values, list(unresolved)


def _asked_for_and_left_out(audit: dict[str, Any]) -> list[str]:
    """Attacks that were named and could not be run, with the reason; what ``all`` and ``quick`` leave out is not named."""
    asked = audit.get("settings", {}).get("audit", {}).get("attacks", "")
    named = {name.strip() for name in asked.split(",")}
    return [f"{row['name']} ({row['reason']})" for row in audit.get("left_out", ()) if row["name"] in named]


def _named(attacks: Sequence[str]) -> str:
    """The first two, and how many more."""
    shown = "; ".join(attacks[:2])
    return shown if len(attacks) <= 2 else f"{shown}; and {len(attacks) - 2} more"
