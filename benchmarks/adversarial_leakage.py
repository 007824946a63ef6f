"""How much more each way of adversarial training leaks: the same members, several seeds, the attacker who knows the way.

    python benchmarks/adversarial_leakage.py [--ways natural longer fgsm pgd trades] [--seeds 0 1 2] [--members 2000]
                                             [--references 16] [--epochs 20] [--robust-epochs 10] [--eps 0.1]
                                             [--queried 1000] [--robust autoattack] [--robust-examples 300]
                                             [--folder DIR] [--output FILE.json]

LeNet-5 on Fashion-MNIST. Every way starts from the same kind of natural training, and goes on for --robust-epochs as ``edgepriv
harden`` does; ``longer`` goes on without perturbations. All models of all ways have the same members and non-members; seeds
differ in weights and in the order of examples. Reference models are trained by the same way, defence included; one fleet
serves the targets of all seeds of a way, as its own seeds are none of theirs. What is attacked is the exported float file.

``together`` holds the figures of all seeds' answers in one ROC curve, each candidate counted as one person with an answer from
each seed, and by how much they exceed those of ``natural``: the same candidates are drawn for both. Models, answers and figures
are kept in --folder, where a run that was killed goes on.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from edgepriv import data
from edgepriv.artifact import session
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.export import export
from edgepriv.audit.clustered import persons_in
from edgepriv.audit.differences import Scored, Side, strongest_difference
from edgepriv.audit.evasion import robustness
from edgepriv.audit.examples import of_dataset
from edgepriv.audit.feeding import Told
from edgepriv.audit.references import Fleet, train_fleet
from edgepriv.audit.run import membership_part
from edgepriv.audit.statistics import ALPHA, auc, tpr_at_fpr
from edgepriv.audit.target import open_target
from edgepriv.data import Dataset, Split
from edgepriv.device.machine import machine
from edgepriv.files import read_json, write_json
from edgepriv.recipe import Data, Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.resume import code_version

RESULTS = Path(__file__).parent / "results" / "adversarial_leakage.json"
DATA, MODEL = "fashion_mnist", "lenet"
BASE = "natural"
WAYS: dict[str, dict[str, Any]] = {
    BASE: {"robust": {"epochs": 0}},
    "longer": {"robust": {"adversarial": False}},
    "fgsm": {"adversary": {"method": "fgsm"}},
    "pgd": {"adversary": {"method": "pgd"}},
    "trades": {"adversary": {"method": "trades"}},
}
"""Way -> what it changes in a recipe of natural training and of a stage ``robust``."""
ATTACKS = ("lira-online", "rmia-online", "adversarial/lira-online", "adversarial/rmia-online")
FPRS = (0.01, 0.001)
SPLIT_SEED = 0
"""Of the members, and of the reference models, whatever the seed of the target."""


def recipe_of(options: argparse.Namespace, way: str, seed: int) -> Recipe:
    """How the model of a way and a seed is trained."""
    stage = {"batch_size": 64, "lr": 3e-3, "select": "last"}
    return (
        Recipe()
        .with_changes(
            seed=seed,
            data=sizes_of(options).model_dump(),
            model={"name": MODEL},
            train=stage | {"epochs": options.epochs},
            robust=stage | {"epochs": options.robust_epochs},
            adversary={"eps": options.eps},
            audit={"queried_examples": max(2, options.queried)},
        )
        .with_changes(**WAYS[way])
    )


def sizes_of(options: argparse.Namespace) -> Data:
    """As many non-members as members; a small pool, from which RMIA's population comes."""
    return Data(
        name=DATA, members=options.members, non_members=options.members, reference=1000, holdout=0, validation=0
    )


def target_of(recipe: Recipe, dataset: Dataset, split: Split, path: Path) -> DeployedModel:
    """The exported file of a recipe; trained unless it is there."""
    if not path.exists():
        classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
        run_stages(classifier, recipe, tuple(recipe.stages()), dataset, split, quiet=True)
        export(
            classifier.eval(),
            {},
            input_shape=dataset.input_shape,
            class_names=dataset.class_names,
            x=dataset.inputs(split.non_members[:300]),
            path=path,
        )
    return DeployedModel.open(path)


