"""Rows of an audit in an order that a reader can follow: attacks by kind, pairs side by side, reasons once each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.knowledge import PHRASES, WITHOUT_DEFENCE, phrase_of

ADVERSARIAL = "adversarial/"
KINDS = {
    "references": ("Reference models", "compare the answer with those of models trained with and without the record"),
    "shadow": ("Shadow model", "learn on one model of their own how answers on members look"),
    "answer": ("The answers alone", "look at the answers of the file; no model like it is trained"),
    "adversarial": ("Perturbed queries", "ask about the record after changing it so that the model errs if it can"),
    "label-only": ("Labels only", "see the predicted label and nothing else, and ask many times"),
    "white-box": ("Weights", "read gradients and activations from the weights, whatever the file answers"),
    "other": ("Other", "of other kinds"),
}
"""Kind -> its title, and what attacks of that kind do."""

Row = Mapping[str, Any]


def kind(attack: Row) -> str:
    """The kind of an attack, by how it asks and what it needs.

    Args:
        attack: a row of the audit's ``attacks``.

    Returns:
        A key of ``KINDS``; "other" for clean queries of an attack that is not in ``ATTACKS``.
    """
    queries = attack.get("queries", "clean")
    if queries in ("adversarial", "label-only", "white-box"):
        return str(queries)
    known = ATTACKS.get(attack["name"])
    if known is None:
        return "other"
    return next((need for need in ("references", "shadow") if need in known.needs), "answer")


def by_strength(attacks: Iterable[Row]) -> list[Row]:
    """Attacks in order, the largest AUC first.

    Args:
        attacks: rows of an audit's ``attacks``.

    Returns:
        A new list; rows of the same AUC stay in the order given.
    """
    return sorted(attacks, key=lambda attack: -attack["auc"])


def by_kind(attacks: Iterable[Row]) -> dict[str, list[Row]]:
    """Attacks by kind, the kind with the strongest attack first.

    Args:
        attacks: rows of an audit's ``attacks``.

    Returns:
        Kind, a key of ``KINDS`` -> its attacks, strongest first.
    """
    groups: dict[str, list[Row]] = {}
    for attack in by_strength(attacks):
        groups.setdefault(kind(attack), []).append(attack)
    return groups


def counts(attack: Row, utility: Row) -> tuple[int, int]:
    """How many candidates an attack was judged on: all of them, unless its row says that it was a part.

    Args:
        attack: a row of the audit's ``attacks``.
        utility: ``utility`` of the audit, with ``n_members`` and ``n_non_members`` of all candidates.

    Returns:
        Numbers of members and of non-members.
    """
    return attack.get("n_members", utility["n_members"]), attack.get("n_non_members", utility["n_non_members"])


def by_threat_model(attacks: Sequence[Row]) -> Iterator[tuple[str, Row, Row]]:
    """Every attack that was run by both attackers, the oblivious and the adaptive.

    Args:
        attacks: rows of an audit's ``attacks``.

    Yields:
        Name, oblivious row, adaptive row; in the order in which the names first occur.
    """
    rows = {(attack["name"], attack["threat_model"]): attack for attack in attacks}
    for name in dict.fromkeys(attack["name"] for attack in attacks):
        oblivious, adaptive = rows.get((name, "oblivious")), rows.get((name, "adaptive"))
        if oblivious and adaptive:
            yield name, oblivious, adaptive


def by_queries(attacks: Sequence[Row]) -> Iterator[tuple[str, Row, Row]]:
    """Every attack that one attacker ran both on clean and on adversarial queries.

    Args:
        attacks: rows of an audit's ``attacks``.

    Yields:
        Name with the attacker in brackets, row on clean queries, row on adversarial queries; in the order of the latter.
    """
    clean = {(row["name"], row["threat_model"]): row for row in attacks if row.get("queries", "clean") == "clean"}
    for row in attacks:
        twin = clean.get((row["name"].removeprefix(ADVERSARIAL), row["threat_model"]))
        if row.get("queries") == "adversarial" and twin is not None:
            yield f"{twin['name']} ({phrase_of(twin)})", twin, row


def reasons(left_out: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """Why attacks were left out: each reason with the attacks that it left out, and by whom they would have been run.

    Args:
        left_out: rows of an audit's ``left_out``: ``name``, ``reason``, and ``threat_model`` where an attacker is known.

    Yields:
        Names joined by commas with their attackers in brackets, and the reason. A reason comes once for each set of attackers.
    """
    by_reason: dict[str, dict[str, list[str]]] = {}
    for row in left_out:
        names = by_reason.setdefault(row["reason"], {})
        names.setdefault(row["name"], []).append(phrase_of(row) if row.get("threat_model") else "")
    for reason, names in by_reason.items():
        by_attackers: dict[str, list[str]] = {}
        for name, attackers in names.items():
            by_attackers.setdefault(_together(attackers), []).append(name)
        for who, together in by_attackers.items():
            yield ", ".join(together) + (f" ({who})" if who else ""), reason


def _together(attackers: Sequence[str]) -> str:
    """Who would have run an attack; who knows the training may know the defence or not."""
    phrases = dict.fromkeys(filter(None, attackers))
    if PHRASES["training"] in phrases:
        phrases.pop(WITHOUT_DEFENCE, None)
    return " and ".join(phrases)
