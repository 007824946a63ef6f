"""What a public function takes and returns is said: an API reference is generated from it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "edgepriv"
SAYING = (
    "api",
    "artifact",
    "audit",
    "cli",
    "data",
    "device",
    "heads",
    "measure",
    "models",
    "pipeline",
    "recipe",
    "report",
    "training",
)
"""The packages."""
TOP = "the package's own modules"
FOLDERS = {"device": PACKAGE.parent / "export"}
"""Where a package lies that is installed from another folder."""
EXPORTING = ("pipeline",)
"""Packages that export functions of their private modules, which are looked at then."""
BRIEF = "forward"
"""Of a network: a line with its shapes will do, as nobody calls it by name."""


def public_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def lacking(function: ast.FunctionDef) -> str:
    """What the docstring does not say; empty for nothing."""
    said = ast.get_docstring(function)
    asked = function.args
    arguments = {each.arg for each in (*asked.posonlyargs, *asked.args, *asked.kwonlyargs)} - {"self", "cls"}
    if said is None:
        return "a docstring"
    if not arguments or function.name == BRIEF:
        return ""
    returns = function.returns is not None and ast.unparse(function.returns) != "None"
    if "Args:" not in said:
        return "Args"
    return "Returns" if returns and "Returns:" not in said and "Yields:" not in said else ""


@pytest.mark.parametrize("package", [*SAYING, TOP])
def test_public_functions_say_what_they_take_and_return(package):
    paths = PACKAGE.glob("*.py") if package == TOP else (FOLDERS.get(package) or PACKAGE / package).rglob("*.py")
    modules = [path for path in sorted(paths) if package in EXPORTING or not path.name.startswith("_")]
    found = [
        f"{path.relative_to(PACKAGE.parent)} {function.name}: {what}"
        for path in modules
        for function in public_functions(ast.parse(path.read_text()).body)
        if (what := lacking(function))
    ]
    assert modules
    assert not found


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("def bare(): pass", "a docstring"),
        ("def takes(a):\n    'Says little.'", "Args"),
        ("def gives(a) -> int:\n    '''Says half.\n\n    Args:\n        a: this.\n    '''", "Returns"),
        ("def plain() -> int:\n    'All there is to say.'", ""),
    ],
)
def test_what_is_lacking(source, what):
    (function,) = ast.parse(source).body
    assert lacking(function) == what
