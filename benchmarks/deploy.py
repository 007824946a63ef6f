"""Size, latency and memory of the shipped file against its float twin, for several networks.

    python benchmarks/deploy.py [NETWORK ...] [--bits 4] [--rounds 5] [--runs 300]

Weights are random: neither the size nor the speed of a file depends on their values. Every file is exported with its proof of
parity, then measured in fresh processes, the two variants in turn. Prints a table and writes benchmarks/results/deploy.json.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from edgepriv.artifact.export import export
from edgepriv.files import write_json
from edgepriv.measure.bench import bench
from edgepriv.models import build_classifier
from edgepriv.recipe import Model, Quantize
from edgepriv.training import load_quantized, quantize_weights


@dataclass(frozen=True)
class Network:
    """``shape``: of one input."""

    model: Model
    shape: tuple[int, ...]
    classes: int


NETWORKS = {
    "lenet": Network(Model(name="lenet"), (1, 28, 28), 10),
    "resnet20": Network(Model(name="resnet20"), (3, 32, 32), 10),
    "mlp-6170": Network(Model(name="mlp", args={"widths": [1024, 512, 256, 128]}), (6170,), 100),
    "resnet18-32": Network(Model(name="resnet18"), (3, 32, 32), 10),
    "resnet18-224": Network(Model(name="resnet18"), (3, 224, 224), 1000),
    "mobilenet-224": Network(Model(name="mobilenet_v3_small"), (3, 224, 224), 1000),
}
DEFAULT = ("lenet", "resnet20", "mlp-6170")


def exported_pair(network: Network, rule: Quantize, folder: Path, inputs: int) -> dict[str, Path]:
    """The float twin and the quantized file of one network with random weights."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).random((inputs, *network.shape), dtype=np.float32)
    paths = {"float": folder / "float.onnx", f"{rule.bits} bits": folder / "quantized.onnx"}
    for path, widths in zip(paths.values(), (Quantize(), rule), strict=True):
        classifier = build_classifier(network.model, network.classes, network.shape).eval()
        weights = quantize_weights(classifier.network, widths)
        load_quantized(classifier.network, weights)
        names = [str(label) for label in range(network.classes)]
        export(classifier, weights, input_shape=network.shape, class_names=names, x=x, path=path)
    return paths


def measured(
    name: str, rule: Quantize, rounds: int, runs: int, batches: Sequence[int], threads: Sequence[int]
) -> dict[str, Any]:
    """The bench of both files of one network."""
    network = NETWORKS[name]
    with tempfile.TemporaryDirectory() as folder:
        inputs = 1000 if int(np.prod(network.shape)) < 10_000 else 64
        paths = exported_pair(network, rule, Path(folder), inputs)
        return bench(paths, batches=batches, threads=threads, runs=runs, rounds=rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=DEFAULT, help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--bits", default="4")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "deploy.json")
    options = parser.parse_args()
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown:
        parser.error(f"unknown network {unknown[0]!r}: known are {', '.join(NETWORKS)}")

    rule = Quantize.model_validate({"bits": options.bits})
    results = {
        name: measured(name, rule, options.rounds, options.runs, options.batch, options.threads)
        for name in options.networks
    }
    write_json(options.output, {"bits": options.bits, "networks": results})
    table = Table(title=f"{options.bits} bits / float, onnxruntime, batch and threads as given")
    for title in ("network", "batch", "threads", "bytes", "size", "p50 ms", "p50 ratio [rounds]", "peak memory"):
        table.add_column(title)
    for name, result in results.items():
        for ratio in result["ratios"]:
            own = next(
                row
                for row in result["variants"]
                if (row["name"], row["batch"], row["threads"]) == (ratio["name"], ratio["batch"], ratio["threads"])
            )
            low, _, high = ratio["latency_rounds"]
            table.add_row(
                name,
                str(ratio["batch"]),
                str(ratio["threads"]),
                f"{own['size_bytes']:,}",
                f"{ratio['size']:.3f}",
                f"{own['latency_ms']['p50']:.4f}",
                f"{ratio['latency_p50']:.2f} [{low:.2f}, {high:.2f}]",
                "-" if ratio["rss_peak"] is None else f"{ratio['rss_peak']:.2f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
