"""How a field of the recipe is asked for: one declaration, from which the command line, its help and its completion, the
keywords of the Python API and their stub are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

GROUPS = ("Budgets", "Data", "Model", "Training", "Defences", "Quantization", "Export", "Audit", "Timing", "Output")
"""Panels of the help, in its order."""

BUILDING = ("train", "harden", "export")
"""Commands that take a model, or make one, and know its training data."""


@dataclass(frozen=True)
class Option:
    """An option of commands and a keyword of the functions of the same name.

    It annotates a field of a section (``bits: Annotated[int | str, Option(...)]``); a field may have several, and an option
    that sets several fields annotates each. The same class declares what is no field, as an annotation of the function's
    own parameter.

    Args:
        help: one sentence.
        group: one of GROUPS; empty for what belongs to none of them.
        on: commands that take it. As a dictionary: for each command, the sections whose field it sets there (a stage's
            option is one for several sections).
        name: the keyword, default the field's name; the option is it with dashes.
        flags: how it is spelled on the command line, where that is not ``--name``.
        kind: type of the keyword, default the field's.
        default: what is used when it is left out, in words, where the recipe's own value does not say it; for all commands
            or by command. ``off`` is said of a number whose 0 leaves it out.
        choices: the known values, where the type does not list them; for all commands or by command.
        complete: what the shell completes it with: "data", "model", "attack", "quantizer".
        reads: makes of what was given what the field keeps; raises UserError.
        sets: from that to fields of the section; default is the field itself.
        repeatable: whether the command line takes it several times.
        noun: what a message calls a value that is not known; default the keyword.
        hidden_on: commands whose help does not show it.
    """

    help: str
    group: str = ""
    on: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    name: str = ""
    flags: tuple[str, ...] = ()
    kind: Any = None
    default: str | Mapping[str, str] = ""
    choices: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    complete: str = ""
    repeatable: bool = False
    metavar: str | None = None
    reads: Callable[[Any], Any] | None = None
    sets: Callable[[Any], Mapping[str, Any]] | None = None
    noun: str = ""
    hidden_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.group and self.group not in GROUPS:
            raise ValueError(f"option {self.help!r}: there is no group {self.group!r}")
