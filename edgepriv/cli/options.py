"""The options of a command, made from the arguments of the verb of its name."""

import os
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from rich.markup import escape

from edgepriv.api.verb import Argument, arguments_of
from edgepriv.cli.completion import completion_of
from edgepriv.cli.defaults import default_text
from edgepriv.recipe import GROUPS

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.", rich_help_panel="Output")
]
AS_JSON = Parameter("as_json", Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)


def signature_of(verb: Any, also: Sequence[Parameter] = ()) -> Signature:
    """The signature from which typer makes the options of a command: the verb's arguments, panel by panel.

    Args:
        verb: function of ``edgepriv.api``.
        also: parameters that only the command line has, placed before ``--json``.

    Returns:
        Keyword-only parameters, annotated for typer.
    """
    parameters = [
        (argument.option.group, _parameter(verb.__name__, argument)) for argument in arguments_of(verb).values()
    ]
    order = ("", *GROUPS)
    ranked = [parameter for group in order for own, parameter in parameters if own == group]
    return Signature([*ranked, *also, AS_JSON])


def given(values: dict[str, Any]) -> dict[str, Any]:
    """What was given on the command line, as keywords of the verb.

    Args:
        values: by parameter; None, or an empty list, is what was left out.

    Returns:
        The others.
    """
    return {name: value for name, value in values.items() if value is not None and value != []}


def named(command: Callable[..., Any], verb: Any, also: Sequence[Parameter] = ()) -> Callable[..., Any]:
    """Give a function the name and the options of a verb, as typer takes it.

    Args:
        command: function that runs the command; it is changed.
        verb: function of ``edgepriv.api``.
        also: parameters that only the command line has.

    Returns:
        ``command`` itself.
    """
    signature = signature_of(verb, also)
    command.__name__ = verb.__name__
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    return command


def _parameter(command: str, argument: Argument) -> Parameter:
    option, kind = argument.option, _kind(argument)
    if argument.positional:
        shown = typer.Argument(metavar=option.metavar, help=option.help or None, show_default=False)
        return Parameter(argument.name, Parameter.KEYWORD_ONLY, annotation=Annotated[kind, shown])
    default = argument.default if isinstance(argument.default, bool) else None
    flags = option.flags or ((f"--{argument.name.replace('_', '-')}",) if kind is not bool or not default else ())
    default_shown = default_text(command, argument)
    shown = typer.Option(
        *flags,
        help=escape(f"{option.help} [default: {default_shown}]" if default_shown else option.help),
        metavar=option.metavar,
        rich_help_panel=option.group or None,
        show_default=False,
        hidden=command in option.hidden_on,
        autocompletion=completion_of(argument),
    )
    optional = kind if isinstance(default, bool) else kind | None
    return Parameter(argument.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[optional, shown])


def _kind(argument: Argument) -> Any:
    """As a command line reads it: flags, numbers, paths; everything else is text that the recipe reads."""
    kinds = get_args(argument.kind) if get_origin(argument.kind) in (Union, UnionType) else (argument.kind,)
    if any(kind is os.PathLike or get_origin(kind) is os.PathLike for kind in kinds):
        one: Any = Path
    elif len(kinds) == 1 and kinds[0] in (bool, int, float):
        one = kinds[0]
    else:
        one = int if argument.option.repeatable and int in kinds else str
    return list[one] if argument.option.repeatable else one
