"""Each evasion attack alone against an independent implementation: the same twin, inputs and budget, counted on the same file.

    python benchmarks/attack_oracles.py MODEL.onnx --auto-attack DIR [--norm linf] [--eps 0.1] [--examples 200]

MODEL.onnx: a file that edgepriv exported, with its manifest beside it, which names the data. DIR: a checkout of
github.com/fra31/auto-attack. APGD on the cross-entropy, targeted APGD, targeted FAB and Square are compared with it, FGSM and
PGD with torchattacks where that is installed. Unlike in an audit every attack is made on every example that is labelled
rightly.

Prints the accuracy that each implementation leaves, and how many examples only one of them fools. A row is appended to
benchmarks/results/attack_oracles.json as soon as it is known; rows that are there already are not computed again.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
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
from edgepriv.audit.evasion.attacked import Attacked
from edgepriv.audit.evasion.attacks import EVASIONS
from edgepriv.audit.evasion.scores import logarithms
from edgepriv.audit.evasion.trial import Counter, Trial
from edgepriv.files import read_json, write_json

RESULTS = Path(__file__).parent / "results" / "attack_oracles.json"
OF_AUTO_ATTACK = ("apgd-ce", "apgd-t", "fab-t", "square")
OF_TORCHATTACKS = ("fgsm", "pgd")
STEPS = 20
Attack = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def auto_attack(twin: Twin, name: str, norm: str, eps: float, seed: int, classes: int) -> Attack:
    """One attack of the reference implementation."""
    from autoattack import AutoAttack  # of the checkout that the user named

    tool = AutoAttack(
        twin, norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, version="custom", attacks_to_run=[name], device="cpu",
        verbose=False, seed=seed,
    )  # fmt: skip
    tool.apgd.n_restarts = tool.fab.n_restarts = tool.apgd_targeted.n_restarts = 1
    tool.apgd_targeted.n_target_classes = tool.fab.n_target_classes = min(9, classes - 1)
    return lambda x, y: tool.run_standard_evaluation(x, y, bs=256)


def torch_attack(twin: Twin, name: str, norm: str, eps: float) -> Attack:
    """One of torchattacks, with the steps and lengths of ours."""
    import torchattacks  # which is no dependency of edgepriv

    step = 2.5 * eps / STEPS
    if name == "fgsm":
        return torchattacks.FGSM(twin, eps=eps)
    if norm == "linf":
        return torchattacks.PGD(twin, eps=eps, alpha=step, steps=STEPS, random_start=True)
    return torchattacks.PGDL2(twin, eps=eps, alpha=step, steps=STEPS, random_start=True)


def compared(model: DeployedModel, twin: Twin, options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Both implementations of one attack on one budget."""
    known = model.verified_manifest()
    assert known is not None
    dataset, split = project.recorded_data(known.data, options.data_dir, str(model.path))
    chosen = np.random.default_rng(options.seed).permutation(split.non_members)[: options.examples]
    x, y = dataset.inputs(chosen), dataset.y[chosen]

    def labels(moved: np.ndarray) -> np.ndarray:
        return np.asarray(session.predict(model.session, moved).argmax(axis=1))

    def answers(moved: np.ndarray) -> np.ndarray:
        return session.predict(model.session, moved)

    right, norm, eps = labels(x) == y, options.norm, options.eps
    trial = Trial(
        Attacked(twin), answers, logarithms(answers), x, y, norm, STEPS, 1, 256, torch.device("cpu"), options.seed,
        Counter(lambda done, total: None),
    )  # fmt: skip
    held = trial.withstands(EVASIONS[name](trial, eps, dataset.num_classes), right, eps)
    torch.manual_seed(options.seed)
    other = (
        torch_attack(twin, name, norm, eps)
        if name in OF_TORCHATTACKS
        else auto_attack(twin, name, norm, eps, options.seed, dataset.num_classes)
    )
    moved = other(torch.from_numpy(x), torch.from_numpy(y)).detach().numpy()
    change = (moved - x).reshape(len(x), -1)
    size = np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
    theirs = right & ~((labels(moved) != y) & (size <= eps * (1 + 1e-4)))
    return {
        **asked(model, options, name),
        "against": "torchattacks" if name in OF_TORCHATTACKS else "auto-attack",
        "clean_accuracy": float(right.mean()),
        "robust_accuracy": {"edgepriv": float(held.mean()), "other": float(theirs.mean())},
        "only_edgepriv_fools": int((theirs & ~held).sum()),
        "only_other_fools": int((held & ~theirs).sum()),
    }


def asked(model: DeployedModel, options: argparse.Namespace, name: str) -> dict[str, Any]:
    """What tells one row from another."""
    return {
        "model": model.name,
        "sha256": model.sha256,
        "attack": name,
        "norm": options.norm,
        "eps": options.eps,
        "n": options.examples,
        "seed": options.seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--auto-attack", type=Path, required=True)
    parser.add_argument("--norm", default="linf", choices=["linf", "l2"])
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not (options.auto_attack / "autoattack" / "autoattack.py").is_file():
        parser.error(f"{options.auto_attack} is no checkout of fra31/auto-attack")
    sys.path.insert(0, str(options.auto_attack))
    torch.set_num_threads(1)
    names = [*(OF_TORCHATTACKS if importlib.util.find_spec("torchattacks") else ()), *OF_AUTO_ATTACK]
    if options.norm == "l2":
        names = [name for name in names if name != "fgsm"]  # torchattacks has it in L-infinity alone
    model = DeployedModel.open(options.model)
    twin = model.differentiable()
    table = Table("attack", "against", "n", "edgepriv", "other", "only edgepriv fools", "only other fools")
    for name in names:
        rows = read_json(options.output, "results") if options.output.exists() else []
        row = next((row for row in rows if asked(model, options, name).items() <= row.items()), None)
        if row is None:
            row = compared(model, twin, options, name)
            write_json(options.output, [*rows, row])
        accuracies = (f"{value:.1%}" for value in row["robust_accuracy"].values())
        only = (str(row["only_edgepriv_fools"]), str(row["only_other_fools"]))
        table.add_row(name, row["against"], str(row["n"]), *accuracies, *only)
    Console().print(table)


if __name__ == "__main__":
    main()
