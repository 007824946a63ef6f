"""What hardened files hold out: clean accuracy, PGD and AutoAttack of the shipped file, and of the float weights before it.

    python benchmarks/robust_recipes.py FOLDER [FOLDER ...] [--examples 1000] [--autoattack 1000]
                                        [--files float shipped] -o FILE.json

Each FOLDER is what ``edgepriv harden`` wrote: model.onnx with its manifest, and model.robust.pt, whose float weights are
exported here. Inputs are non-members, drawn with --seed. PGD is that of the literature's tables: cross-entropy, from a random
start, steps of 2/255 where eps is 8/255 (a quarter of eps), its last point counted. Every success is counted on the file by
onnxruntime. AutoAttack takes the first --autoattack of them, 0 for none. Files that are in the output already, by hash, are
not measured again; an AutoAttack that is missing there is added. Prints the output's lines for a table.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import edgepriv
from edgepriv import project
from edgepriv.artifact import session
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.evasion import robustness
from edgepriv.audit.statistics import wilson
from edgepriv.device.machine import machine
from edgepriv.files import read_json, write_json
from edgepriv.training.pgd import perturbed, pgd_budget

PUBLISHED = {
    ("cifar10", "resnet20", "pgd"): {"clean": 0.744, "pgd-10": 0.454},
}
"""Float, long training, L-infinity 8/255; the design notes of the literature's ResNet-20."""


def under_pgd(
    model: DeployedModel, x: np.ndarray, y: np.ndarray, norm: str, eps: float, steps: int, seed: int
) -> np.ndarray:
    """Which examples stay right at the last point of PGD, bool [n]."""
    twin = model.differentiable(x[:8]).eval()
    generator = torch.Generator().manual_seed(seed)
    held = []
    for rows in np.array_split(np.arange(len(x)), max(1, len(x) // 250)):
        moved = perturbed(
            twin, torch.from_numpy(x[rows]), torch.from_numpy(y[rows]), pgd_budget(norm, eps, steps, eps / 4), generator
        )
        held.append(session.predict(model.session, moved.numpy()).argmax(axis=1) == y[rows])
    return np.concatenate(held)


def shares(right: np.ndarray) -> dict[str, Any]:
    """An accuracy with its 95% interval."""
    return {"accuracy": float(right.mean()), "interval": list(wilson(int(right.sum()), len(right))), "n": len(right)}


def measured(file: Path, record: dict[str, Any], options: argparse.Namespace, known: dict[str, Any]) -> dict[str, Any]:
    """One file of a hardened model, whose manifest says what it was trained on and against."""
    model = DeployedModel.open(file)
    dataset, split = project.recorded_data(record["data"], options.data_dir, str(file))
    order = np.random.default_rng(options.seed).permutation(split.non_members)
    norm, eps = record["norm"], record["eps"]
    everyone, chosen = order, order[: options.examples]
    right = session.predict(model.session, dataset.inputs(everyone)).argmax(axis=1) == dataset.y[everyone]
    x, y = dataset.inputs(chosen), dataset.y[chosen]
    row = known if known.get("sha256") == model.sha256 else {}
    if not row:
        row = {"bytes": model.size_bytes, "sha256": model.sha256, "clean": shares(right)}
        for steps in (10, 20):
            row[f"pgd-{steps}"] = shares(under_pgd(model, x, y, norm, eps, steps, options.seed))
    if options.autoattack and "autoattack" not in row:
        row |= under_autoattack(model, x[: options.autoattack], y[: options.autoattack], norm, eps, options.seed)
    return row


def under_autoattack(
    model: DeployedModel, x: np.ndarray, y: np.ndarray, norm: str, eps: float, seed: int
) -> dict[str, Any]:
    """What the standard ensemble leaves, and what it took."""
    started = time.process_time()
    result = robustness(
        model.differentiable(x[:8]),
        lambda asked: session.predict(model.session, asked),
        x,
        y,
        norm=norm,
        eps=eps,
        level="autoattack",
        seed=seed,
    )
    bound = result["worst_case_accuracy"] is None  # where the gradients are of no use, see the warnings
    left = round((result["at_most"] if bound else result["worst_case_accuracy"]) * len(x))
    return {
        "autoattack": shares(np.arange(len(x)) < left),
        "at_most": bound,
        "autoattack_cpu_seconds": time.process_time() - started,
        "warnings": result["warnings"],
    }


def of_folder(folder: Path, options: argparse.Namespace, known: dict[str, Any]) -> dict[str, Any]:
    """The float weights and the shipped file of one hardened model."""
    manifest = read_json(folder / "model.manifest.json", "manifest")
    recipe = manifest["recipe"]
    adversary = recipe["adversary"]
    record = {"data": manifest["data"], "norm": adversary["norm"], "eps": adversary["eps"]}
    rows = dict(known.get("files", {}))
    with tempfile.TemporaryDirectory() as temporary:
        weights = edgepriv.export(
            folder / "model.robust.pt", bits=32, out=Path(temporary) / "float.onnx", accept_accuracy_loss=True
        )
        for name, file in (("float", Path(weights.model)), ("shipped", folder / "model.onnx")):
            if name not in options.files:
                continue
            rows[name] = measured(file, record, options, rows.get(name, {}))
            shown = {key: f"{value['accuracy']:.3f}" for key, value in rows[name].items() if isinstance(value, dict)}
            print(folder.name, name, shown, flush=True)
    return {
        "recipe": {key: recipe[key] for key in ("seed", "model", "train", "adversary", "robust", "quantize", "qat")},
        "published": PUBLISHED.get((recipe["data"]["name"], recipe["model"]["name"], adversary["method"])),
        "files": rows,
    }


def lines(results: dict[str, Any]) -> list[str]:
    """One line of a Markdown table for each file that has been measured."""
    shown = []
    for model in results["models"].values():
        recipe = model["recipe"]
        method, quantize, warmup = recipe["adversary"]["method"], recipe["quantize"], recipe["adversary"]["warmup"]
        grown = f" (radius grows for {warmup})" if warmup else ""
        training = f"{method}, {recipe['robust']['epochs']}{grown} and {recipe['qat']['epochs']} epochs"
        bits = f"{quantize['bits']} bits, {quantize['quantizer']}, {quantize['granularity']}"
        for name, row in model["files"].items():
            cells = [
                f"{100 * cell['accuracy']:.1f}% [{100 * cell['interval'][0]:.1f}, {100 * cell['interval'][1]:.1f}]"
                + (" at most" if what == "autoattack" and row.get("at_most") else "")
                if (cell := row.get(what))
                else ""
                for what in ("clean", "pgd-10", "pgd-20", "autoattack")
            ]
            shown.append(
                f"| {' | '.join([training, str(recipe['seed']), bits if name == 'shipped' else name, *cells])} |"
            )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--autoattack", type=int, default=1000)
    parser.add_argument("--files", nargs="+", choices=("float", "shipped"), default=["float", "shipped"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = read_json(options.output, "results") if options.output.exists() else {"models": {}}
    results["run"] = {name: getattr(options, name) for name in ("examples", "autoattack", "seed", "threads")}
    results["machine"] = machine()
    for folder in options.folders:
        results["models"][folder.name] = of_folder(folder, options, results["models"].get(folder.name, {}))
        write_json(options.output, results)
    print(
        "\n".join(
            ["| training | seed | file | clean | PGD-10 | PGD-20 | AutoAttack |", "|---" * 7 + "|", *lines(results)]
        )
    )


if __name__ == "__main__":
    main()
