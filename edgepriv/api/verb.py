"""What makes a function of ``edgepriv.api`` a verb: the recipe's options as keywords, and silence."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin

from edgepriv import progress
from edgepriv.api.results import Result
from edgepriv.errors import GateFailed, UnknownOption, nearest
from edgepriv.recipe import Option, options_of, without_none

Done = TypeVar("Done", bound=Result)


@dataclass(frozen=True)
class Argument:
    """One argument of a verb: what the command line makes an option of.

    ``kind``: its type without None; ``default``: of the function; ``positional``: whether it is given by its place;
    ``fields``: section and field of the recipe that it sets, none for an argument of the function's own.
    """

    name: str
    option: Option
    kind: Any
    default: Any
    positional: bool
    choices: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()


def verb(function: Callable[..., Done]) -> Callable[..., Done]:
    """A function of the API, called as the command of its name is.

    Its signature, which editors show, is its own parameters and then the options that the recipe declares for the command;
    ``edgepriv/__init__.pyi`` is written from it. Notes go into the result's ``remarks``; bars and notes are shown as
    ``progress`` says.

    Args:
        function: takes ``progress`` and ``**options``, and returns a Result.

    Returns:
        The verb. It raises UnknownOption, a UserError, for a keyword that it does not have.
    """
    command = function.__name__
    own = inspect.signature(function)
    parameters = [_plain(each) for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=declared.kind | None)
        for name, declared in options_of(command).items()
    ]
    parameters.append(parameters.pop(next(i for i, each in enumerate(parameters) if each.name == "progress")))
    signature = own.replace(parameters=parameters)

    @functools.wraps(function)
    def called(*arguments: Any, **keywords: Any) -> Done:
        for name in keywords:
            if name not in signature.parameters:
                raise UnknownOption(f"{command}() has no option {name!r}{nearest(name, signature.parameters)}")
        with progress.told(keywords.get("progress", False)) as notes:
            try:
                return function(*arguments, **keywords).with_remarks(notes)
            except GateFailed as failed:
                if isinstance(failed.audit, Result):
                    failed.audit = failed.audit.with_remarks(notes)
                raise

    called.__signature__ = signature  # type: ignore[attr-defined]
    return called


def arguments_of(called: Any) -> Mapping[str, Argument]:
    """The arguments of a verb that a command line has too.

    Args:
        called: a function made by ``verb``.

    Returns:
        Name -> argument: the options of the recipe, then the verb's own.
    """
    command = called.__name__
    arguments = {
        name: Argument(
            name,
            declared.option,
            declared.kind,
            None,
            False,
            declared.choices(),
            tuple((target.section, target.field) for target in declared.targets),
        )
        for name, declared in options_of(command).items()
    }
    for name, parameter in inspect.signature(called.__wrapped__).parameters.items():
        metadata = getattr(parameter.annotation, "__metadata__", ())
        option = next((entry for entry in metadata if isinstance(entry, Option)), None)
        if option is not None:
            kind = option.kind or without_none(get_args(parameter.annotation)[0])
            positional = parameter.kind is parameter.VAR_POSITIONAL or parameter.default is parameter.empty
            arguments[name] = Argument(name, option, kind, parameter.default, positional)
    return arguments


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    annotation = parameter.annotation
    return parameter.replace(annotation=get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation)
