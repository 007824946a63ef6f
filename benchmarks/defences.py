"""The empirical defences that the field compares with, under the attacker who knows them.

    python benchmarks/defences.py [--recipe FILE.toml] [--defences undefended relaxloss ...] [--bits 4] [--seeds 0 ...]
                                  [--data KEY=VALUE ...] [--set SECTION.KEY=VALUE ...] [--references 16]
                                  [--robust EPS [--examples 500]] [--canaries mislabelled:500]
                                  [--folder DIR] [--output FILE.json] [--again]
    python benchmarks/defences.py --time [--references 16] [--folder DIR] [--output FILE.json]

By default Location-30 and the perceptron of recipes/location_mlp.toml. Each row is one run of ``edgepriv train``, ``harden``
and ``audit``: the file that ships, and reference models that repeat the whole defence. Most of what the recipe leaves to the
attacker's pool is the privacy holdout here (2,000 of 2,500), on which DMP distils, for every row alike. ``--data`` names other
data, and how many records play which role, by the recipe's keys (``name=npz:scans.npz members=1500 ...``); ``--set`` changes
the rest of the recipe (``--set dp.epsilon=3 train.lr=1.0``). ``--robust`` also counts what AutoAttack leaves of
non-members, in L-infinity. ``--canaries`` puts records that are hard to hide among the members, and measures what is found of
them, after Table 1 of Aerni et al. (2024), in place of the average. Reference models are kept in ``--folder``: a run that was
killed goes on where it stopped. Prints a table and writes benchmarks/results/defences.json (canaries.json with
``--canaries``) row by row: rows that stand there for the same setting are not run again without ``--again``. ``--time`` runs
none: it times the files of the output's rows with so many reference models that are in ``--folder``, all in turn on one
thread, on a machine that should have nothing else to do.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asked import changed_words, changes_asked, pair_of
from rich.console import Console
from rich.table import Table

import edgepriv
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.device.machine import machine
from edgepriv.files import read_json, write_json
from edgepriv.measure.bench import bench
from edgepriv.recipe import Recipe, load
from edgepriv.report.canaries import best_of, strongest_at

RECIPE = Path(__file__).parents[1] / "recipes" / "location_mlp.toml"
RESULTS = Path(__file__).parent / "results"
DATA = {"members": 1000, "non_members": 1000, "reference": 500, "holdout": 2000, "validation": 500}
DEFENCES: dict[str, dict[str, dict[str, Any]]] = {
    "undefended": {},
    "early-stop": {"train": {"train": {"select": "best"}}},
    "label-smoothing": {"train": {"smoothing": {"share": 0.3}}},
    "mixup": {"train": {"mixup": {"alpha": 1.0}}},
    "relaxloss": {"train": {"train": {"relax": 0.6}}},
    "relaxloss-0.3": {"train": {"train": {"relax": 0.3}}},
    "relaxloss-rank": {"train": {"train": {"relax": 0.6}}, "harden": {"regenerate": "rank"}},
    "relaxloss-1": {"train": {"train": {"relax": 1.0}}},
    "hamp": {"train": {"hamp": {"entropy": 0.5, "regularizer": 0.001}}},
    "hamp-best": {"train": {"hamp": {"entropy": 0.5, "regularizer": 0.001}, "train": {"select": "best"}}},
    "hamp-rank": {"train": {"hamp": {"entropy": 0.5, "regularizer": 0.001}}, "harden": {"regenerate": "rank"}},
    "augment": {"train": {"train": {"augment": "crop"}, "qat": {"augment": "crop"}}},
    "rank": {"harden": {"regenerate": "rank"}},
    "augment-rank": {
        "train": {"train": {"augment": "crop"}, "qat": {"augment": "crop"}},
        "harden": {"regenerate": "rank"},
    },
    "early-rank": {"train": {"train": {"select": "best"}}, "harden": {"regenerate": "rank"}},
    "selena-5": {"harden": {"selena": 5, "selena_unseen": 2}},
    "selena": {"harden": {"selena": 25, "selena_unseen": 10}},
    "dmp": {"harden": {"dmp": 1.0}},
    "dmp-rank": {"harden": {"dmp": 1.0, "regenerate": "rank"}},
    "dp-sgd": {"harden": {"ptq": True}},
    "dp-sgd-rank": {"harden": {"ptq": True, "regenerate": "rank"}},
}
"""Defence -> what it changes in the recipe of the training, and the options of the hardening. HAMP's gamma and alpha and
SELENA's K and L are its authors' for Location-30, ``relaxloss-1`` is its authors' for CIFAR-10; ``selena-5`` keeps SELENA's
ratio and takes a fifth of the time. ``dp-sgd`` and ``dp-sgd-rank`` are for a recipe that says how much
(recipes/dp_fashion.toml)."""
ATTACKS = "lira-online,rmia-online"
ROUNDS = 7
"""Processes that time each file."""


def folder_of(folder: Path, row: Mapping[str, Any]) -> Path:
    """Where the files of a row are.

    Args:
        folder: of all.
        row: with what ``settings`` names.

    Returns:
        A folder, which may not exist.
    """
    named = "-".join([Path(row["recipe"]).stem, *changed_words(row.get("changes", {}))])
    return folder / named / f"{row['defence']}-{row['bits']}-{row['seed']}"


def measured(options: argparse.Namespace, defence: str, seed: int) -> dict[str, Any]:
    """Train, harden and audit in ``options.folder``."""
    folder = folder_of(options.folder, settings(options, defence, seed))
    folder.mkdir(parents=True, exist_ok=True)
    asked, started = DEFENCES[defence], time.perf_counter()
    recipe: Recipe = (
        load(options.recipe)
        .with_changes(seed=seed, data=options.data)
        .with_changes(**options.changes)
        .with_changes(**asked.get("train", {}))
    )
    shared = {"force": True, "progress": True, "accept_accuracy_loss": True}
    trained = edgepriv.train(recipe, out=folder / "model.pt", **shared)
    hardened = edgepriv.harden(
        trained.checkpoint,
        out=folder / "out",
        adv="none",
        bits=options.bits,
        robust="none",
        **asked.get("harden", {}),
        **shared,
    )
    audited = edgepriv.audit(
        hardened.model,
        attacks=ATTACKS,
        references=options.references,
        threat_model="adaptive",
        robust="none" if options.robust is None else "autoattack",
        eps=options.robust,
        robust_examples=options.examples,
        float_twin=False,
        cache_dir=options.folder,
        **shared,
    )
    return {
        "bytes": hardened.model.stat().st_size,
        "defences": hardened.defences,
        "utility": audited.utility,
        "attacks": [
            {name: value for name, value in row.items() if name not in ("roc", "histogram")}
            for row in audited.attacks
            if row["threat_model"] == "adaptive"
        ],
        "robustness": audited.robustness,
        **({} if audited.canaries is None else {"canaries": audited.canaries}),
        "seconds": round(time.perf_counter() - started, 1),
    }


def settings(options: argparse.Namespace, defence: str, seed: int) -> dict[str, Any]:
    """All that a row with the same figures would have in common."""
    names = {"recipe": options.recipe.name, "bits": options.bits, "references": options.references}
    if options.robust is not None:
        names |= {"eps": options.robust, "examples": options.examples}
    data = options.data | ({"name": Path(options.data["name"]).name} if "name" in options.data else {})
    changes = {"changes": options.changes} if options.changes else {}
    return {"defence": defence, "seed": seed, **names, "data": data, **changes, "asked": DEFENCES[defence]}


def data_asked(pairs: list[str]) -> dict[str, Any]:
    """``["name=npz:a.npz", "members=100"]`` as the recipe's section has it."""
    given = dict(pair_of(pair, "KEY=VALUE") for pair in pairs)
    wrong = [f"{key}={value}" for key, value in given.items() if key != "name" and not value.isdecimal()]
    if wrong:
        raise SystemExit(f"error: {wrong[0]!r} is no number of records")
    return {key: value if key == "name" else int(value) for key, value in given.items()}


