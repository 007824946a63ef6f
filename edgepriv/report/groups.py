"""Rows of an audit in an order that a reader can follow: attacks by kind, pairs side by side, reasons once each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from edgepriv.audit.attacks import ATTACKS

ADVERSARIAL = "adversarial/"
KINDS = {
    "references": ("Reference models", "compare the answer with those of models trained with and without the record"),
    "shadow": ("Shadow model", "learn on one model of their own how answers on members look"),
    "answer": ("The answers alone", "look at the answers of the file; no model like it is trained"),
    "adversarial": ("Perturbed queries", "ask about the record after changing it so that the model errs if it can"),
    "label-only": ("Labels only", "see the predicted label and nothing else, and ask many times"),
    "other": ("Other", "of other kinds"),
}
"""Kind -> its title, and what attacks of that kind do."""

Row = Mapping[str, Any]


def kind(attack: Row) -> str:
    """The kind of one attack's row, by how it asks and what it needs."""
    queries = attack.get("queries", "clean")
    if queries in ("adversarial", "label-only"):
        return str(queries)
    known = ATTACKS.get(attack["name"])
    if known is None:
        return "other"
    return next((need for need in ("references", "shadow") if need in known.needs), "answer")


def by_strength(attacks: Iterable[Row]) -> list[Row]:
    """Largest AUC first."""
    return sorted(attacks, key=lambda attack: -attack["auc"])


def by_kind(attacks: Iterable[Row]) -> dict[str, list[Row]]:
    """Kind -> its attacks, strongest first; the kind with the strongest attack first."""
    groups: dict[str, list[Row]] = {}
    for attack in by_strength(attacks):
        groups.setdefault(kind(attack), []).append(attack)
    return groups


def counts(attack: Row, utility: Row) -> tuple[int, int]:
    """Members and non-members that an attack was judged on: all candidates, unless the row says that it was a part."""
    return attack.get("n_members", utility["n_members"]), attack.get("n_non_members", utility["n_non_members"])


def by_threat_model(attacks: Sequence[Row]) -> Iterator[tuple[str, Row, Row]]:
    """(name, oblivious row, adaptive row) of every attack that was run by both attackers, in the order given."""
    rows = {(attack["name"], attack["threat_model"]): attack for attack in attacks}
    for name in dict.fromkeys(attack["name"] for attack in attacks):
        oblivious, adaptive = rows.get((name, "oblivious")), rows.get((name, "adaptive"))
        if oblivious and adaptive:
            yield name, oblivious, adaptive


def by_queries(attacks: Sequence[Row]) -> Iterator[tuple[str, Row, Row]]:
    """(name, row on clean queries, row on adversarial queries) of every attack that was run on both, by one attacker."""
    clean = {(row["name"], row["threat_model"]): row for row in attacks if row.get("queries", "clean") == "clean"}
    for row in attacks:
        twin = clean.get((row["name"].removeprefix(ADVERSARIAL), row["threat_model"]))
        if row.get("queries") == "adversarial" and twin is not None:
            yield f"{twin['name']} ({row['threat_model']})", twin, row


def reasons(left_out: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """(names, reason): each reason once, with the attacks that it left out, and by whom they would have been run."""
    by_reason: dict[str, dict[str, list[str]]] = {}
    for row in left_out:
        names = by_reason.setdefault(row["reason"], {})
        names.setdefault(row["name"], []).append(row.get("threat_model", ""))
    for reason, names in by_reason.items():
        by_attackers: dict[str, list[str]] = {}
        for name, attackers in names.items():
            by_attackers.setdefault(" and ".join(filter(None, attackers)), []).append(name)
        for who, together in by_attackers.items():
            yield ", ".join(together) + (f" ({who})" if who else ""), reason
