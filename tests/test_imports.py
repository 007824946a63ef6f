"""The house rules that a glance at the imports can check."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "edgepriv"

ORDER = (
    {
        "accuracy",
        "errors",
        "files",
        "recipe",
        "recipes",
        "hardening",
        "torchvision_compat",
        "device",
        "progress",
    },
    {"data"},
    {"models"},
    {"preprocessing"},
    {"project"},
    {"training"},
    {"heads"},
    {"artifact"},
    {"audit", "measure"},
    {"report", "siblings"},
    {"pipeline"},
    {"api"},
    {"quickstart"},
    {"cli"},
    {"__main__"},
)
"""Each row may import from the rows above it; within the first row, and within one part, anything goes."""
RANK = {part: rank for rank, row in enumerate(ORDER) for part in row}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def imported_parts(path: Path) -> set[str]:
    """First names below ``edgepriv`` that a source imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("edgepriv.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            if node.module == "edgepriv":
                found |= {alias.name for alias in node.names}
            elif (node.module or "").startswith("edgepriv."):
                found.add(node.module.split(".")[1])
    return found


def called(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", sources("edgepriv"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in RANK, f"{own} has no place in the order of imports"
    unknown = imported_parts(path) - RANK.keys()
    assert not unknown, f"{unknown} have no place in the order of imports"
    wrong = {part for part in imported_parts(path) - {own} if RANK[part] > 0 and RANK[part] >= RANK[own]}
    assert not wrong, f"{own} must not import {wrong}"


def test_one_place_constructs_inference_sessions():
    constructing = [
        str(path.relative_to(REPOSITORY))
        for path in sources("edgepriv", "export", "benchmarks")
        for call in called(path)
        if ast.unparse(call.func).split(".")[-1] == "InferenceSession"
    ]
    assert constructing == ["export/predict.py"]


def test_checkpoints_are_never_unpickled():
    for path in sources("edgepriv", "export", "benchmarks"):
        for call in called(path):
            name = ast.unparse(call.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name == "torch.load":
                assert options.get("weights_only") == "True", f"{path}: {ast.unparse(call)}"
            if name in {"np.load", "numpy.load"}:
                assert options.get("allow_pickle") == "False", f"{path}: {ast.unparse(call)}"
            assert name not in {"pickle.load", "pickle.loads", "joblib.load", "eval", "exec"}, f"{path}: {name}"


def test_torchvision_is_imported_only_through_its_compatibility_module():
    direct = [
        path
        for path in sources("edgepriv", "benchmarks")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "torchvision" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torchvision")
    ]
    assert direct == []
