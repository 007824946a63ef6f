"""A function tells one story: what is longer, or takes more, says why in the comment above it."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
LINES, ARGUMENTS = 60, 8
Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of(function: Function) -> int:
    """From its name to its end, without the docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if documented else 0)


def arguments_of(function: Function) -> int:
    asked = function.args
    names = [argument.arg for argument in (*asked.posonlyargs, *asked.args, *asked.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def too_large(source: str) -> list[str]:
    """Functions beyond the limits without a comment on the line above them."""
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function) and (lines_of(node) > LINES or arguments_of(node) > ARGUMENTS):
            first = min(each.lineno for each in (node, *node.decorator_list))
            above = lines[first - 2].strip() if first > 1 else ""
            if not above.startswith("# "):
                found.append(f"{node.name}: {lines_of(node)} lines, {arguments_of(node)} arguments")
    return found


@pytest.mark.parametrize("folder", ["edgepriv", "export", "benchmarks"])
def test_functions_are_small_or_say_why_not(folder):
    found = [
        f"{path.relative_to(REPOSITORY)} {line}"
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for line in too_large(path.read_text())
    ]
    assert not found


LONG = "def long():\n" + "    pass\n" * LINES
WIDE = f"def wide({', '.join(f'a{number}' for number in range(ARGUMENTS + 1))}): pass\n"


@pytest.mark.parametrize("source", [LONG, WIDE, "\n\n@decorated\n" + WIDE])
def test_a_large_function_is_found(source):
    assert too_large(source)
    assert not too_large("# One argument for each of nine.\n" + source.lstrip())


def test_a_docstring_counts_for_nothing():
    documented = '    """Says much.\n' + "\n" * LINES + '    """\n'
    assert not too_large("def short():\n" + documented + "    pass\n")
