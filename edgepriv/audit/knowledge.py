"""What an attacker must have to run an attack: answers alone, the file, what is known of its training, or more releases.

Four phrases, each of which includes those before it. An attack counts as the least of them that has all that it needs.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from edgepriv.audit.attacks import ATTACKS

Attacker = Literal["answers", "file", "training", "releases"]

PHRASES: dict[Attacker, str] = {
    "answers": "asks for answers",
    "file": "holds the file",
    "training": "knows the training",
    "releases": "holds several releases",
}
"""The word for an attacker in the audit's JSON -> the phrase for people; the weakest first."""

WITHOUT_DEFENCE = "knows the training, not the defence"
"""The phrase for an attacker who trains models of their own without the model's defence (threat model ``oblivious``)."""

MEANINGS: dict[Attacker, str] = {
    "answers": "can ask the file, or a service that runs it, about any record, and sees the answer",
    "file": "has the weights as well, and so gradients, and can cut off what stands behind the logits",
    "training": "has records of the same kind as well, and trains models as this one was trained, to compare with",
    "releases": "has other releases of the model as well, and combines what each of them tells",
}
"""What each attacker has; an attacker has what those before have too."""

OF_NEEDS: dict[str, Attacker] = {
    "labels": "answers",
    "scores": "answers",
    "label-queries": "answers",
    "augmentation": "answers",
    "generated": "answers",
    "population inputs": "answers",
    "gradients": "file",
    "weights": "file",
    "shadow": "training",
    "references": "training",
    "population": "training",
    "releases": "releases",
}
"""What an attack needs (``edgepriv.audit.attacks.NEEDS``) -> the attacker who has it. Records of one's own whose answers the
attacker asks for ("population inputs") need nothing but answers; models trained like the target need the training."""


def attacker_of(name: str, threat_model: str, *, cut: bool = False) -> Attacker:
    """The weakest attacker who can run an attack.

    Args:
        name: of the attack.
        threat_model: "none", "oblivious" or "adaptive", which decides for an attack that is not in ``ATTACKS``.
        cut: whether the file was audited without its head, which nobody can do without holding it.

    Returns:
        A key of ``PHRASES``.
    """
    known = ATTACKS.get(name)
    if known is None:
        needed: set[Attacker] = {"training" if threat_model in ("adaptive", "oblivious") else "answers"}
    else:
        needed = {OF_NEEDS[need] for need in known.needs}
    order = list(PHRASES)
    return max({*needed, "file" if cut else "answers"}, key=order.index)


def with_attackers(rows: Iterable[Mapping[str, Any]], *, cut: bool) -> list[dict[str, Any]]:
    """Rows of attacks with ``attacker``, a key of ``PHRASES``.

    Args:
        rows: of an audit's ``attacks`` or ``left_out``: ``name`` and ``threat_model``.
        cut: whether the file was audited without its head.

    Returns:
        New rows.
    """
    return [{**row, "attacker": attacker_of(row["name"], row.get("threat_model", ""), cut=cut)} for row in rows]


def attacker_in(row: Mapping[str, Any]) -> Attacker:
    """The attacker of a row, also of an audit that was written before rows named one.

    Args:
        row: of an audit's ``attacks`` or ``left_out``.

    Returns:
        A key of ``PHRASES``.
    """
    named = row.get("attacker")
    return named if named in PHRASES else attacker_of(row["name"], row.get("threat_model", ""))


def phrase_of(row: Mapping[str, Any]) -> str:
    """What the attacker of a row has, in the words of every table.

    Args:
        row: of an audit's ``attacks`` or ``left_out``.

    Returns:
        One of ``PHRASES``; ``WITHOUT_DEFENCE`` where models of their own were trained without the model's defence.
    """
    attacker = attacker_in(row)
    oblivious = attacker == "training" and row.get("threat_model") == "oblivious"
    return WITHOUT_DEFENCE if oblivious else PHRASES[attacker]


def reaches(attacker: Attacker, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The attacks that an attacker can run: their own, and those of every weaker one.

    Args:
        attacker: a key of ``PHRASES``.
        rows: of an audit's ``attacks``.

    Returns:
        Some of the rows, in the order given.
    """
    order = list(PHRASES)
    return [row for row in rows if order.index(attacker_in(row)) <= order.index(attacker)]


def each_attacker(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Attacker, list[Mapping[str, Any]]]]:
    """The attackers who have an attack of their own, the weakest first.

    Args:
        rows: of an audit's ``attacks``.

    Yields:
        A key of ``PHRASES``, and the attacks that need no more and no less.
    """
    every = list(rows)
    for attacker in PHRASES:
        own = [row for row in every if attacker_in(row) == attacker]
        if own:
            yield attacker, own
