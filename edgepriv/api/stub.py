"""The stub that type checkers and editors read: ``python -m edgepriv.api.stub`` writes ``edgepriv/__init__.pyi``.

The verbs take the options of the recipe, which are declared once, at its fields; their signatures exist when Python runs,
and a checker does not run it. So they are written out, and a test holds what is written to the declarations.
"""

import inspect
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import edgepriv
from edgepriv import api
from edgepriv.files import write_text

_WIDTH = 120
STUB = Path(edgepriv.__file__).with_suffix(".pyi")
HEAD = '''"""Written by ``python -m edgepriv.api.stub`` from the options of the recipe: change those, not this file."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

{results}
from edgepriv.errors import GateFailed as GateFailed
from edgepriv.errors import UserError as UserError
from edgepriv.progress import Step
from edgepriv.recipe import Recipe as Recipe

__all__: list[str]

'''


def text() -> str:
    """The content of the stub."""
    verbs = {name: getattr(api, name) for name in api.__all__}
    results = {inspect.signature(verb).return_annotation for verb in verbs.values()}
    imports = [
        _imported(module, sorted(each.__name__ for each in results if each.__module__ == module))
        for module in sorted({each.__module__ for each in results})
    ]
    written = (_written(name, verb, inspect.signature(verb)) for name, verb in verbs.items())
    return HEAD.format(results="\n".join(imports)) + "\n".join(written)


def _imported(module: str, names: list[str]) -> str:
    """As ruff format leaves it."""
    line = f"from {module} import {', '.join(names)}"
    return (
        line
        if len(line) <= _WIDTH
        else "\n".join([f"from {module} import (", *(f"    {each}," for each in names), ")"])
    )


def _written(name: str, verb: Any, signature: inspect.Signature) -> str:
    lines, keywords = [], False
    for each in signature.parameters.values():
        keywords |= each.kind is each.VAR_POSITIONAL
        if each.kind is each.KEYWORD_ONLY and not keywords:
            lines.append("*,")
            keywords = True
        star = "*" if each.kind is each.VAR_POSITIONAL else ""
        default = "" if each.default is each.empty else f" = {each.default!r}".replace("'", '"')
        lines.append(f"{star}{each.name}: {_type(each.annotation)}{default},")
    inner = "".join(f"    {line}\n" for line in lines)
    summary = (inspect.getdoc(verb) or "").split("\n\n")[0]
    return f'def {name}(\n{inner}) -> {signature.return_annotation.__name__}:\n    """{summary}"""\n'


def _type(annotation: Any) -> str:
    """As source code has it, without modules."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    shown = " | ".join("None" if kind is NoneType else _one(kind) for kind in kinds)
    return shown


def _one(kind: Any) -> str:
    source = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    source = re.sub(r"\b(typing|collections\.abc|edgepriv(\.\w+)+)\.(?=\w)", "", source)
    return source.replace("'", '"')


if __name__ == "__main__":
    write_text(STUB, text())
