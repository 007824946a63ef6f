"""A step of DP-SGD against one of Opacus' default (gradients of each example by hooks): images per second, and memory.

    python benchmarks/dp_speed.py [--rounds 3] [-o benchmarks/results/dp_speed.json]

Each measurement has a process of its own with one thread; the ways take turns. Seconds are the processor's, not the clock's, so
that a busy machine does not decide. Memory is the peak of the process, less what it had before the first step.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgepriv.device.machine import machine
from edgepriv.files import write_json
from edgepriv.models import build_classifier
from edgepriv.recipe import Model
from edgepriv.training.dp import add_clipped_gradients, add_noise
from edgepriv.training.dp_plan import Plan

RESULTS = Path(__file__).parent / "results" / "dp_speed.json"
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {
    "LeNet-5, 28x28, batch 1,024": ({"name": "lenet"}, (1, 28, 28), 1024),
    "MLP 512-256-128, batch 1,024": ({"name": "mlp"}, (446,), 1024),
    "CNN, 32x32, batch 256": ({"name": "cnn"}, (3, 32, 32), 256),
    "ResNet-20 (groups), 32x32, batch 128": ({"name": "resnet20", "norm": "group"}, (3, 32, 32), 128),
}
"""Model, shape of an input, batch."""
STEPS, WARM = 4, 1
CLIP, NOISE, CLASSES = 1.0, 1.0, 10
Step = Callable[[torch.Tensor, torch.Tensor], None]


def _ours(network: nn.Module, batch: int) -> Step:
    plan = Plan(NOISE, CLIP, 1.0, 1e-5, batch, 1)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        add_clipped_gradients(network, {}, x, y, plan)
        add_noise(network, plan, None)
        optimizer.step()

    return step


def _opacus(network: nn.Module, batch: int) -> Step:
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    private = GradSampleModule(network)
    optimizer = DPOptimizer(
        torch.optim.SGD(private.parameters(), 0.1),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=batch,
    )

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(private(x), y).backward()
        optimizer.step()

    return step


WAYS = {"edgepriv": _ours, "Opacus": _opacus}


def one(way: str, name: str) -> dict[str, float]:
    """Time some steps in this process.

    Args:
        way: key of ``WAYS``.
        name: key of ``NETWORKS``.

    Returns:
        Images for each second of the processor, and MiB above what the process had before.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, shape, batch = NETWORKS[name]
    network = build_classifier(Model.model_validate(model), CLASSES, shape).network.train()
    x, y = torch.rand(batch, *shape), torch.randint(CLASSES, (batch,))
    step = WAYS[way](network, batch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(WARM):
        step(x, y)
    began = time.process_time()
    for _ in range(STEPS):
        step(x, y)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"images_per_second": STEPS * batch / seconds, "mib": (peak - before) / 1024}


def _in_its_own_process(way: str, name: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", way, name]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Print a table, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "NETWORK"), help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*asked.one)))
        return
    rows: list[dict[str, Any]] = []
    print("| network | images a second | Opacus | ratio | MiB | Opacus | ratio |\n|---|---|---|---|---|---|---|")
    for name in NETWORKS:
        runs = [{way: _in_its_own_process(way, name) for way in WAYS} for _ in range(asked.rounds)]
        row: dict[str, Any] = {"network": name, "runs": runs}
        for key in ("images_per_second", "mib"):
            row[key] = {way: statistics.median(run[way][key] for run in runs) for way in WAYS}
            row[key]["ratio"] = row[key]["edgepriv"] / row[key]["Opacus"]
        rows.append(row)
        versions = {package: version(package) for package in ("edgepriv", "torch", "opacus")}
        write_json(asked.out, {"steps": STEPS, "versions": versions, "machine": machine(), "rows": rows})
        speed, memory = row["images_per_second"], row["mib"]
        print(
            f"| {name} | {speed['edgepriv']:.0f} | {speed['Opacus']:.0f} | {speed['ratio']:.2f} | {memory['edgepriv']:.0f} | "
            f"{memory['Opacus']:.0f} | {memory['ratio']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
