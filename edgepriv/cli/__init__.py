"""The command line."""

from edgepriv.cli.app import app
from edgepriv.cli.messages import run

__all__ = ["app", "main"]


def main() -> None:
    """``edgepriv``: run the command that was asked for."""
    run(app)
