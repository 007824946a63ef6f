"""Limits for a release pipeline: ``--fail-if "auc>0.55"``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgepriv.errors import UserError

_LIMIT = re.compile(
    r"\s*(?P<measure>auc|tpr@(?P<fpr>[0-9.]+)|robust_accuracy|clean_accuracy)\s*(?P<sign>[<>])\s*(?P<value>[0-9.]+)\s*"
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
    """Read one limit; raises UserError that names the known measures."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UserError(
            f"--fail-if {text!r}: expected auc>0.55, tpr@0.01>0.03, tpr@0.001>0.01, robust_accuracy<0.6 or clean_accuracy<0.9"
        )
    try:
        fpr = float(match["fpr"]) if match["fpr"] else None
        return Limit(text, match["measure"].split("@")[0], fpr, match["sign"], float(match["value"]))
    except ValueError:
        raise UserError(f"--fail-if {text!r}: the limit is not a number") from None


def exceeded(limits: Sequence[Limit], audit: dict[str, Any]) -> list[str]:
    """One sentence for each limit that the audit's point estimates exceed, naming the attack."""
    return [sentence for limit in limits if (sentence := _verdict(limit, audit))]


def _verdict(limit: Limit, audit: dict[str, Any]) -> str | None:
    values = _values(limit, audit)
    if not values:
        raise UserError(f"--fail-if {limit.text!r}: this audit did not measure it")
    worst, by = max(values) if limit.sign == ">" else min(values)
    wrong = worst > limit.value if limit.sign == ">" else worst < limit.value
    return f"{limit.text} is exceeded: {worst:.4f} ({by})" if wrong else None


def _values(limit: Limit, audit: dict[str, Any]) -> list[tuple[float, str]]:
    if limit.measure in {"robust_accuracy", "clean_accuracy"}:
        key = "worst_case_accuracy" if limit.measure == "robust_accuracy" else "clean_accuracy"
        value = audit["robustness"].get(key)
        return [] if value is None else [(value, f"{audit['robustness']['norm']} eps {audit['robustness']['eps']:.4g}")]
    found = []
    for attack in audit["attacks"]:
        value = attack["auc"] if limit.fpr is None else _tpr(attack, limit.fpr)
        if value is not None:
            found.append((value, f"{attack['name']}, {attack['threat_model']}"))
    return found


def _tpr(attack: dict[str, Any], fpr: float) -> float | None:
    known = {float(rate): entry["value"] for rate, entry in attack["tpr_at_fpr"].items()}
    if fpr not in known:
        raise UserError(f"tpr@{fpr:g} is not measured: known are {', '.join(f'tpr@{rate:g}' for rate in known)}")
    return known[fpr]
