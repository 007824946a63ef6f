"""Differentially private training: the accuracy of the 4-bit file that ships, for data sets, members, epsilons and seeds.

    python benchmarks/dp.py [--only fashion_mnist:3000:8 ...] [--seeds 0,1,2] [--table] [-o benchmarks/results/dp.json]

Each row trains, exports with 4 bits and asks the file for every non-member of its split. A row that is in the JSON already is
left alone, so a run that was cut off goes on. Hyperparameters were chosen on records that are neither members nor non-members
of the seeds that are reported, but for MNIST, which has the settings of Fashion-MNIST, and for 60,000 members, where 10,000 of
the training images told what a linear layer learns from the other 50,000. --table prints the table,
--docs FILE puts it between the marks ``<!-- rows of dp.json -->`` and ``<!-- end of rows -->``.
"""

import argparse
import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import edgepriv
from edgepriv import project
from edgepriv.artifact.session import open_session
from edgepriv.device.machine import machine
from edgepriv.errors import UserError
from edgepriv.files import write_json
from edgepriv.models import checkpoint
from edgepriv.recipe import Recipe

RESULTS = Path(__file__).parent / "results" / "dp.json"
DELTA, BITS, CLIP = 1e-5, 4, 0.1
_AT_ONCE = 256


@dataclass(frozen=True)
class Cell:
    """One setting. ``target``: accuracy that is aimed at, in percent; ``seeds``: how many are run at most; ``features``: in
    front of a linear layer."""

    data: str
    members: int
    epsilon: float
    target: float | None
    batch_size: int
    epochs: int
    lr: float
    ema: float
    non_members: int
    seeds: int = 3
    features: str = "scattering"
    clip: float = CLIP

    @property
    def name(self) -> str:
        """As --only takes it."""
        return f"{self.data}:{self.members}:{self.epsilon:g}"


CELLS = (
    Cell("fashion_mnist", 3_000, 8, 84.5, batch_size=3_000, epochs=100, lr=4.0, ema=0.9, non_members=5_000),
    Cell("fashion_mnist", 3_000, 3, 83.0, batch_size=3_000, epochs=160, lr=1.0, ema=0.98, non_members=5_000),
    Cell("fashion_mnist", 15_000, 3, 86.0, batch_size=3_750, epochs=40, lr=4.0, ema=0.95, non_members=5_000),
    Cell("fashion_mnist", 60_000, 3, 89.0, batch_size=15_000, epochs=40, lr=8.0, ema=0.98, non_members=9_000),
    Cell("cifar10", 4_000, 8, 53.0, batch_size=4_000, epochs=80, lr=2.0, ema=0.9, non_members=5_000),
    Cell("cifar10", 1_000, 8, 42.0, batch_size=1_000, epochs=80, lr=0.5, ema=0.9, non_members=5_000),
    Cell("mnist", 60_000, 3, 98.5, batch_size=15_000, epochs=40, lr=4.0, ema=0.98, non_members=9_000, seeds=1),
    Cell("location30", 1_000, 8, None, 1_000, 60, 4.0, ema=0.9, non_members=1_000, features="none"),
)
"""In the order in which they are run."""


def recipe_of(cell: Cell, seed: int) -> Recipe:
    """The recipe of a row.

    Args:
        cell: its setting.
        seed: of split and weights; batches and noise are drawn anew in each run.

    Returns:
        The recipe.
    """
    return Recipe.model_validate(
        {
            "seed": seed,
            "data": {
                "name": cell.data,
                "members": cell.members,
                "non_members": cell.non_members,
                "reference": 0,
                "holdout": 0,
                "validation": 0,
            },
            "model": {"name": "linear", "features": cell.features},
            "train": {
                "epochs": cell.epochs,
                "batch_size": cell.batch_size,
                "optimizer": "sgd",
                "lr": cell.lr,
                "momentum": 0.9,
                "weight_decay": 0.0,
                "schedule": "constant",
                "ema": cell.ema,
            },
            "dp": {"epsilon": cell.epsilon, "delta": DELTA, "clip": cell.clip},
        }
    )


