"""The kit runs where only Python 3.10, numpy and onnxruntime are."""

import ast
import json
import re
import sys
import tomllib
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
    pictures = {"PIL"} if name == "picture.py" else set()
    assert set(imported_by(tree)) <= set(sys.stdlib_module_names) | {"numpy", "onnxruntime"} | siblings | pictures


def test_only_one_module_constructs_a_session():
    repository = Path(__file__).parents[2]
    sources = [path for folder in ("edgepriv", "export") for path in (repository / folder).rglob("*.py")]
    constructing = [path.name for path in sources if "InferenceSession(" in path.read_text()]
    assert constructing == ["session.py"]


def test_the_kit_is_every_file_of_its_folders_and_the_wheel_carries_them():
    carried = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = [pattern for pattern in carried["edgepriv.device"] if "/" in pattern]
    found = {str(path.relative_to(FOLDER)) for pattern in patterns for path in FOLDER.glob(pattern) if path.is_file()}
    assert found - {f"{folder}/package-lock.json" for folder in ("node", "web")} == {
        name for name in KIT if "/" in name
    }


@pytest.mark.parametrize("kind", ["node", "web"])
def test_javascript_needs_its_runtime_and_a_decoder_of_jpeg_in_one_version_each(kind):
    package = json.loads((FOLDER / kind / "package.json").read_text())
    assert package["dependencies"].keys() == {f"onnxruntime-{kind}", "@jsquash/jpeg"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["dependencies"].values())
    for source in FOLDER.glob(f"{kind}/*.mjs"):
        for imported in re.findall(r"""(?:from|import\()\s*["']([^"']+)""", source.read_text()):
            known = ("node:", "./", "../", *package["dependencies"])
            assert imported.startswith(known), (source, imported)


def test_the_page_asks_no_other_host():
    for source in (FOLDER / "web").iterdir():
        if source.suffix in (".html", ".mjs", ".css"):
            addresses = re.findall(r"https?://[^\s\"'`$]+", source.read_text())
            assert set(addresses) <= {"http://site"}, source
