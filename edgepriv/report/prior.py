"""How sure an attacker may be of those that an attack names, at a prior that was stated."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgepriv.audit.knowledge import phrase_of
from edgepriv.report.formatting import attack_name, rate, with_interval
from edgepriv.report.verdict import Finding, beyond_guessing, chosen_ci, strongest

FPRS = ("0.01", "0.001")


def at_prior(audit: Mapping[str, Any] | None) -> Iterator[Finding]:
    """The precision of the strongest attack, with the interval that holds for whichever was chosen.

    Args:
        audit: content of model.audit.json, or None.

    Yields:
        One finding; nothing where no prior was stated or no attack was run.
    """
    prior = (audit or {}).get("prior")
    best = None if audit is None or prior is None else strongest(audit["attacks"])
    if audit is None or prior is None or best is None:
        return
    measured = [(fpr, best["precision_at_fpr"][fpr]) for fpr in FPRS]
    told = [
        f"{with_interval(one['value'], chosen_ci(one), rate)} at {100 * float(fpr):g}% false alarms"
        for fpr, one in measured
        if one["value"] is not None
    ]
    several = len(audit["attacks"]) > 1 and any("ci_simultaneous" in one for _, one in measured)
    chosen = f" Intervals hold for all {len(audit['attacks'])} attacks at once." if told and several else ""
    guess = "" if beyond_guessing(audit["attacks"]) else "; no attack is beyond guessing"
    what = " and ".join(told) or "not known, as neither rate of false alarms names anybody or can be resolved"
    yield Finding(
        "Precision at the prior",
        f"If {rate(prior)} of the records that an attacker meets are members, the share of members among those that "
        f"{attack_name(best)} ({phrase_of(best)}) names is {what} (guessing: {rate(prior)}{guess}).{chosen}",
    )


def precision_cells(attack: Mapping[str, Any]) -> list[str]:
    """The precision at 1% and at 0.1% false positives, as text.

    Args:
        attack: a row of an audit's ``attacks``.

    Returns:
        Percentages with the attack's own 95% intervals; "-" where there is none.
    """
    return [_cell(attack, fpr) for fpr in FPRS]


def precision_notes(attacks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why there are dashes among them.

    Args:
        attacks: rows of an audit's ``attacks``.

    Returns:
        One line for each reason.
    """
    notes = dict.fromkeys(attack["precision_at_fpr"][fpr].get("note", "") for attack in attacks for fpr in FPRS)
    return [f"-: {note}" for note in notes if note]


def _cell(attack: Mapping[str, Any], fpr: str) -> str:
    measured = attack["precision_at_fpr"][fpr]
    return "-" if measured["value"] is None else with_interval(measured["value"], measured["ci"], rate)
