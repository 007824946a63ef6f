"""What 8-bit activations cost in accuracy: the same 4-bit weights with activations in float and on fixed grids, whose ranges
are found after training or were trained with.

    python benchmarks/activations.py fashion_mnist lenet --members 3000 --epochs 10 --qat-epochs 4
"""

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgepriv
from edgepriv import project
from edgepriv.artifact.build import build_graph
from edgepriv.artifact.session import open_session, predict
from edgepriv.models.rounded_activations import exact_activations
from edgepriv.recipe import Recipe
from edgepriv.recipe.resolve import as_toml
from edgepriv.training import quantize_weights

RESULTS = Path(__file__).parent / "results" / "activations.json"
WAYS: dict[str, dict[str, Any]] = {"calibrated": {}, "trained": {"qat_activations": 8}}
HELD_OUT = 5_000

Bools = npt.NDArray[np.bool_]


def main() -> None:
    """Train, harden in both ways, compare, and keep the figures under the name of data and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("--members", type=int, default=3_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--qat-epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="folder that models are kept in, and taken from where they are there")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = asked.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        figures = measured(asked, work)
    print(json.dumps(figures, indent=1))
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    asked.out.write_text(json.dumps(kept | {f"{asked.data} {asked.model}": figures}, indent=1) + "\n")


def measured(asked: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Accuracy of each file on held-out examples, and differences in points with 95% intervals, paired by example."""
    recipe = Recipe().with_changes(
        seed=asked.seed,
        data={
            "name": asked.data,
            "members": asked.members,
            "non_members": HELD_OUT,
            "reference": 0,
            "holdout": 500,
            "validation": 500,
        },
        model={"name": asked.model},
        train={"epochs": asked.epochs, "lr": 3e-3},
    )
    (work / "recipe.toml").write_text(as_toml(recipe))
    start = work / "m.pt"
    if not start.exists():
        edgepriv.train(recipe=work / "recipe.toml", out=start)
    right: dict[str, Bools] = {}
    for way, options in WAYS.items():
        if not (work / way / "model.onnx").exists():
            settings = {"adv": "none", "bits": 4, "qat_epochs": asked.qat_epochs, "compute": "int8-static"}
            edgepriv.harden(start, out=work / way, robust="none", **settings, **options)
        right |= {f"{way}, {name}": each for name, each in _right(work / way).items()}
    pairs = [(f"{way}, int8", f"{way}, float32") for way in WAYS] + [("trained, int8", "calibrated, float32")]
    return {
        "settings": {name: getattr(asked, name) for name in ("members", "epochs", "qat_epochs", "seed")},
        "held_out": HELD_OUT,
        "accuracy": {name: float(each.mean()) for name, each in right.items()},
        "points": {f"{own} - {other}": _difference(right[own], right[other]) for own, other in pairs},
    }


def _right(folder: Path) -> dict[str, Bools]:
    """Whether each held-out example gets its label, from the file and from the same integers with float activations."""
    given = project.open_checkpoint(folder / "model.pt", None, None, False)
    index = given.split.non_members
    x, y = given.dataset.inputs(index), given.dataset.y[index]
    checkpoint = given.checkpoint
    classifier = checkpoint.classifier()
    weights = quantize_weights(classifier.network, checkpoint.recipe.quantize)
    with exact_activations(classifier.network):
        names = checkpoint.class_names
        built = build_graph(classifier, weights, input_shape=checkpoint.input_shape, class_names=names)
    files = {"float32": built.content, "int8": (folder / "model.onnx").read_bytes()}
    return {name: predict(open_session(content), x).argmax(axis=1) == y for name, content in files.items()}


def _difference(own: Bools, other: Bools) -> list[float]:
    """[mean, low, high] in points."""
    each = own.astype(float) - other
    mean, error = float(each.mean()), 1.96 * float(each.std(ddof=1)) / math.sqrt(len(each))
    return [100 * mean, 100 * (mean - error), 100 * (mean + error)]


if __name__ == "__main__":
    main()
