"""Which kinds of attack an audit has executed, which it has not, and which cannot be made on such a model; with the reason."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgepriv.audit.knowledge import PHRASES, Attacker, attacker_in
from edgepriv.report.formatting import budget, count

EXECUTED, NOT_RUN, NOT_APPLICABLE = "executed", "not run", "not applicable"
MEMBERSHIP, ATTRIBUTE, INVERSION = "membership inference", "attribute inference", "model inversion"
RECONSTRUCTION, EXTRACTION, EVASION = "reconstruction of records", "extraction of the model", "evasion"
REGURGITATION, PROPERTY, POISONING = "regurgitation of records", "property inference", "poisoning and backdoors"
NO_SUCH = "edgepriv has no such attack"

Row = dict[str, Any]


def coverage_of(audit: Mapping[str, Any]) -> list[Row]:
    """Every kind of attack that a reader may ask about, in a fixed order.

    Args:
        audit: content of model.audit.json.

    Returns:
        Rows of ``attack``, ``attacker`` (a key of ``knowledge.PHRASES``, or None), ``status`` (``EXECUTED``, ``NOT_RUN`` or
        ``NOT_APPLICABLE``) and ``reason``, in words.
    """
    return [
        *_membership(audit),
        _screen(ATTRIBUTE, audit.get("attribute_inference"), "--sensitive COLUMN, for a model of tables"),
        _screen(INVERSION, audit.get("class_inversion"), "this audit has no such screen"),
        _row(RECONSTRUCTION, NOT_RUN, NO_SUCH),
        _row(REGURGITATION, NOT_APPLICABLE, "the file answers with classes and returns no records"),
        _row(PROPERTY, NOT_RUN, NO_SUCH),
        _row(
            EXTRACTION,
            NOT_APPLICABLE,
            "the file ships, and whoever holds it has the model; copying it from the answers of a service was not tested",
        ),
        _evasion(audit.get("robustness")),
        _row(POISONING, NOT_RUN, f"{NO_SUCH}: who could change the training data is not asked"),
    ]


def _row(attack: str, status: str, reason: str, attacker: Attacker | None = None) -> Row:
    return {"attack": attack, "attacker": attacker, "status": status, "reason": reason}


def _membership(audit: Mapping[str, Any]) -> Iterator[Row]:
    for attacker in PHRASES:
        run = [row for row in audit["attacks"] if attacker_in(row) == attacker]
        missing = [row for row in audit.get("left_out", ()) if attacker_in(row) == attacker]
        reasons = list(dict.fromkeys(row["reason"] for row in missing))
        if run:
            left = f"; {len(missing):,} more {'was' if len(missing) == 1 else 'were'} left out" if missing else ""
            blind = attacker == "training" and all(row["threat_model"] == "oblivious" for row in run)
            without = ", by models trained without the defence alone" if blind else ""
            yield _row(MEMBERSHIP, EXECUTED, f"{count(len(run), 'attack')}{without}{left}", attacker)
            if blind:
                reason = "no models trained with the defence were asked for (--threat-model adaptive)"
                yield _row(MEMBERSHIP, NOT_RUN, reason, attacker)
        else:
            otherwise = (
                "no other release was named (--also)" if attacker == "releases" else "no such attack was asked for"
            )
            yield _row(MEMBERSHIP, NOT_RUN, "; ".join(reasons[:2]) or otherwise, attacker)


def _screen(attack: str, part: Mapping[str, Any] | None, otherwise: str) -> Row:
    if part is None:
        return _row(attack, NOT_RUN, otherwise)
    return _row(attack, part["status"], part["reason"], part.get("attacker"))


def _evasion(robustness: Mapping[str, Any] | None) -> Row:
    if robustness is None:
        return _row(EVASION, NOT_RUN, "no perturbations were asked for (--robust none)")
    bounded = robustness["worst_case_accuracy"] is None
    if bounded and robustness.get("at_most") is None:
        return _row(EVASION, NOT_RUN, "; ".join(robustness["warnings"]) or "not measured")
    made = f"{count(len(robustness['attacks']), 'attack')}, {budget(robustness)}"
    if bounded:
        why = "; ".join(["an upper bound alone", *robustness["warnings"]])
        return _row(EVASION, EXECUTED, f"{made}, on {robustness['n']:,} non-members; {why}", "file")
    return _row(EVASION, EXECUTED, f"{made}, on {robustness['n']:,} non-members", "file")
