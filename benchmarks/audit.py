"""How long an audit takes, and what memory: edgepriv against other ways to the same reference models.

    python benchmarks/audit.py [--settings location30 fashion_mnist] [--references 16] [--epochs 1.0] [--again]

Rows: each audit of benchmarks/rivals.py in a process of its own (``edgepriv``, ``plain``, and ``art`` where
adversarial-robustness-toolbox is installed), scoring alone, and the coverage of 95% intervals. ``--epochs`` scales the
recipe's. Time is wall-clock from the trained target to the scores. CPU time and memory are those of the row's whole process
tree, the training of the target included (see spent.py). Prints a table and writes benchmarks/results/audit.json row by row:
rows that stand there for the same setting are not run again without ``--again``. The real LeakPro and
ML Privacy Meter are run by peers_audit.py.
"""

import argparse
import json
import os
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from spent import spent

from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks.lira import lira_offline, lira_online
from edgepriv.audit.attacks.rmia import rmia_offline, rmia_online
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.statistics import auc
from edgepriv.audit.trained_answers import References
from edgepriv.data import load
from edgepriv.device.machine import machine
from edgepriv.errors import UserError
from edgepriv.files import read_json, write_json
from edgepriv.recipe import Recipe

RECIPES: dict[str, dict[str, Any]] = {
    "location30": {
        "data": {"name": "location30"},
        "model": {"name": "mlp", "args": {"widths": [256, 128]}},
        "train": {"epochs": 60, "batch_size": 64},
    },
    "fashion_mnist": {"data": {"name": "fashion_mnist"}, "model": {"name": "lenet"}, "train": {"epochs": 20}},
    "digits": {
        "data": {"name": "digits", "members": 200, "non_members": 200, "reference": 400},
        "model": {"name": "mlp", "args": {"widths": [32]}},
        "train": {"epochs": 20, "batch_size": 32},
    },
}
RIVALS = ("edgepriv", "edgepriv-lira", "plain", "art")
SCORED, SCORED_REFERENCES, SHUFFLES = 30_000, 64, 200


def recipe_of(name: str, epochs: float) -> Recipe:
    content = RECIPES[name]
    scaled = max(1, round(content["train"]["epochs"] * epochs))
    return Recipe().with_changes(**content | {"train": content["train"] | {"epochs": scaled}})


def evidence_at_random(n: int, references: int, seed: int = 0) -> tuple[Evidence, np.ndarray]:
    """Log-odds of models on ``n`` examples, higher by one spread where they were members, and the target's membership."""
    rng = np.random.default_rng(seed)
    usual = rng.normal(2, 3, n)
    member = np.argsort(rng.random((references, n)), axis=0) < references // 2
    membership = rng.permutation(n) < n // 2
    seen = References(usual + member + rng.normal(size=member.shape), member)
    return Evidence(Outputs.of_confidence(usual + membership + rng.normal(size=n)), references=seen), membership


def score(n: int, references: int) -> dict[str, Any]:
    """LiRA and RMIA, online and offline, with their AUCs."""
    evidence, membership = evidence_at_random(n, references)
    started = time.perf_counter()
    attacks = (lira_online, lira_offline, rmia_online, rmia_offline)
    aucs = {attack.__name__: auc(attack(evidence), membership)[0] for attack in attacks}
    return {"seconds": time.perf_counter() - started, "auc": aucs["lira_online"], "aucs": aucs}


def coverage(n: int, references: int, runs: int) -> dict[str, Any]:
    """How often the 95% interval of LiRA's AUC holds 0.5 when the membership is shuffled."""
    evidence, membership = evidence_at_random(n, references)
    scores, rng = lira_online(evidence), np.random.default_rng(1)
    started = time.perf_counter()
    intervals = [auc(scores, rng.permutation(membership))[1] for _ in range(runs)]
    held = float(np.mean([low <= 0.5 <= high for low, high in intervals]))
    return {"seconds": time.perf_counter() - started, "coverage": held, "runs": runs}


