"""Running the real peers of benchmarks/peers_audit.py, and our own audit beside them, in processes of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peers_cell import REFERENCE_ATTACKS
from peers_given import read, read_answer
from peers_tables import row_of
from spent import Spent, spent

from edgepriv import pipeline
from edgepriv.errors import UserError
from edgepriv.files import read_json
from edgepriv.recipe import FULL_WIDTH, Recipe

HERE = Path(__file__).parent
SCRIPTS = {"leakpro": "peer_leakpro", "privacy-meter": "peer_privacy_meter"}
MARKS = {"leakpro": "leakpro/leakpro.py", "privacy-meter": "run_mia.py"}
OWN = [sys.executable, "-c", "from edgepriv.cli import main; main()"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
OWN_EXTRA, PAIRED_TARGET = 1, 2
"""Models beyond the reference models: our shadow model; ML Privacy Meter's target and the model paired with it."""


@dataclass(frozen=True)
class Peers:
    """``checkouts``: tool -> its folder. ``python``: the interpreter that has what they need."""

    checkouts: dict[str, Path]
    python: str = field(default=sys.executable)

    def __post_init__(self) -> None:
        for tool, checkout in self.checkouts.items():
            if not (checkout / MARKS[tool]).is_file():
                raise UserError(f"{checkout} is not a checkout of {tool}: it has no {MARKS[tool]}")
        if shutil.which(self.python) is None:
            raise UserError(f"there is no interpreter {self.python}")

    def ask(self, tool: str, mode: str, folder: Path, out: Path) -> Spent:
        """Run ``tool`` on what stands in ``folder``; its answer is in ``out`` then."""
        script = str(HERE / f"{SCRIPTS[tool]}.py")
        return self._run(tool, [script, mode, str(folder), str(out)], out.with_suffix(".log"))

    def imports(self, tool: str) -> Spent:
        """What importing it costs."""
        return self._run(tool, ["-c", f"import {SCRIPTS[tool]}"], Path(os.devnull))

    def commit(self, tool: str) -> str:
        asked = ["git", "-C", str(self.checkouts[tool]), "rev-parse", "HEAD"]
        answered = subprocess.run(asked, capture_output=True, text=True, check=False)
        return answered.stdout.strip() or "unknown: not a git checkout"

    def _run(self, tool: str, arguments: list[str], log: Path | None) -> Spent:
        # -P: the folder of the scripts does not come first, since an audit.py stands there too.
        path = ":".join(str(part.resolve()) for part in (self.checkouts[tool], HERE, HERE.parent))
        return spent([self.python, "-P", *arguments], environment=ONE_THREAD | {"PYTHONPATH": path}, log=log)


def costs(
    recipe: Recipe, references: int, peers: Peers, rounds: int, given: Path, folder: Path, known: Set[tuple[str, int]]
) -> Iterator[dict[str, Any]]:
    """CPU seconds and memory of each tool in turn, each from nothing but the target.

    ``given``: what the peers read. ``known``: tools and rounds to leave out.
    """
    target = _exported(recipe, folder)
    for turn in range(rounds):
        for tool in ("edgepriv", *peers.checkouts):
            if (tool, turn) in known:
                continue
            out = folder / f"{tool}-{turn}"
            if tool == "edgepriv":
                used, attacks = _own_audit(target, references, out)
                imports = spent([sys.executable, "-c", "import edgepriv.cli, edgepriv.api"], environment=ONE_THREAD)
                yield _row(tool, turn, references + OWN_EXTRA, used, imports, attacks)
                continue
            used = peers.ask(tool, "trains", given, out)
            asked = read(given)
            member = np.arange(asked.candidates) < asked.members
            attacks = {name: row_of(scores, member) for name, scores in read_answer(out)[0].items()}
            models = references + (PAIRED_TARGET if tool == "privacy-meter" else 0)
            yield _row(tool, turn, models, used, peers.imports(tool), attacks)


def _row(
    tool: str, turn: int, models: int, used: Spent, imports: Spent, attacks: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    about = {"tool": tool, "round": turn, "models": models, "import_cpu_seconds": imports.cpu_seconds}
    return about | asdict(used) | {"attacks": attacks}


def _exported(recipe: Recipe, folder: Path) -> Path:
    """The recipe's model as float .onnx with its manifest."""
    checkpoint, target = folder / "target.pt", folder / "target.onnx"
    pipeline.train(recipe, checkpoint)
    pipeline.export(checkpoint, None, {"quantize": {"bits": FULL_WIDTH}}, target)
    return target


def _own_audit(target: Path, references: int, out: Path) -> tuple[Spent, dict[str, dict[str, Any]]]:
    """``edgepriv audit`` of every attack with reference models; of perturbed inputs, which the peers lack, one example."""
    out.mkdir()
    options = {
        "--attacks": ",".join(REFERENCE_ATTACKS),
        "--references": str(references),
        "--threat-model": "adaptive",
        "--robust-examples": "1",
        "--cache-dir": str(out / "cache"),
        "--output": str(out / "audit.json"),
    }
    command = [
        *OWN,
        "audit",
        str(target),
        *(argument for pair in options.items() for argument in pair),
        "--no-float-twin",
    ]
    used = spent(command, environment=ONE_THREAD, log=out / "log")
    kept = ("auc", "auc_ci", "tpr_at_fpr")
    attacks = read_json(out / "audit.json", "audit")["attacks"]
    return used, {attack["name"]: {key: attack[key] for key in kept} for attack in attacks}
