"""edgepriv's audit against the real LeakPro and the real ML Privacy Meter, from checkouts that you name.

    python benchmarks/peers_audit.py --leakpro DIR --privacy-meter DIR [--python PYTHON] [--seeds 0 1 2] [--rounds 2]

DIR: a checkout of github.com/aidotse/LeakPro, or of github.com/privacytrustlab/ml_privacy_meter. PYTHON: an interpreter with
what they need beside torch (LeakPro: pandas, seaborn, dotmap, optuna, umap-learn, ts2vec; ML Privacy Meter: transformers,
datasets, peft, accelerate) and edgepriv's own dependencies; default: this one. Their attack code is imported as it is;
only torchvision is imported through edgepriv, so that a build for another torch does not stop them.

Two parts, on the recipes of benchmarks/audit.py:
    models   one target and its reference models, trained once by edgepriv, given to every tool: AUC and TPR with 95%
             intervals by the same code from each tool's scores, and the paired difference of the strongest attacks
    cost     each tool trains its reference models its own way, with as many optimizer steps of as many examples, and runs
             every attack with reference models that it has: CPU seconds and peak memory of its whole process tree
             (benchmarks/spent.py), in turn, each process with one thread (OMP_NUM_THREADS=1)

Prints tables and writes benchmarks/results/peers_audit.json as it goes; a part that is not named by --parts is kept.
"""

import argparse
import contextlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from audit import RECIPES, recipe_of
from peers_cell import hand_over, own_scores, trained
from peers_given import read_answer
from peers_run import MARKS, Peers, costs
from peers_tables import comparison_table, comparisons, cost_table, models_table, ratios, row_of
from rich.console import Console

from edgepriv.device.machine import machine
from edgepriv.errors import UserError
from edgepriv.files import read_json, write_json
from edgepriv.recipe import Recipe

PARTS = ("models", "cost")


def same_models(name: str, options: argparse.Namespace, peers: Peers, folder: Path) -> Iterator[dict[str, Any]]:
    """Every tool on the same models; yields what is known after each seed."""
    seeds, all_scores = [], []
    for seed in options.seeds:
        note(f"{name}, seed {seed}: the same models")
        cell = trained(_recipe(name, seed, options), options.references, folder / "cache")
        given, member = hand_over(cell, folder / "given"), cell.given.member
        scores, own_figures = {"edgepriv": own_scores(cell)}, {}
        for tool in peers.checkouts:
            answer = given / f"{tool}-{peers.commit(tool)[:12]}"
            if not (answer / "answer.json").exists():
                shutil.rmtree(answer, ignore_errors=True)
                peers.ask(tool, "given", given, answer)
            scores[tool], own_figures[tool] = read_answer(answer)
        rows = {tool: {attack: row_of(s, member) for attack, s in of_tool.items()} for tool, of_tool in scores.items()}
        seeds.append({"seed": seed, "tools": rows, "as_the_tool_says": own_figures})
        all_scores.append(scores)
        sizes = {"members": int(member.sum()), "non_members": int((~member).sum()), "population": len(cell.population)}
        setting = sizes | {"references": options.references, "epochs": cell.given.recipe.train.epochs}
        compared = comparisons(seeds, all_scores, sizes["members"], list(peers.checkouts))
        yield {"setting": setting, "seeds": seeds, "comparisons": compared}


def cost(
    name: str, options: argparse.Namespace, peers: Peers, folder: Path, earlier: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Every tool from nothing but the target, ``options.rounds`` times; yields what is known after each row.

    ``earlier``: the part as it stands; its rows are kept where their setting is this one and --again does not name the tool.
    """
    recipe = _recipe(name, options.seeds[0], options)
    setting = {"references": options.references, "epochs": recipe.train.epochs, "seed": recipe.seed, "threads": 1}
    rows = [
        row
        for row in (earlier.get("rows", []) if earlier.get("setting") == setting else [])
        if row["tool"] not in options.again and row["round"] < options.rounds
    ]
    known = {(row["tool"], row["round"]) for row in rows}
    given = hand_over(trained(recipe, options.references, folder / "cache"), folder / "given")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        for row in costs(recipe, options.references, peers, options.rounds, given, Path(work), known):
            note(f"{name}: {row['tool']}, round {row['round']}: {row['cpu_seconds']:.1f} CPU seconds")
            rows = sorted([*rows, row], key=lambda row: row["round"])
            yield {"setting": setting, "rows": rows, "edgepriv_over_peer": ratios(rows)}


def _recipe(name: str, seed: int, options: argparse.Namespace) -> Recipe:
    return recipe_of(name, options.epochs).with_changes(seed=seed)


def about(peers: Peers) -> dict[str, Any]:
    """Where the figures come from."""
    commits = {tool: peers.commit(tool) for tool in peers.checkouts}
    versions = {name: version(name) for name in ("edgepriv", "torch", "numpy", "scipy")}
    return {"commits": commits, "versions": versions | {"python": platform.python_version()}, "machine": machine()}


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for tool in MARKS:
        parser.add_argument(f"--{tool}", type=Path, metavar="DIR", help=f"checkout of {tool}; left out: not compared")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the peers")
    parser.add_argument("--settings", nargs="+", default=["location30"], choices=list(RECIPES))
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--references", type=int, default=16, help="an even number: ML Privacy Meter takes pairs")
    parser.add_argument("--rounds", type=int, default=2, help="of the part cost")
    parser.add_argument("--epochs", type=float, default=1.0, help="factor on the epochs of the recipe")
    tools = ["edgepriv", *MARKS]
    parser.add_argument(
        "--again", nargs="*", default=[], choices=tools, help="tools whose rows of cost are measured anew"
    )
    parser.add_argument(
        "--folder", type=Path, help="keeps models and the peers' answers, for another run with the same"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "peers_audit.json")
    options = parser.parse_args()
    if options.references < 2 or options.references % 2:
        parser.error(f"--references {options.references}: an even number from 2 is needed")
    return options


def main() -> None:
    options = arguments()
    named = {tool: getattr(options, tool.replace("-", "_")) for tool in MARKS}
    peers = Peers({tool: checkout for tool, checkout in named.items() if checkout is not None}, options.python)
    if not peers.checkouts:
        raise UserError(f"name at least one checkout: {', '.join(f'--{tool} DIR' for tool in MARKS)}")
    report = read_json(options.output, "result of peers_audit.py") if options.output.exists() else {}
    options.output.parent.mkdir(parents=True, exist_ok=True)

    def keep(name: str, part: str, content: dict[str, Any]) -> None:
        report.setdefault(name, {})[part] = content | about(peers)
        write_json(options.output, report)

    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in options.settings:
            if "models" in options.parts:
                for content in same_models(name, options, peers, folder):
                    keep(name, "models", content)
            if "cost" in options.parts:
                for content in cost(name, options, peers, folder, report.get(name, {}).get("cost", {})):
                    keep(name, "cost", content)
    console = Console(width=None if sys.stdout.isatty() else 150)
    for name in options.settings:
        if models := report[name].get("models"):
            console.print(models_table(name, models), comparison_table(models["comparisons"]))
        if spent := report[name].get("cost"):
            console.print(cost_table(spent["rows"]))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