def alone(options: argparse.Namespace) -> dict[str, Any]:
    """One row, in this process."""
    if options.alone == "scoring":
        return score(options.scored, options.scored_references)
    if options.alone == "coverage":
        return coverage(options.scored, 16, options.shuffles)
    import rivals

    given = rivals.setting(recipe_of(options.settings[0], options.epochs), options.references)
    started = time.perf_counter()
    result = rivals.AUDITS[options.alone](given)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "auc": result.auc, "attack": result.attack, "steps_per_model": result.steps}


def measured(arguments: list[str], folder: Path) -> dict[str, Any]:
    """What ``audit.py arguments`` answers, with the CPU time and the peak memory in MiB of its process tree."""
    answer = folder / f".audit.{os.getpid()}.row"
    used = spent([sys.executable, __file__, *arguments, "--answer", str(answer)])
    row = json.loads(answer.read_text())
    answer.unlink()
    return row | {"peak_mib": used.peak_mib, "cpu_seconds": used.cpu_seconds}


def rows_of(options: argparse.Namespace) -> list[tuple[str, list[str], dict[str, Any]]]:
    """Name, arguments and setting of each row that can be run here."""
    common = {"epochs": options.epochs, "references": options.references}
    rows: list[tuple[str, list[str], dict[str, Any]]] = []
    for name in options.settings:
        try:
            load(name)
        except UserError as reason:
            print(f"{name} is left out: {reason}", file=sys.stderr)
            continue
        for rival in options.rivals:
            if rival == "art" and find_spec("art") is None:
                print(f"{name}/art is left out: adversarial-robustness-toolbox is not installed", file=sys.stderr)
                continue
            flags = ["--settings", name, "--epochs", str(options.epochs), "--references", str(options.references)]
            rows.append((f"{name}/{rival}", ["--alone", rival, *flags], common))
    size, models, runs = options.scored, options.scored_references, options.shuffles
    sized = ["--scored", str(size), "--scored-references", str(models), "--shuffles", str(runs)]
    rows.append(("scoring", ["--alone", "scoring", *sized], {"examples": size, "references": models}))
    rows.append(("coverage", ["--alone", "coverage", *sized], {"examples": size, "runs": runs}))
    return rows


def table_of(rows: dict[str, Any]) -> Table:
    table = Table(title="Audits: reference models, scores, intervals")
    for title in ("row", "seconds", "times edgepriv-lira", "CPU seconds", "peak MiB", "AUC", "attack"):
        table.add_column(title)
    for name, row in rows.items():
        own = rows.get(f"{name.split('/')[0]}/edgepriv-lira")
        ratio = f"{row['seconds'] / own['seconds']:.2f}" if own and own["setting"] == row["setting"] else ""
        shown = f"{row['auc']:.4f}" if "auc" in row else f"holds in {row['coverage']:.1%} of {row['runs']}"
        cells = (f"{row['seconds']:.1f}", ratio, f"{row['cpu_seconds']:.0f}", str(row["peak_mib"]), shown)
        table.add_row(name, *cells, row.get("attack", ""))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=["location30", "fashion_mnist"], choices=list(RECIPES))
    parser.add_argument("--rivals", nargs="*", default=list(RIVALS), choices=RIVALS)
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=1.0, help="factor on the epochs of the recipe")
    parser.add_argument("--scored", type=int, default=SCORED, help="examples of the rows scoring and coverage")
    parser.add_argument("--scored-references", type=int, default=SCORED_REFERENCES)
    parser.add_argument("--shuffles", type=int, default=SHUFFLES)
    parser.add_argument("--again", action="store_true", help="run rows that have a result already")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "audit.json")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        write_json(options.answer, alone(options))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the row's process ends as well
    known = read_json(options.output, "result of benchmarks/audit.py") if options.output.exists() else {}
    rows: dict[str, Any] = known.get("rows", {})
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for name, arguments, setting in rows_of(options):
        if name in rows and rows[name]["setting"] == setting and not options.again:
            continue
        print(name, file=sys.stderr, flush=True)
        rows[name] = measured(arguments, options.output.parent) | {"setting": setting, "machine": machine()}
        write_json(options.output, {"rows": rows})
    Console().print(table_of(rows))


if __name__ == "__main__":
    main()