def timed(folder: Path, rows: list[dict[str, Any]], references: int) -> list[dict[str, Any]]:
    """The rows, those whose files are in the folder with ``p50_ms``: of one input, on one thread.

    Args:
        folder: of all.
        rows: of the results.
        references: of the rows that are meant; the folder keeps the file of the last run alone.

    Returns:
        As many rows, in their order.

    Raises:
        SystemExit: where no row has a file there.
    """
    models = {}
    for number, row in enumerate(rows):
        path = folder_of(folder, row) / "out" / "model.onnx"
        meant = row["references"] == references and path.exists()
        if meant and path.stat().st_size == row["bytes"]:  # the folder's name does not say which data
            models[str(number)] = DeployedModel.open(path)
    if not models:
        raise SystemExit(f"error: {folder} holds no file of these rows")
    measured = bench(models, batches=(1,), threads=(1,), rounds=ROUNDS)["variants"]
    p50 = {variant["name"]: variant["latency_ms"]["p50"] for variant in measured}
    return [row | ({"p50_ms": p50[str(n)]} if str(n) in p50 else {}) for n, row in enumerate(rows)]


def shown(rows: list[dict[str, Any]]) -> Table:
    """Accuracy and what each attack finds, with 95% intervals."""
    table = Table(title="the attacker knows the defence and trains his reference models with it")
    headings = (
        "defence",
        "bits",
        "seed",
        "accuracy, members / others",
        "attack",
        "AUC",
        "TPR at 1% FPR",
        "at 0.1%",
        "s",
    )
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        both = " / ".join(f"{100 * row['utility'][f'{side}_accuracy']:.1f}%" for side in ("member", "non_member"))
        for attack in row["attacks"]:
            low, high = attack["auc_ci"]
            rates = [_rate(attack["tpr_at_fpr"][level]) for level in ("0.01", "0.001")]
            own = (row["defence"], str(row["bits"]), str(row["seed"]), both, attack["name"])
            table.add_row(*own, f"{attack['auc']:.3f} [{low:.3f}, {high:.3f}]", *rates, f"{row['seconds']:.0f}")
    return table


