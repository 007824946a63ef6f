"""Optimal noise on a table the size of Purchase100: seconds for Shapley values and noise, and which constraints hold.

    python benchmarks/noise.py [--members 20000] [--features 600] [--classes 100] [--epochs 5] [--tau 0.5 1]

Synthetic: each class has a binary pattern, each member a copy of it with 70% of its features drawn anew. The teacher is the
perceptron 1024-512-256-128 of Kassa, Adi & Bouhaddi. Prints a table and writes benchmarks/results/noise.json.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from edgepriv.data import checked, make_split
from edgepriv.device.machine import machine
from edgepriv.files import write_json
from edgepriv.recipe import Data, Noise, Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.noise import noisy_members
from edgepriv.training.stages import examples_of

SHARES = ("entropy", "label_kept", "feature_bounds", "norm_bound", "all")


def synthetic(members: int, features: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N, F] of 0 and 1, int64 [N]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=members)
    patterns = rng.integers(2, size=(classes, features))
    drawn = rng.integers(2, size=(members, features))
    return np.where(rng.random((members, features)) < 0.7, drawn, patterns[labels]).astype(np.float32), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=600)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=5, help="of the teacher")
    parser.add_argument("--tau", type=float, nargs="+", default=[0.5])
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "noise.json")
    options = parser.parse_args()

    recipe = Recipe().with_changes(
        model={"name": "mlp", "args": {"widths": [1024, 512, 256, 128]}}, train={"epochs": options.epochs}
    )
    others = 200  # a split has non-members; nothing here reads them
    x, y = synthetic(options.members + others, options.features, options.classes, recipe.seed)
    dataset = checked("synthetic", x, y)
    sizes = Data(members=options.members, non_members=others, reference=0, holdout=0, validation=0)
    split = make_split(dataset, sizes, recipe.seed)
    teacher = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    started = time.perf_counter()
    history = run_stages(teacher, recipe, ("train",), dataset, split).history
    report: dict[str, Any] = {
        "setting": vars(options)
        | {"output": None, "seed": recipe.seed, "threads": torch.get_num_threads(), "load": os.getloadavg()[0]},
        "teacher": {"seconds": time.perf_counter() - started, "training_accuracy": history[-1]["accuracy"]},
        "noise": [],
        "machine": machine(),
    }
    members = examples_of(dataset, split.members)
    for tau in options.tau:
        noise = Noise(method="shapley", tau=tau, eps=options.eps)
        _, facts = noisy_members(teacher, members, noise, seed=recipe.seed)
        report["noise"].append({"tau": tau} | facts)
    write_json(options.output, report)
    table = Table(title=f"{options.members:,} members, {options.features} features, {options.classes} classes")
    for title in (
        "tau",
        "Shapley s",
        "noise s",
        "entropy",
        "mean L2 norm",
        *(name.replace("_", " ") for name in SHARES),
    ):
        table.add_column(title)
    for facts in report["noise"]:
        entropies = f"{facts['mean_entropy_before']:.3f} -> {facts['mean_entropy_after']:.3f}"
        table.add_row(
            f"{facts['tau']:g}",
            f"{facts['shapley_seconds']:.0f}",
            f"{facts['noise_seconds']:.0f}",
            entropies,
            f"{facts['mean_norm']:.3f}",
            *(f"{facts[f'share_{name}']:.1%}" for name in SHARES),
        )
    teacher_line = (
        f"teacher: training accuracy {history[-1]['accuracy']:.1%} after {report['teacher']['seconds']:.0f} s; "
        f"{torch.get_num_threads()} threads, load {report['setting']['load']:.1f} before noise"
    )
    Console(width=110).print(table, teacher_line)


if __name__ == "__main__":
    main()
