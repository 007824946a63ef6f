"""The options of each command, collected from the fields of the recipe; what given values change in a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from edgepriv.errors import UserError, nearest
from edgepriv.recipe.option import Option
from edgepriv.recipe.recipe import Recipe
from edgepriv.recipe.section import Section


@dataclass(frozen=True)
class Target:
    """A field that an option sets; ``section`` is empty for a field of the recipe itself."""

    section: str
    field: str
    option: Option


@dataclass(frozen=True)
class Declared:
    """One option of one command. ``kind``: type of its keyword, without None."""

    name: str
    option: Option
    kind: Any
    targets: tuple[Target, ...]

    def choices(self) -> tuple[str, ...]:
        """The values that are known, empty where any value of the type may be right."""
        return tuple(str(value) for value in get_args(self.kind)) if get_origin(self.kind) is Literal else ()


@cache
def options_of(command: str) -> Mapping[str, Declared]:
    """The options of a command that are fields of the recipe.

    Args:
        command: its name, such as "harden".

    Returns:
        Keyword -> option, in the order of the fields; empty for a command without any.
    """
    options: dict[str, Declared] = {}
    for section, name, annotation, metadata in _fields():
        for option in (entry for entry in metadata if isinstance(entry, Option)):
            if command not in option.on or (isinstance(option.on, Mapping) and section not in option.on[command]):
                continue
            keyword, target = option.name or name, Target(section, name, option)
            known = options.get(keyword)
            targets = (*known.targets, target) if known else (target,)
            shown = known.option if known else option
            options[keyword] = Declared(keyword, shown, _kind(shown, command, annotation), targets)
    return MappingProxyType(options)


def changes_of(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What options say of a recipe, as ``Recipe.with_changes`` takes it.

    Args:
        command: whose options they are.
        given: values by keyword; None for what was left out.

    Returns:
        Section -> field -> value, and fields of the recipe itself by name; only what was given.

    Raises:
        UserError: for a value that is not known, with the nearest that is; for one that cannot be read.
    """
    changes: dict[str, Any] = {}
    for name, declared in options_of(command).items():
        value = given.get(name)
        if value is None:
            continue
        _refuse_unknown(declared, value)
        for target in declared.targets:
            option = target.option
            read = option.reads(value) if option.reads else value
            for field, entry in (option.sets(read) if option.sets else {target.field: read}).items():
                if entry is not None:
                    _put(changes.setdefault(target.section, {}) if target.section else changes, field, entry)
    return changes


def _put(fields: dict[str, Any], field: str, value: Any) -> None:
    """Several options may add to one dictionary of arguments."""
    fields[field] = fields[field] | value if isinstance(value, dict) and field in fields else value


def _refuse_unknown(declared: Declared, value: Any) -> None:
    known = declared.choices()
    if known and value not in known:
        noun = declared.option.noun or declared.name.replace("_", " ")
        raise UserError(f"unknown {noun} {value!r}: known are {', '.join(known)}{nearest(str(value), known)}")


def _fields() -> list[tuple[str, str, Any, list[Any]]]:
    """Section, name, type and annotations of every field of the recipe, the recipe's own after those of its sections."""
    own, nested = [], []
    for name, info in Recipe.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            nested += [
                (name, field, inner.annotation, inner.metadata) for field, inner in info.annotation.model_fields.items()
            ]
        else:
            own.append(("", name, info.annotation, info.metadata))
    return nested + own


def _kind(option: Option, command: str, annotation: Any) -> Any:
    choices = option.choices if isinstance(option.choices, tuple) else option.choices[command]
    return Literal[choices] if choices else option.kind or without_none(annotation)


def without_none(annotation: Any) -> Any:
    """A type without None: ``int | str | None`` -> ``int | str``.

    Args:
        annotation: of a field.

    Returns:
        The type; ``annotation`` itself where it has no None, or is a Literal.
    """
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    if get_origin(annotation) is Literal or len(kinds) == len(get_args(annotation)):
        return annotation
    kept = kinds[0]
    for kind in kinds[1:]:
        kept = kept | kind
    return kept
