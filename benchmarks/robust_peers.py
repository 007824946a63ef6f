"""edgepriv's AutoAttack against the reference implementation: the same twin, the same inputs, counted on the same file.

    python benchmarks/robust_peers.py MODEL.onnx --auto-attack DIR [--norm linf l2] [--eps 0.1 1.0]
                                      [--examples 500] [--skip 0]

MODEL.onnx: a file that edgepriv exported, with its manifest beside it, which names the data. DIR: a checkout of
github.com/fra31/auto-attack, whose code is imported as it is. Its standard version is run; on a table without Square, which
there needs images. Inputs are non-members, drawn with --seed; --skip leaves out the first of them, for a run in several
parts. One thread (--threads).

Prints, for each norm, the accuracy that each tool leaves, counted through onnxruntime, by how many points they differ, the
examples that only one of them fools, and CPU seconds; appends to benchmarks/results/robust_peers.json.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from edgepriv import project
from edgepriv.artifact import session
from edgepriv.artifact.compiler import Twin
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.evasion import robustness
from edgepriv.audit.evasion.kept import Kept
from edgepriv.audit.evasion.losses import FEWEST_FOR_DLR
from edgepriv.device.machine import machine
from edgepriv.files import read_json, write_json

RESULTS = Path(__file__).parent / "results" / "robust_peers.json"


def own(
    model: DeployedModel, twin: Twin, x: np.ndarray, y: np.ndarray, norm: str, eps: float, seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Which examples withstand edgepriv's ensemble, bool [n], and what each attack left."""
    kept = Kept()
    result = robustness(
        twin,
        lambda asked: session.predict(model.session, asked),
        x,
        y,
        norm=norm,
        eps=eps,
        level="autoattack",
        seed=seed,
        kept=kept,
    )
    last = [row["name"] for row in result["attacks"] if row["name"] in kept.withstood][-1]
    return kept.withstood[last], {row["name"]: row["robust_accuracy"] for row in result["attacks"]}


def reference(
    model: DeployedModel, twin: Twin, x: np.ndarray, y: np.ndarray, norm: str, eps: float, seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """The same of the reference implementation."""
    from autoattack import AutoAttack  # of the checkout that the user named

    table = x.ndim == 2
    shape = x.shape[1:]
    classes = twin(torch.from_numpy(x[:1])).shape[1]
    tool = AutoAttack(
        lambda asked: twin(asked.reshape(-1, *shape)),
        norm={"linf": "Linf", "l2": "L2"}[norm],
        eps=eps,
        version="standard",
        device="cpu",
        verbose=False,
        seed=seed,
    )
    if table:
        tool.attacks_to_run = ["apgd-ce", "apgd-t", "fab-t"]
    tool.apgd_targeted.n_target_classes = tool.fab.n_target_classes = min(9, classes - 1)
    inputs = torch.from_numpy(x[:, :, None, None] if table else x)
    moved = tool.run_standard_evaluation(inputs, torch.from_numpy(y), bs=256).reshape(x.shape).numpy()
    change = (moved - x).reshape(len(x), -1)
    size = np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
    right = session.predict(model.session, x).argmax(axis=1) == y
    fooled = (session.predict(model.session, moved).argmax(axis=1) != y) & (size <= eps * (1 + 1e-4))
    return right & ~fooled, {}


def compared(model: DeployedModel, options: argparse.Namespace, norm: str, eps: float) -> dict[str, Any]:
    """Both tools on one budget."""
    known = model.verified_manifest()
    if known is None:
        raise SystemExit(f"{model.path} has no manifest beside it")
    dataset, split = project.recorded_data(known.data, options.data_dir, str(model.path))
    chosen = np.random.default_rng(options.seed).permutation(split.non_members)[options.skip :][: options.examples]
    x, y = dataset.inputs(chosen), dataset.y[chosen]
    if dataset.num_classes < FEWEST_FOR_DLR:
        raise SystemExit(
            f"the reference implementation needs {FEWEST_FOR_DLR} classes, {model.name} has {dataset.num_classes}"
        )
    if model.contract.input_dtype == "uint8":
        raise SystemExit(
            f"{model.name} takes bytes, which the reference implementation does not perturb: export it for floats"
        )
    twin = model.differentiable(x[:8])
    held, seconds, attacks = {}, {}, {}
    for tool, run in (("edgepriv", own), ("auto-attack", reference)):
        started, wall = time.process_time(), time.monotonic()
        held[tool], attacks[tool] = run(model, twin, x, y, norm, eps, options.seed)
        seconds[tool] = {"cpu": time.process_time() - started, "wall": time.monotonic() - wall}
    first, second = held["edgepriv"], held["auto-attack"]
    return {
        "model": model.name,
        "sha256": model.sha256,
        "data": dataset.name,
        "norm": norm,
        "eps": eps,
        "n": len(x),
        "skip": options.skip,
        "seed": options.seed,
        "clean_accuracy": float((session.predict(model.session, x).argmax(axis=1) == y).mean()),
        "robust_accuracy": {tool: float(mask.mean()) for tool, mask in held.items()},
        "points_above": 100 * float(first.mean() - second.mean()),
        "only_edgepriv_fools": int((second & ~first).sum()),
        "only_auto_attack_fools": int((first & ~second).sum()),
        "seconds": seconds,
        "attacks": attacks["edgepriv"],
        "threads": options.threads,
        "machine": machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--auto-attack", type=Path, required=True)
    parser.add_argument("--norm", nargs="+", default=["linf"], choices=["linf", "l2"])
    parser.add_argument("--eps", nargs="+", type=float, default=[0.1], help="one for each norm")
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if len(options.norm) != len(options.eps):
        parser.error("--eps needs one radius for each --norm")
    if not (options.auto_attack / "autoattack" / "autoattack.py").is_file():
        parser.error(f"{options.auto_attack} is no checkout of fra31/auto-attack")
    sys.path.insert(0, str(options.auto_attack))
    torch.set_num_threads(options.threads)
    table = Table("norm, eps", "n", "clean", "edgepriv", "auto-attack", "points above", "CPU s", "of reference")
    rows = read_json(options.output, "results") if options.output.exists() else []
    for norm, eps in zip(options.norm, options.eps, strict=True):
        row = compared(DeployedModel.open(options.model), options, norm, eps)
        rows.append(row)
        write_json(options.output, rows)
        spent = {tool: seconds["cpu"] for tool, seconds in row["seconds"].items()}
        shown = [f"{row['robust_accuracy'][tool]:.1%}" for tool in ("edgepriv", "auto-attack")]
        table.add_row(
            f"{norm} {eps:g}", str(row["n"]), f"{row['clean_accuracy']:.1%}", *shown, f"{row['points_above']:+.1f}",
            f"{spent['edgepriv']:.0f}", f"{spent['edgepriv'] / spent['auto-attack']:.2f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
