"""What an attack is: a function from evidence to one score for each candidate."""

from collections.abc import Callable
from dataclasses import dataclass

from edgepriv.audit.evidence import Evidence, Floats


class Unavailable(Exception):
    """This attack cannot be run on this evidence; the message is the reason that the audit prints."""


@dataclass(frozen=True)
class Attack:
    """A membership inference attack.

    name: the registry's key. title: for people. paper: where it comes from. needs: what must be in the evidence, of
    "labels", "shadow", "references", "population". run: Evidence -> float64 [n], finite, higher = more likely a
    member; raises Unavailable with the reason if the evidence is too thin.
    """

    name: str
    title: str
    paper: str
    needs: frozenset[str]
    run: Callable[[Evidence], Floats]