def shown_canaries(rows: list[dict[str, Any]]) -> Table:
    """TPR at 0.1% of false positives by the strongest attack on the canaries, average records beside."""
    table = Table(title="TPR at 0.1% FPR, the attack that finds most canaries")
    for heading in (
        "recipe",
        "defence",
        "bits",
        "seed",
        "accuracy on unseen data",
        "average record",
        "canaries",
        "attack",
    ):
        table.add_column(heading)
    for row in rows:
        best = best_of(row["canaries"])
        accuracy = f"{100 * row['utility']['non_member_accuracy']:.1f}%"
        own = (row["recipe"], row["defence"], str(row["bits"]), str(row["seed"]), accuracy)
        if best is None:  # too few reference models for any attack
            table.add_row(*own, *2 * ["not measured"], "")
            continue
        # Ordinary records by the attack that finds most of them: the one for canaries may find fewer.
        average = strongest_at(row["canaries"], "0.001", "average") or best
        rates = [_rate(average["average"]["tpr_at_fpr"]["0.001"]), _rate(best["canaries"]["tpr_at_fpr"]["0.001"])]
        table.add_row(*own, *rates, best["name"])
    return table


def _rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return str(rate["note"])
    low, high = rate["ci"]
    return f"{100 * rate['value']:.2f}% [{100 * low:.2f}, {100 * high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--defences", nargs="+", choices=tuple(DEFENCES), default=list(DEFENCES))
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", nargs="+", help="KEY=VALUE of the recipe's [data], instead of Location-30's roles")
    parser.add_argument("--set", nargs="+", default=[], help="SECTION.KEY=VALUE of the recipe")
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--robust", type=float, metavar="EPS", help="L-infinity; without it not measured")
    parser.add_argument("--examples", type=int, default=500, help="non-members that are attacked")
    parser.add_argument(
        "--canaries", metavar="KIND:COUNT", help="among the members and others, such as mislabelled:500"
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "edgepriv-defences")
    parser.add_argument("--output", type=Path, help="instead of benchmarks/results/")
    parser.add_argument("--again", action="store_true", help="run settings that are in the output already")
    parser.add_argument("--time", action="store_true", help="time the files of the output's rows, and run none")
    options = parser.parse_args()
    options.output = options.output or RESULTS / ("canaries.json" if options.canaries else "defences.json")
    if options.time:
        write_json(
            options.output,
            {"rows": timed(options.folder, read_json(options.output, "results")["rows"], options.references)},
        )
        return
    options.data = data_asked(options.data) if options.data else DATA
    if options.canaries:
        options.data = options.data | {"canaries": options.canaries}
    options.changes = changes_asked(options.set)
    rows = read_json(options.output, "results")["rows"] if options.output.exists() else []
    for seed in options.seeds:
        for defence in options.defences:
            this = settings(options, defence, seed)
            same = [row for row in rows if {name: row.get(name) for name in this} == this]
            if same and not options.again:
                continue
            own = measured(options, defence, seed)
            row = this | own | {"machine": machine(), "threads": os.environ.get("OMP_NUM_THREADS")}
            rows = [other for other in rows if other not in same] + [row]
            write_json(options.output, {"rows": rows})
    Console().print(shown_canaries(rows) if options.canaries else shown(rows))


if __name__ == "__main__":
    main()
