"""One cell: one row of an experiment with one seed, run through edgepriv's API and kept as one JSON file.

A cell's file names the recipe and the code that made it: a cell of another recipe or code is stale, and run again.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from papers_experiments import experiment_of, recipe_of

import edgepriv
from edgepriv import data, pipeline
from edgepriv.artifact.session import open_session, predict
from edgepriv.audit.attacks.blindmi import VARIANCES
from edgepriv.audit.attacks.ml_leaks import largest
from edgepriv.errors import UserError
from edgepriv.files import read_json, write_json
from edgepriv.recipe import Adversary, Audit, Bench, Export, Head, Noise, Quantize, Recipe, differences
from edgepriv.training.resume import code_version

WORK = Path("runs") / "papers"
BENCH = {"batches": (1,), "threads": (1,), "runs": 200, "rounds": 3}
AFTER_TRAINING = ("noisy", "robust", "qat", "adversary", "noise", "head", "quantize", "export", "audit", "bench")
MOST_DISTANCE = 1_000


@dataclass(frozen=True)
class Cell:
    """One model to train and to attack. ``work``: the folder of all cells, of their models and of reference models."""

    experiment: str
    row: str
    seed: int
    full: bool = False
    work: Path = WORK

    @property
    def path(self) -> Path:
        """Where its numbers are kept."""
        scale = "full" if self.full else "scaled"
        return self.work / "cells" / scale / self.experiment / self.row / f"seed-{self.seed}.json"

    @property
    def recipe(self) -> Recipe:
        """What is trained, exported and audited."""
        return recipe_of(self.experiment, self.row, self.seed, self.full)


@cache
def version() -> str:
    """Hex sha256 of the code that decides a cell's numbers: training and models, and every module that they pass through."""
    digest = hashlib.sha256(code_version().encode())
    package = Path(edgepriv.__file__).parent
    for folder in ("artifact", "audit", "data", "heads"):
        for source in sorted((package / folder).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def key_of(cell: Cell) -> dict[str, str]:
    """What a cell's numbers depend on: ``recipe`` and ``code``, each a hex sha256.

    Fields at their defaults do not count: a recipe that gains a field stays the same.
    """
    changed = json.dumps(differences(cell.recipe.model_dump(mode="json")), sort_keys=True)
    return {"recipe": hashlib.sha256(changed.encode()).hexdigest(), "code": version()}


def stored(cell: Cell, *, stale: bool = False) -> dict[str, Any] | None:
    """The numbers of a cell that has been run; None where it has not, or, unless ``stale``, by other code.

    Another recipe's numbers are never returned.
    """
    if not cell.path.exists():
        return None
    content: dict[str, Any] = read_json(cell.path, "cell")
    wanted = key_of(cell)
    same = content["key"]["recipe"] == wanted["recipe"] and (stale or content["key"]["code"] == wanted["code"])
    return content if same else None


def measured_cells(experiment: str, row: str, *, full: bool, work: Path, stale: bool) -> list[dict[str, Any]]:
    """The cells of one row that have been run, by seed."""
    folder = Cell(experiment, row, 0, full, work).path.parent
    seeds = sorted(int(path.stem.removeprefix("seed-")) for path in folder.glob("seed-*.json"))
    cells = (stored(Cell(experiment, row, seed, full, work), stale=stale) for seed in seeds)
    return [cell for cell in cells if cell is not None]


def without_curves(content: dict[str, Any]) -> dict[str, Any]:
    """A cell's numbers as they are kept beside the tables: every attack of it, without the points of its ROC."""
    attacks = [{name: value for name, value in row.items() if name != "roc"} for row in content["attacks"]]
    return content | {"attacks": attacks}


def run(cell: Cell, commit: str, data_dir: Path | None = None) -> dict[str, Any]:
    """Train, harden, export, audit and time one cell; what a killed run had finished is not trained again."""
    started, cpu = time.perf_counter(), cpu_seconds()
    key, recipe = key_of(cell), cell.recipe
    folder = cell.work / "models" / f"{cell.experiment}-{cell.row}-{cell.seed}-{key['recipe'][:8]}{key['code'][:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    trained = _trained(recipe, cell.work / "trained", data_dir)
    model = folder / "out" / "model.onnx"
    changes = {name: getattr(recipe, name).model_dump() for name in AFTER_TRAINING}
    exported = pipeline.harden(
        trained, None, changes, folder / "out", accept_accuracy_loss=True, data_dir=data_dir, force=True
    )
    audited = pipeline.audit(
        model,
        {"audit": recipe.audit.model_dump()},
        data_dir=data_dir,
        cache_dir=cell.work,
        float_twin=False,
        accept_accuracy_loss=True,  # a cell that has collapsed is a result
        force=True,
    )
    timed = pipeline.bench(model, Recipe(bench=Bench(**BENCH)), force=True)
    content = {
        "key": key,
        "experiment": cell.experiment,
        "row": cell.row,
        "seed": cell.seed,
        "full": cell.full,
        "commit": commit,
        "recipe": recipe.model_dump(mode="json"),
        "utility": audited["utility"],
        "shadow_models": audited["shadow_models"],
        "attacks": [{name: value for name, value in row.items() if name != "histogram"} for row in audited["attacks"]],
        "left_out": audited["left_out"],
        "robustness": {
            name: value for name, value in audited["robustness"].items() if name not in ("attacks", "curve")
        },
        "distance": _distance(model, recipe, data_dir),
        "left_float": exported["left_float"],
        "defences": exported["defences"],
        "timed": timed["variants"],
        "ratios": timed["ratios"],
        "machine": timed["machine"],
        "versions": audited["versions"],
        "seconds": time.perf_counter() - started,
        "cpu_seconds": cpu_seconds() - cpu,
    }
    write_json(cell.path, content)
    shutil.rmtree(folder)
    return content


def _trained(recipe: Recipe, folder: Path, data_dir: Path | None) -> Path:
    """The checkpoint after the stage ``train``, which rows that differ only in what follows share."""
    later: dict[str, Any] = {"noise": Noise(), "head": Head()}
    later |= {} if recipe.train.quantized else {"quantize": Quantize()}
    later |= {} if recipe.train.adversarial else {"adversary": Adversary()}
    alone = recipe.as_run(("train",)).model_copy(
        update=later | {"export": Export(), "audit": Audit(), "bench": Bench()}
    )
    made_by = hashlib.sha256(f"{alone.model_dump_json()} {version()}".encode())
    path = folder / f"{made_by.hexdigest()[:32]}.pt"
    if not path.exists():
        pipeline.train(alone, path, accept_accuracy_loss=True, data_dir=data_dir)
    return path


def _distance(model: Path, recipe: Recipe, data_dir: Path | None) -> float:
    """Ding et al. 2023, Figure 9: squared maximum mean discrepancy between the file's answers to members and non-members.

    BlindMI's kernel, summed over its widths and divided by their number, on the three largest probabilities of at most 1,000
    examples of each kind; the mean over all pairs of different examples, so that equal distributions give 0 on average.
    """
    dataset = data.load(recipe.data.name, data_dir, False)
    split = data.make_split(dataset, recipe.data, recipe.seed)
    opened = open_session(model)
    rng = np.random.default_rng(recipe.seed)
    inside, outside = (
        largest(predict(opened, dataset.inputs(rng.permutation(index)[:MOST_DISTANCE]))).astype(np.float64)
        for index in (split.members, split.non_members)
    )
    same = [(_kernel(group, group).sum() / len(group) - 1) / (len(group) - 1) for group in (inside, outside)]
    return float(sum(same) - 2 * _kernel(inside, outside).mean())


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
    return np.mean([np.exp(-squared / (2 * variance)) for variance in VARIANCES], axis=0)


def cpu_seconds() -> float:
    """Of this process and of all that it started, those that ended included."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue  # it ended meanwhile
        total += sum(times[:4]) if process is own else times.user + times.system
    return total


def cells_of(
    rows: list[tuple[str, str]], seeds: list[int], *, full: bool, work: Path, only: list[str] | None = None
) -> Iterator[Cell]:
    """The cells of (experiment, row) pairs, each once, seed by seed: after the first seed every row of a table is there."""
    known = dict.fromkeys(rows)
    unknown = sorted(set(only or ()) - {row for _, row in known})
    if unknown:
        raise UserError(
            f"no row {', '.join(unknown)}: these tables have {', '.join(sorted({row for _, row in known}))}"
        )
    for seed in seeds:
        for experiment, row in known:
            if not only or row in only:
                yield Cell(experiment, row, seed, full, work)


def minutes_left(cells: list[Cell], *, stale: bool = False) -> dict[str, tuple[int, float, str]]:
    """By experiment: cells left (with ``stale``, those that no code has made), CPU-minutes for them, and whether these were
    measured here (``measured``) or are the experiment's own figure (``expected``)."""
    left: dict[str, tuple[int, float, str]] = {}
    for experiment in dict.fromkeys(cell.experiment for cell in cells):
        own = [cell for cell in cells if cell.experiment == experiment]
        done = [content for cell in own if (content := stored(cell, stale=stale)) is not None]
        if done:
            each, source = float(np.mean([content["cpu_seconds"] for content in done])) / 60, "measured"
        else:
            each, source = experiment_of(experiment).cpu_minutes, "expected"
        left[experiment] = (len(own) - len(done), each * (len(own) - len(done)), source)
    return left
