"""The two ways in which a command may fail on purpose; everything else is a bug."""

from typing import Any


class UserError(Exception):
    """Bad input. The message is one sentence: what is wrong, where, what to do. Exit code 2."""


class GateFailed(Exception):
    """A limit given with ``--fail-if`` was exceeded. Exit code 3. ``audit``: what was measured and written all the same."""

    def __init__(self, message: str, audit: dict[str, Any]) -> None:
        super().__init__(message)
        self.audit = audit