def measured(cell: Cell, seed: int, data_dir: Path | None) -> dict[str, Any]:
    """Train and export a row.

    Args:
        cell: its setting.
        seed: of the row.
        data_dir: of the data sets.

    Returns:
        The row, as JSON.

    Raises:
        UserError: where the data set is not at hand.
    """
    recipe = recipe_of(cell, seed)
    dataset, split = project.split_of(recipe, data_dir)
    with tempfile.TemporaryDirectory() as folder:
        model, file = Path(folder) / "model.pt", Path(folder) / "model.onnx"
        began = time.perf_counter()
        edgepriv.train(recipe=recipe, out=model, data_dir=data_dir, accept_accuracy_loss=True)
        seconds = time.perf_counter() - began
        edgepriv.export(model, bits=BITS, out=file, data_dir=data_dir, accept_accuracy_loss=True)
        spent = checkpoint.load(model).defences["dp"]
        session = open_session(file)
        labels = [
            session.run(None, {session.get_inputs()[0].name: dataset.inputs(own).astype(np.float32)})[0].argmax(1)
            for own in np.array_split(split.non_members, -(-len(split.non_members) // _AT_ONCE))
        ]
        accuracy = float((np.concatenate(labels) == dataset.y[split.non_members]).mean())
        return {
            "cell": cell.name,
            "seed": seed,
            "settings": asdict(cell),
            "accuracy": accuracy,
            "non_members": len(split.non_members),
            "epsilon": spent["epsilon"],
            "delta": spent["delta"],
            "noise_multiplier": spent["noise_multiplier"],
            "steps": spent["steps"],
            "bytes": file.stat().st_size,
            "seconds": seconds,
        }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown, one line for each cell.

    Args:
        rows: of ``measured``.

    Returns:
        Lines.
    """
    lines = [
        "| data, members | epsilon | seeds | accuracy of the 4-bit file | aimed at | file | training |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in CELLS:
        own = [row for row in rows if row["cell"] == cell.name]
        if not own:
            continue
        shares = [100 * row["accuracy"] for row in own]
        spread = "" if len(own) == 1 else f" ({min(shares):.1f} to {max(shares):.1f})"
        aimed = "" if cell.target is None else f"{cell.target:.1f}%"
        size, seconds = own[0]["bytes"] / 1e3, sum(row["seconds"] for row in own) / len(own)
        lines.append(
            f"| {cell.data}, {cell.members:,} | {max(row['epsilon'] for row in own):.2f} | {len(own)} | "
            f"{sum(shares) / len(shares):.1f}%{spread} | {aimed} | {size:.0f} kB | {seconds:.0f} s |"
        )
    return "\n".join(lines)


def put_into(file: Path, lines: str) -> None:
    """Replace the table in a page.

    Args:
        file: with the marks.
        lines: the new table.
    """
    text = file.read_text()
    new, count = re.subn(
        r"(<!-- rows of dp\.json -->\n).*?(\n<!-- end of rows -->)",
        lambda own: own[1] + lines + own[2],
        text,
        flags=re.S,
    )
    if not count:
        raise UserError(f"{file} has no <!-- rows of dp.json -->")
    file.write_text(new)


def main() -> None:
    """Run what is missing, and write JSON after each row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[cell.name for cell in CELLS], metavar="DATA:MEMBERS:EPSILON")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--docs", type=Path, help="page that the table is put into")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    rows: list[dict[str, Any]] = known.get("rows", [])
    seeds = [int(own) for own in asked.seeds.split(",")]
    wanted = [(cell, seed) for cell in CELLS if cell.name in asked.only for seed in seeds if seed < cell.seeds]
    for cell, seed in [] if asked.table else wanted:
        if any((row["cell"], row["seed"]) == (cell.name, seed) and row["settings"] == asdict(cell) for row in rows):
            continue
        try:
            row = measured(cell, seed, asked.data_dir)
        except UserError as error:
            print(f"{cell.name}, seed {seed}: {error}")
            continue
        rows = [other for other in rows if (other["cell"], other["seed"]) != (cell.name, seed)] + [row]
        versions = {name: version(name) for name in ("edgepriv", "torch", "onnxruntime", "opacus")}
        write_json(asked.out, {"bits": BITS, "versions": versions, "machine": machine(), "rows": rows})
        print(
            f"{cell.name}, seed {seed}: {row['accuracy']:.2%}, epsilon {row['epsilon']:.2f}, {row['seconds']:.0f} s",
            flush=True,
        )
    print(table(rows))
    if asked.docs:
        put_into(asked.docs, table(rows))


if __name__ == "__main__":
    main()