# One target: which, by whom it is attacked, and on what.
def measured(
    options: argparse.Namespace, way: str, seed: int, fleet: Fleet, dataset: Dataset, split: Split
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Figures of one target, and every attack's scores; read from the folder where they are there."""
    recipe = recipe_of(options, way, seed)
    made_by = hashlib.sha256(f"{recipe.training_hash()} {code_version()}".encode()).hexdigest()[:16]
    target = options.folder / f"{way}-{seed}-{made_by}.onnx"
    cell = target.with_suffix(f".{options.references}-{options.queried}.json")
    if not cell.exists():
        started = time.process_time()
        model = target_of(recipe, dataset, split, target)
        content, scores = membership_part(
            open_target(model, of_dataset(dataset), Told()).target,
            dataset,
            split.members,
            split.non_members,
            {"adaptive": fleet},
            attacks=attacks_of(options),
            recipe=recipe_of(options, way, SPLIT_SEED),
            pool=split.reference,
        )
        row = {"seed": seed, "utility": content["utility"], "attacks": [kept_of(row) for row in content["attacks"]]}
        row |= {"sha256": model.sha256, "cpu_seconds": round(time.process_time() - started, 1)}
        np.savez(cell.with_suffix(".npz"), **{name.replace("/", "|"): values for name, values in scores.items()})
        write_json(cell, row)
    robust = target.with_suffix(f".{options.robust}-{options.robust_examples}.json")
    if options.robust_examples and not robust.exists():
        write_json(robust, robust_accuracy(DeployedModel.open(target), dataset, split, options))
    row = read_json(cell, "cell") | ({"robustness": read_json(robust, "cell")} if robust.exists() else {})
    with np.load(cell.with_suffix(".npz"), allow_pickle=False) as archive:
        return row, {name.replace("|", "/"): archive[name] for name in archive.files}


def attacks_of(options: argparse.Namespace) -> list[str]:
    """Those that are run: without candidates to perturb, those that ask about the candidates as they are."""
    return [name for name in ATTACKS if options.queried or "/" not in name]


def kept_of(row: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an attack."""
    return {name: row[name] for name in ("name", "chosen", "n_members", "n_non_members", "auc", "auc_ci", "tpr_at_fpr")}


def robust_accuracy(
    model: DeployedModel, dataset: Dataset, split: Split, options: argparse.Namespace
) -> dict[str, Any]:
    """What attacks leave of some non-members, the same ones for every model."""
    chosen = np.random.default_rng(SPLIT_SEED).permutation(split.non_members)[: options.robust_examples]
    x, y = dataset.inputs(chosen), dataset.y[chosen]
    result = robustness(
        model.differentiable(x[:8]),
        lambda asked: session.predict(model.session, asked),
        x,
        y,
        norm="linf",
        eps=options.eps,
        level=options.robust,
    )
    return {name: result[name] for name in ("n", "clean_accuracy", "worst_case_accuracy", "ci", "warnings")}


def pooled(scores: list[dict[str, np.ndarray]]) -> dict[str, Side]:
    """Attack -> the answers of all seeds' targets about its candidates; a candidate is a person, with one of each seed."""
    sides = {}
    for name in (name for name in ATTACKS if f"adaptive/{name}" in scores[0]):
        place = scores[0].get(f"adaptive/{name}/index", np.arange(len(scores[0]["member"])))
        values = np.concatenate([own[f"adaptive/{name}"] for own in scores])
        persons = np.tile(place, len(scores))
        everyone = Scored(name, values, np.arange(len(values)))
        sides[name] = Side([everyone], scores[0]["member"][persons], persons)
    return sides


def together(sides: dict[str, Side], base: dict[str, Side]) -> list[dict[str, Any]]:
    """Figures of all seeds in one curve, and by how much they exceed those of ``BASE``, with 95% intervals of candidates."""
    rows = []
    for name, side in sides.items():
        scores, fprs = side.attacks[0].scores, [fpr for fpr in FPRS if persons_in(~side.member, side.groups) * fpr >= 1]
        area, interval = auc(scores, side.member, side.groups)
        rates = {str(fpr): tpr_at_fpr(scores, side.member, fpr, side.groups) for fpr in fprs}
        row = {"name": name, "auc": area, "auc_ci": list(interval), "tpr_at_fpr": rates}
        gaps = strongest_difference(base[name], side, fprs, paired=True, seed=SPLIT_SEED, alpha=ALPHA)
        more = [{"value": gap.after - gap.before, "ci": list(gap.ci)} for gap in gaps]
        rows.append(row | {"more": dict(zip(("auc", *map(str, fprs)), more, strict=True))})
    return rows


def shown(ways: dict[str, Any]) -> Table:
    """Accuracies, and what each attack finds, of all seeds together."""
    table = Table(title="all seeds together; the attacker trains reference models in the same way")
    for heading in (
        "way",
        "accuracy, members / others",
        "AutoAttack",
        "attack",
        "AUC",
        "more",
        "TPR at 1% FPR",
        "0.1%",
    ):
        table.add_column(heading)
    for way, cells in ways.items():
        means = [
            np.mean([row["utility"][f"{side}_accuracy"] for row in cells["seeds"]]) for side in ("member", "non_member")
        ]
        left = [row["robustness"]["worst_case_accuracy"] for row in cells["seeds"] if "robustness" in row]
        for row in cells["together"]:
            rates = [f"{100 * rate['value']:.2f}%" for rate in row["tpr_at_fpr"].values()]
            areas = [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, (low, high) in _areas(row)]
            accuracies = " / ".join(f"{100 * mean:.1f}%" for mean in means)
            table.add_row(way, accuracies, f"{100 * np.mean(left):.1f}%" if left else "-", row["name"], *areas, *rates)
    return table


def _areas(row: dict[str, Any]) -> list[tuple[float, list[float]]]:
    return [(row["auc"], row["auc_ci"]), (row["more"]["auc"]["value"], row["more"]["auc"]["ci"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--members", type=int, default=2000, help="and as many non-members")
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=20, help="of natural training")
    parser.add_argument("--robust-epochs", type=int, default=10, help="after it")
    parser.add_argument("--eps", type=float, default=0.1, help="L-infinity")
    parser.add_argument("--queried", type=int, default=1000, help="candidates that are perturbed; 0 for none")
    parser.add_argument("--robust", choices=("quick", "autoattack"), default="autoattack")
    parser.add_argument("--robust-examples", type=int, default=300, help="0 leaves robust accuracy out")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "edgepriv-adversarial-leakage")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    dataset = data.load(DATA)
    split = data.make_split(dataset, sizes_of(options), SPLIT_SEED)
    ways: dict[str, Any] = {}
    base: dict[str, Side] = {}
    for way in dict.fromkeys([BASE, *options.ways]):
        recipe, started = recipe_of(options, way, SPLIT_SEED), time.process_time()
        fleet = train_fleet(
            recipe, dataset, split, count=options.references, cache_dir=options.folder / "references", label=way
        )
        cells = [measured(options, way, seed, fleet, dataset, split) for seed in options.seeds]
        sides = pooled([scores for _, scores in cells])
        base = base or sides
        ways[way] = {"changes": WAYS[way], "seeds": [row for row, _ in cells], "together": together(sides, base)}
        asked = {name: value for name, value in vars(options).items() if name not in ("folder", "output", "ways")}
        settings = asked | {"data": DATA, "model": MODEL, "split_seed": SPLIT_SEED}
        write_json(options.output, {"setting": settings, "ways": ways, "machine": machine()})
        print(way, f"{time.process_time() - started:.0f} CPU s beside reference models", flush=True)
    Console(width=160).print(shown(ways))


if __name__ == "__main__":
    main()
