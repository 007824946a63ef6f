"""The kit runs where only Python 3.10, numpy and onnxruntime are."""

import ast
import sys
from pathlib import Path

import pytest

import edgepriv.device.predict
from edgepriv.measure.kit import KIT

FOLDER = Path(edgepriv.device.predict.__file__).parent
SCRIPTS = [name for name in KIT if name.endswith(".py")]


def imported_by(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_the_kit_is_every_script_of_the_folder():
    assert {path.name for path in FOLDER.glob("*.py")} == {*SCRIPTS, "__init__.py"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_imports_only_what_a_device_has(name):
    tree = ast.parse((FOLDER / name).read_text(), feature_version=(3, 10))
    siblings = {script.removesuffix(".py") for script in SCRIPTS}
    assert set(imported_by(tree)) <= set(sys.stdlib_module_names) | {"numpy", "onnxruntime"} | siblings


def test_only_predict_constructs_a_session():
    repository = Path(__file__).parents[2]
    sources = [path for folder in ("edgepriv", "export") for path in (repository / folder).rglob("*.py")]
    constructing = [path.name for path in sources if "InferenceSession(" in path.read_text()]
    assert constructing == ["predict.py"]
