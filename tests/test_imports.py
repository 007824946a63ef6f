"""The house rules that a glance at the imports can check."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "edgepriv"

ORDER = (
    {
        "accuracy",
        "paired",
        "errors",
        "files",
        "recipe",
        "recipes",
        "hardening_recipe",
        "torchvision_compat",
        "device",
        "progress",
        "records",
    },
    {"data"},
    {"models"},
    {"preprocessing"},
    {"project"},
    {"training"},
    {"heads", "extra_data"},
    {"extra_doubts"},
    {"artifact"},
    {"audit", "measure"},
    {"report", "companion_files"},
    {"pipeline"},
    {"tuning"},
    {"api"},
    {"cli"},
    {"__main__"},
)
"""Each row may import from the rows above it; within the first row, and within one part, anything goes."""
RANK = {part: rank for rank, row in enumerate(ORDER) for part in row}

ROOMS: dict[str, tuple[set[str], ...]] = {
    "artifact": (
        # a file as it is: what it holds, takes and returns, and how it runs
        {"metadata", "model_files", "contract", "outputs", "choice", "session", "batches", "foreign_inputs"},
        # a network as a graph, and its parts
        {
            "trace",
            "simplify",
            "fold",
            "head",
            "strip",
            "graph_io",
            "integers",
            "left_float",
            "pack",
            "emit",
            "blocks",
            "im2col",
            "layers",
        },
        # the graph as a profile lays it out
        {
            "lower",
            "portable",
            "packed",
            "memory",
            "profiles",
            "small",
            "integer_plan",
            "calibration",
            "activation_places",
            "static",
            "build",
        },
        # a graph from elsewhere
        {"foreign_graph", "foreign_integers"},
        # the graph as torch computes it
        {
            "logits",
            "operators",
            "operators_layers",
            "operators_more",
            "operators_recurrent",
            "operators_resize",
            "operators_shapes",
            "operators_types",
            "compiler",
            "twin",
        },
        # what is proven before a file appears
        {"parity", "accuracies", "ort_format", "attached_head"},
        {"computing"},
        {"export", "manifest", "rehearse"},
        {"foreign_export", "sensitivity"},
        # a file beside its float network, layer by layer
        {"taps", "layer_pairs", "diagnosis"},
        # files that are there
        {"deployed", "describe", "release"},
    ),
    "audit": (
        # what is put in
        {
            "examples",
            "feeding",
            "inputs",
            "units",
            "augment",
            "memberships",
            "table_rows",
            "weights",
            "gradients",
            "kept",
        },
        # what comes out, and what an attacker makes of it
        {"logarithms", "tempered", "answers", "trained_answers", "evidence"},
        {"clustered", "statistics", "rates", "ties", "significance", "prior", "one_run", "selected", "differences"},
        {"most_exposed"},
        {"exposure", "shown_records", "shift", "beyond_shift", "attribute", "inversion"},
        {"epsilon"},
        # models that are trained or asked repeatedly
        {"processes", "trainer", "workers", "references", "distil", "boundary", "blackbox", "queries"},
        {"evasion", "columns"},
        {"attacks", "knowledge", "augmented", "loss_trace"},
        {
            "assess",
            "persons",
            "bootstrapped",
            "classifier",
            "stability",
            "subgroups",
            "query_evidence",
            "run",
            "robust",
        },
        {"canaries"},
        {"change"},
        {"gate", "dp_guarantee", "regression"},
        # the opened model as the target
        {"ways", "reading", "target", "alike", "upfront", "described"},
        # the audit of an earlier version
        {"recorded", "baseline"},
        # reference models that the user brings
        {"existing", "agreement", "own_fleet"},
        {"brought"},
        # what is asked, what is examined, and who attacks it
        {"lineage", "releases"},
        {"request", "subject"},
        {"attackers", "combined"},
        {"trained_attackers", "steps"},
        {"with_files", "with_manifest"},
    ),
}
"""Inside a package: modules of a row may import one another, without a circle, and from the rows above."""

WRITERS = {"files.py", "artifact/rehearse.py", "artifact/export.py"}
"""Who writes bytes to a path: the atomic writer, and those who write into a folder or under a name of their own aside."""


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


def imported_modules(path: Path, package: str) -> set[str]:
    """Names below ``edgepriv.package`` of the modules, or packages, that a source imports from there."""
    root, found = PACKAGE / package, set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"edgepriv.{package}."):
            below = (node.module or "").split(".")[2:]
            found |= {below[0]} if below else {alias.name for alias in node.names}
    return {name for name in found if (root / f"{name}.py").exists() or (root / name).is_dir()}


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


@pytest.mark.parametrize("package", ROOMS)
def test_imports_inside_a_package_run_one_way(package):
    rank = {name: number for number, row in enumerate(ROOMS[package]) for name in row}
    imports: dict[str, set[str]] = {}
    for path in sources(f"edgepriv/{package}"):
        name = path.relative_to(PACKAGE / package).parts[0].removesuffix(".py")
        if name != "__init__":
            imports.setdefault(name, set()).update(imported_modules(path, package) - {name})
    assert imports.keys() == rank.keys(), f"{imports.keys() ^ rank.keys()} have no place, or are gone"
    wrong = [f"{name} imports {other}" for name in imports for other in imports[name] if rank[other] > rank[name]]
    assert not wrong
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


BENCHMARKS: tuple[set[str], ...] = (
    {"chest_script"},
    # what is measured with, and what the peers are given
    {
        "timers",
        "spent",
        "peers",
        "openvino_timer",
        "litert_timer",
        "peers_given",
        "peers_tables",
        "papers_rows",
        "papers_measures",
        "asked",
    },
    # what is compared
    {"variants", "rivals", "papers_grid"},
    {"targets", "sizes", "papers_experiments", "peers_cell"},
    # one cell, and what becomes of many
    {"papers_cells", "papers_tables", "deploy_tables", "peers_run", "findings_lines"},
    {"papers_print", "papers_figures", "findings_field"},
    {"papers_best"},
    # programs, which measure and print
    {
        "adversarial_leakage",
        "audit",
        "defences",
        "deploy",
        "devices",
        "dp",
        "dp_speed",
        "findings",
        "harden",
        "noise",
        "activations",
        "any_onnx",
        "null_audit",
        "violation_audit",
        "own_training",
        "fewer_references",
        "papers",
        "two_bits",
    },
    # a program that uses another one's settings, and those that run in the peers' own environments
    {"peers_audit", "robust_peers", "robust_recipes", "attack_oracles", "peer_leakpro", "peer_privacy_meter"},
)
"""Of benchmarks/: as ROOMS inside a package."""
OF_THE_PEERS = {("peer_privacy_meter", "audit")}
"""(file, module) where a peer's own module has the name of one of ours."""


