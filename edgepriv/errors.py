"""The two ways in which a command may fail on purpose; everything else is a bug."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UserError(Exception):
    """Bad input. The message is one sentence: what is wrong, where, what to do. Exit code 2."""


class UnknownOption(UserError, TypeError):
    """A keyword that a function of the Python API does not have: bad input, and a wrong call."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: ``; did you mean 'latency'?``.

    Args:
        name: as it was given; upper and lower case count as the same.
        known: the names that there are.

    Returns:
        The question, empty where no known name is close.
    """
    known = list(known)
    lowered = {each.lower(): each for each in reversed(known)}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""


class GateFailed(Exception):
    """A limit given with ``--fail-if`` was exceeded. Exit code 3. ``audit``: what was measured and written all the same,
    as ``edgepriv.audit`` returns it."""

    def __init__(self, message: str, audit: Any) -> None:
        super().__init__(message)
        self.audit = audit
