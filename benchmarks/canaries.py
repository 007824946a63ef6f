"""What an average hides: attacks on canaries and on the average record, for one network under several defences.

    python benchmarks/canaries.py [--defences undefended relaxloss ...] [--canaries mislabelled:500] [--recipe FILE.toml]
                                  [--members N] [--epochs N] [--batch-size N] [--width N] [--epsilon 8] [--references 16]
                                  [--set SECTION.KEY=VALUE ...] [--folder DIR] [--again]

By default CIFAR-10 and the small convolutional network of recipes/cifar_cnn.toml, after Table 1 of Aerni et al. (2024), who
have a WideResNet-16-4, all of CIFAR-10 and 64 models. What is left out is the recipe's own; ``--set train.lr=1.0``
changes any of it. Each defence is one run of ``edgepriv train``, ``export`` (or ``harden``) and ``audit``. Reference models
are trained as the model was, defence included, and kept in ``--folder``: a run that was killed goes on where it stopped.
Prints a table and writes benchmarks/results/canaries.json row by row: rows that stand there for the same setting are not run
again without ``--again``.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from asked import changes_asked
from rich.console import Console
from rich.table import Table

import edgepriv
from edgepriv.device.machine import machine
from edgepriv.files import read_json, write_json
from edgepriv.recipe import Recipe, load
from edgepriv.report.canaries import best_of

RECIPE = Path(__file__).parents[1] / "recipes" / "cifar_cnn.toml"
RESULTS = Path(__file__).parent / "results" / "canaries.json"
RELAXED = 1.0
"""Loss at which RelaxLoss holds the training, as its authors have it for CIFAR-10."""
TRAINING: dict[str, dict[str, Any]] = {
    "undefended": {},
    "relaxloss": {"train": {"relax": RELAXED}},
    "early-stop": {"train": {"select": "best"}},
    "dp-sgd": {"robust": {"epochs": 0}, "qat": {"epochs": 0}},  # no later stage
    "rank": {},
}
"""Defence -> what it changes in the recipe, beside ``--epsilon``; ``rank`` stands behind the undefended network."""
LIRA = "lira-online"


def recipe_of(options: argparse.Namespace, defence: str) -> Recipe:
    """The recipe of ``RECIPE`` at the size that was asked for, under a defence."""
    asked = {"members": options.members, "non_members": options.members, "canaries": options.canaries}
    return (
        load(options.recipe)
        .with_changes(
            data=asked,
            model={} if options.width is None else {"args": {"width": options.width}},
            train={"epochs": options.epochs, "batch_size": options.batch_size},
            audit={"references": options.references, "threat_models": ("adaptive",), "attacks": LIRA, "robust": "none"},
        )
        .with_changes(**TRAINING[defence], dp={"epsilon": options.epsilon} if defence == "dp-sgd" else {})
        .with_changes(**options.changes)
    )


def measured(options: argparse.Namespace, defence: str) -> dict[str, Any]:
    """Train, export and audit in ``options.folder``; what the audit says of canaries, and the accuracies."""
    folder = options.folder / options.recipe.stem / defence
    folder.mkdir(parents=True, exist_ok=True)
    recipe, started = recipe_of(options, defence), time.perf_counter()
    shared = {"force": True, "progress": True, "accept_accuracy_loss": True}
    trained = edgepriv.train(recipe, out=folder / "model.pt", **shared)
    if defence == "rank":
        hardened = edgepriv.harden(
            trained.checkpoint, out=folder / "out", adv="none", bits=32, regenerate="rank", **shared
        )
        model = hardened.model
    else:
        model = edgepriv.export(trained.checkpoint, bits=32, out=folder / "model.onnx", **shared).model
    audited = edgepriv.audit(
        model,
        attacks=LIRA,
        references=options.references,
        threat_model="adaptive",
        robust="none",
        float_twin=False,
        cache_dir=options.folder,
        **shared,
    )
    return {
        "utility": audited.utility,
        "canaries": audited.canaries,
        "dp": audited.dp,
        "seconds": time.perf_counter() - started,
    }


def settings(options: argparse.Namespace, defence: str) -> dict[str, Any]:
    """All that rows with equal figures have in common."""
    recipe = recipe_of(options, defence)
    return {
        "recipe": options.recipe.name,
        "canaries": recipe.data.canaries,
        "members": recipe.data.members,
        "model": recipe.model.args,
        "epochs": recipe.train.epochs,
        "batch_size": recipe.train.batch_size,
        "references": options.references,
        "epsilon": recipe.dp.epsilon,
        **({"changes": options.changes} if options.changes else {}),
    }


def shown(rows: list[dict[str, Any]]) -> Table:
    """Accuracy and TPR at 0.1% of false positives by the strongest attack on the canaries, average records beside."""
    table = Table(title="TPR at 0.1% FPR, the attack that finds most canaries")
    for heading in ("recipe", "defence", "accuracy on unseen data", "average record", "canaries", "attack"):
        table.add_column(heading)
    for row in rows:
        part = row["canaries"]
        best = best_of(part)
        if best is None:  # too few reference models for any attack
            table.add_row(row["recipe"], row["defence"], "", *2 * ["not measured"], "")
            continue
        cells = [_rate(best[side]["tpr_at_fpr"]["0.001"]) for side in ("average", "canaries")]
        accuracy = f"{100 * row['utility']['non_member_accuracy']:.1f}%"
        table.add_row(row["recipe"], row["defence"], accuracy, *cells, best["name"])
    return table


def _rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return str(rate["note"])
    low, high = rate["ci"]
    return f"{100 * rate['value']:.2f}% [{100 * low:.2f}, {100 * high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defences", nargs="+", choices=tuple(TRAINING), default=list(TRAINING))
    parser.add_argument("--canaries", default="mislabelled:500")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    for name in ("members", "epochs", "batch-size", "width"):
        parser.add_argument(f"--{name}", type=int, help="instead of the recipe's")
    parser.add_argument("--epsilon", type=float, default=8.0, help="of dp-sgd")
    parser.add_argument("--set", nargs="+", default=[], help="SECTION.KEY=VALUE of the recipe")
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "edgepriv-canaries")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="run settings that are in the output already")
    options = parser.parse_args()
    options.changes = changes_asked(options.set)
    rows = read_json(options.output, "results")["rows"] if options.output.exists() else []
    for defence in options.defences:
        this = {"defence": defence, **settings(options, defence)}
        same = [row for row in rows if {name: row.get(name) for name in this} == this]
        if same and not options.again:
            continue
        row = this | measured(options, defence) | {"machine": machine(), "threads": os.environ.get("OMP_NUM_THREADS")}
        rows = [other for other in rows if other not in same] + [row]
        write_json(options.output, {"rows": rows})
    Console().print(shown(rows))


if __name__ == "__main__":
    main()
