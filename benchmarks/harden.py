"""Adversarial training: edgepriv's loop against the plain one, on the same model, data, attack and seed.

    python benchmarks/harden.py [--data cifar10] [--model resnet20] [--images 15000] [--epochs 2]

The plain loop is what most repositories hold: float32, contiguous tensors, batch normalization run at every step of the
attack. Both train in turn, epoch by epoch, so that a busy machine slows both; the ratio is taken within each pair of epochs.
Prints a table and writes benchmarks/results/harden.json.
"""

import argparse
import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from edgepriv import data
from edgepriv.audit.evasion import robustness
from edgepriv.audit.statistics import wilson
from edgepriv.device.machine import machine
from edgepriv.files import write_json
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier
from edgepriv.training.examples import Examples
from edgepriv.training.loop import Hooks, State, fit
from edgepriv.training.pgd import Budget, budget_of
from edgepriv.training.stages import examples_of
from edgepriv.training.task import task_of


class _Pause(Exception):
    """Hands the machine over to the other loop after an epoch."""


def plain_epochs(classifier: nn.Module, members: Examples, budget: Budget, recipe: Recipe) -> Iterator[float]:
    """Madry's loop as it is usually written; yields the seconds of each epoch."""
    stage = recipe.train
    optimizer = torch.optim.SGD(
        classifier.parameters(), stage.lr, stage.momentum, weight_decay=stage.weight_decay, nesterov=True
    )
    total_steps = math.ceil(len(members) / stage.batch_size) * stage.epochs
    step = 0
    for epoch in range(stage.epochs):
        generator = torch.Generator().manual_seed(recipe.seed + epoch)
        started = time.perf_counter()
        for index in torch.randperm(len(members), generator=generator).split(stage.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = stage.lr * 0.5 * (1 + math.cos(math.pi * step / total_steps))
            x, y = members.batch(index)
            classifier.eval()
            adversarial = plain_pgd(classifier, x, y, budget)
            classifier.train()
            loss = functional.cross_entropy(classifier(adversarial), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        yield time.perf_counter() - started


def plain_pgd(classifier: nn.Module, x: Tensor, y: Tensor, budget: Budget) -> Tensor:
    delta = torch.empty_like(x).uniform_(-budget.eps, budget.eps)
    for _ in range(budget.steps):
        delta.requires_grad_(True)
        loss = functional.cross_entropy(classifier((x + delta).clamp(0, 1)), y)
        (gradient,) = torch.autograd.grad(loss, delta)
        delta = (delta.detach() + budget.step * gradient.sign()).clamp(-budget.eps, budget.eps)
    return (x + delta).clamp(0, 1).detach()


def edgepriv_epochs(classifier: Any, members: Examples, recipe: Recipe, shape: tuple[int, ...]) -> Iterator[float]:
    """edgepriv's loop, paused after each epoch; yields the seconds of each."""
    task = task_of(classifier.network, recipe, "train", shape)
    state = State()

    def pause(reached: State) -> None:
        if reached.epoch < recipe.train.epochs:
            raise _Pause

    for _ in range(recipe.train.epochs):
        started = time.perf_counter()
        with contextlib.suppress(_Pause):
            fit(classifier, members, task, seed=recipe.seed, state=state, hooks=Hooks(after_epoch=pause))
        yield time.perf_counter() - started


def measured_robustness(classifier: Any, x: np.ndarray, y: np.ndarray, budget: Budget) -> dict[str, Any]:
    """Clean and PGD-20 accuracy in float32."""
    classifier.to(memory_format=torch.contiguous_format).eval()

    @torch.no_grad()
    def predict(batch: np.ndarray) -> np.ndarray:
        return classifier(torch.from_numpy(batch)).softmax(1).numpy()

    return robustness(classifier, predict, x, y, norm=budget.norm, eps=budget.eps, steps=20)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--images", type=int, default=15_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--test", type=int, default=1_000, help="unseen images for the robust accuracy")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "harden.json")
    return parser.parse_args()


def main() -> None:
    options = asked()
    recipe = Recipe().with_changes(
        data={"name": options.data},
        model={"name": options.model},
        train={"epochs": options.epochs, "adversarial": True, "optimizer": "sgd", "lr": 0.05},
        adversary={"method": "pgd", "steps": options.steps},
    )
    dataset = data.load(options.data)
    split = data.make_split(dataset, recipe.data, recipe.seed)
    members = examples_of(dataset, split.members[: options.images])
    budget = budget_of(recipe.adversary, dataset.input_shape)
    test = split.non_members[: options.test]
    models = {name: new_classifier(recipe, dataset.num_classes, dataset.input_shape) for name in ("plain", "edgepriv")}
    loops = {
        "plain": plain_epochs(models["plain"], members, budget, recipe),
        "edgepriv": edgepriv_epochs(models["edgepriv"], members, recipe, dataset.input_shape),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(options.epochs):
        for name, loop in loops.items():
            seconds[name].append(next(loop))
            print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    robustness = {
        name: measured_robustness(model, dataset.inputs(test), dataset.y[test], budget)
        for name, model in models.items()
    }
    ratios = [plain / own for plain, own in zip(seconds["plain"], seconds["edgepriv"], strict=True)]
    rows = {
        name: {
            "seconds_per_epoch": seconds[name],
            "clean_accuracy": result["clean_accuracy"],
            "robust_accuracy": result["worst_case_accuracy"],
            "robust_accuracy_ci": list(wilson(round(result["worst_case_accuracy"] * len(test)), len(test))),
        }
        for name, result in robustness.items()
    }
    report = {
        "setting": vars(options)
        | {"output": None, "eps": budget.eps, "seed": recipe.seed, "threads": torch.get_num_threads()},
        "loops": rows,
        "speedup": {"per_epoch": ratios, "median": float(np.median(ratios))},
        "machine": machine(),
    }
    write_json(options.output, report)
    title = f"PGD-{options.steps} training of {options.model}, {len(members)} images, eps {budget.eps:.4g}"
    show(title, rows, ratios)


def show(title: str, rows: dict[str, Any], ratios: list[float]) -> None:
    """Print the table, and the ratio of each epoch's times."""
    table = Table(title=title)
    for title in ("loop", "seconds per epoch", "clean accuracy", "PGD-20 accuracy [95%]"):
        table.add_column(title)
    for name, row in rows.items():
        low, high = row["robust_accuracy_ci"]
        times = ", ".join(f"{value:.0f}" for value in row["seconds_per_epoch"])
        table.add_row(
            name, times, f"{row['clean_accuracy']:.1%}", f"{row['robust_accuracy']:.1%} [{low:.1%}, {high:.1%}]"
        )
    Console().print(table, f"speed-up: {np.median(ratios):.2f}x (per epoch: {', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    main()
