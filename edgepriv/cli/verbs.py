"""What each command does: it calls the verb of its name with what was given, and prints what that returns."""

import contextlib
import sys
from collections.abc import Callable
from inspect import Parameter
from typing import Annotated, Any

import typer

from edgepriv import api
from edgepriv.api.results import Result
from edgepriv.cli.commands import COMMANDS
from edgepriv.cli.messages import note, print_result, warn
from edgepriv.cli.options import given, named
from edgepriv.errors import GateFailed, UserError

RETURNS = ("probabilities", "logits", "label")
OUTPUT = Parameter(
    "output",
    Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[str | None, typer.Option("--output", hidden=True)],
)
"""The former name of ``--returns``, on the commands whose file to write was never called ``--output``."""


def command(name: str) -> Any:
    """Build the command of a name.

    Args:
        name: key of ``COMMANDS``.

    Returns:
        A click command with all of its options.
    """
    one = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    one.command(name, help=COMMANDS[name].summary, epilog=COMMANDS[name].epilog)(_calling(name))
    return typer.main.get_command(one)


def _calling(name: str) -> Callable[..., Any]:
    verb = getattr(api, name)

    def run(as_json: bool, **options: Any) -> None:
        keywords = _renamed(given(options))
        several = keywords.pop("models", [])
        try:
            # What a network or a script of the user's prints would stand in the middle of the result.
            with contextlib.redirect_stdout(sys.stderr):
                result = verb(*several, **keywords, progress=True)
        except GateFailed as failed:
            _print(as_json, failed.audit)
            raise
        _print(as_json, result)

    return named(run, verb, also=[OUTPUT] if name in ("harden", "export") else [])


def _print(as_json: bool, result: Result) -> None:
    print_result(as_json, result)
    dp = getattr(result, "dp", None) or {}
    if dp.get("warning"):
        warn(dp["warning"])


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """Without ``--output``, which says what ``--returns`` says."""
    if "output" not in options:
        return options
    returns = options.pop("output")
    if returns not in RETURNS:
        raise UserError(
            f"--output {returns!r}: the file to write is named by -o or --out, and what it returns by "
            f"--returns ({', '.join(RETURNS)})"
        )
    if options.setdefault("returns", returns) != returns:
        raise UserError(
            f"--output {returns} and --returns {options['returns']} contradict each other: pass --returns alone"
        )
    note(f"--output {returns} is now --returns {returns}")
    return options