def test_imports_among_the_benchmarks_run_one_way():
    rank = {name: number for number, row in enumerate(BENCHMARKS) for name in row}
    paths = {path.stem: path for path in sources("benchmarks")}
    assert paths.keys() == rank.keys(), f"{paths.keys() ^ rank.keys()} have no place, or are gone"
    imports: dict[str, set[str]] = {}
    for name, path in paths.items():
        tree = list(ast.walk(ast.parse(path.read_text())))
        modules = {node.module for node in tree if isinstance(node, ast.ImportFrom) and node.module}
        modules |= {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
        imports[name] = {other for other in modules & paths.keys() if (name, other) not in OF_THE_PEERS}
    wrong = [f"{name} imports {other}" for name in imports for other in imports[name] if rank[other] > rank[name]]
    assert not wrong
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_the_audit_opens_no_model_file():
    """What it attacks comes in opened: by path it knows the user's files of members, and its own of reference models."""
    for path in sources("edgepriv/audit"):
        names = {ast.unparse(call.func).split(".")[-1] for call in called(path)}
        reading = {"open_session", "started", "load_from_string", "load_model", "read_beside", "open"} & names
        own = {"audit/references.py": {"load_model"}, "audit/kept.py": {"open"}}
        unknown = reading - own.get(str(path.relative_to(PACKAGE)), set())
        if path.name == "with_manifest.py":
            unknown -= {"open_session"}  # of the opened model, to see that it runs
        assert not unknown, f"{path}: {unknown}"


def test_one_place_writes_files():
    """A reader never sees half of one."""
    writing = {
        str(path.relative_to(PACKAGE))
        for path in sources("edgepriv")
        for call in called(path)
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"write_bytes", "write_text", "rename"}
    }
    assert writing == WRITERS


def test_one_place_constructs_inference_sessions():
    constructing = [
        str(path.relative_to(REPOSITORY))
        for path in sources("edgepriv", "export", "benchmarks")
        for call in called(path)
        if ast.unparse(call.func).split(".")[-1] == "InferenceSession"
    ]
    assert constructing == ["export/session.py"]


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
