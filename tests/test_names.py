"""Names say what they hold: words that fit anything, and words that are none of the field's, name nothing in the package."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

VAGUE = {
    "behind",
    "course",
    "form",
    "forms",
    "found",
    "hardening",
    "interview",
    "partial",
    "promise",
    "repeated",
    "said",
    "ship",
    "shipped",
    "siblings",
    "talk",
    "thing",
    "things",
    "word",
    "words",
}
"""Whole names, leading underscores aside; ``partial_auc`` is a name, ``partial`` is none."""

ALLOWED = {
    ("edgepriv/api/results/examined.py", "said"),  # the key of the JSON whose fields the result has
    ("edgepriv/api/results/made.py", "said"),
}


def named_in(path: Path) -> set[str]:
    """Every name that a source gives: to a module, a class, a function, a parameter, a variable, a field."""
    names = {path.stem}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


@pytest.mark.parametrize("folder", ["edgepriv", "export", "benchmarks"])
def test_no_vague_names(folder):
    vague = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for name in sorted(named_in(path))
        if name.lower().strip("_") in VAGUE and (str(path.relative_to(REPOSITORY)), name) not in ALLOWED
    ]
    assert not vague


def test_a_vague_name_is_seen(tmp_path):
    source = tmp_path / "said.py"
    source.write_text("class Found:\n    def ship(self, form):\n        self.words = forms = form\n")
    assert named_in(source) & {"said", "Found", "ship", "form", "words", "forms"} == {
        "said",
        "Found",
        "ship",
        "form",
        "words",
        "forms",
    }
