"""What the verbs return: frozen, with fields, as JSON, and readable on a terminal and in a notebook."""

from edgepriv.api.results.base import Result, Row, Rows
from edgepriv.api.results.examined import Attacks, Audited, Benched, Compared, Defences, Shown
from edgepriv.api.results.made import Exported, Hardened, Trained, Tuned

__all__ = [
    "Attacks",
    "Audited",
    "Benched",
    "Compared",
    "Defences",
    "Exported",
    "Hardened",
    "Result",
    "Row",
    "Rows",
    "Shown",
    "Trained",
    "Tuned",
]
