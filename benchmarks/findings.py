"""Write the tables of the documentation anew from the cells that are kept in benchmarks/results.

    python benchmarks/papers.py all best --gather     # first, where cells have been run since
    python benchmarks/findings.py [--check]

Each table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; the text around them is written by hand. ``--check``
changes nothing and fails when a table is not what the cells say.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from findings_field import of_adversarial_training, of_canaries, of_seeds, of_the_field
from findings_lines import (
    LIRA,
    RMIA,
    Cells,
    Rows,
    at_low_fpr,
    best_attack,
    both_accuracies,
    cells_of,
    file_of,
    markdown,
    number,
    of_attack,
    percent,
    table,
    utility,
    with_interval,
)
from papers_experiments import EPOCHS_004, EPOCHS_EARLY
from papers_grid import BEST
from papers_measures import best_adaptive

from edgepriv.errors import UserError
from edgepriv.files import write_text

PAGES = tuple(
    Path(__file__).parents[1] / "docs" / name for name in ("findings.md", "papers.md", "explanation/canaries.md")
)


def widths_001(experiment: str, labels: Mapping[str, str]) -> str:
    shadow = ("shadow-mlp", "oblivious")

    def line(cells: Cells) -> list[str]:
        accuracies = [percent([value]) for value in of_attack(cells, shadow, "balanced_accuracy")]
        return [
            both_accuracies(cells),
            ", ".join(accuracies),
            number(of_attack(cells, shadow, "auc")),
            best_attack(cells),
            at_low_fpr(cells, RMIA),
            file_of(cells),
        ]

    headings = (
        "weights",
        "accuracy, members / others",
        "shadow attack (each seed)",
        "its AUC",
        "best adaptive AUC",
        "RMIA, TPR at 0.1% FPR",
        "file, p50",
    )
    return table(headings, {label: cells_of(experiment, row) for row, label in labels.items()}, line)


def robust_000() -> str:
    rows: Rows = []
    labels = {
        "undefended": "undefended",
        "float": "PGD, float",
        "4-bit": "PGD, then 4 bits",
        "4-bit-flatten": "PGD, then 4 bits, flattened",
        "8-bit": "PGD, then 8 bits",
    }
    for row, label in labels.items():
        for cell in cells_of("000-lenet", row):
            best, robust = best_adaptive(cell), cell["robustness"]
            rows.append(
                [
                    label,
                    str(cell["seed"]),
                    percent(utility([cell])),
                    with_interval(percent([robust["worst_case_accuracy"]]), robust["ci"], 1, 100),
                    "-"
                    if best is None
                    else f"{with_interval(number([best['auc']]), best['auc_ci'], 3)} ({best['name']})",
                    percent(of_attack([cell], ("shadow-mlp", "oblivious"), "balanced_accuracy")),
                    file_of([cell]),
                ]
            )
    headings = (
        "model",
        "seed",
        "clean accuracy",
        "robust accuracy (500 images)",
        "best adaptive AUC",
        "shadow attack",
        "file, p50",
    )
    return markdown(headings, rows)


def heads_003(experiment: str, labels: Mapping[str, str]) -> str:
    leaks = ("ml-leaks", "oblivious")

    def line(cells: Cells) -> list[str]:
        return [
            both_accuracies(cells),
            percent(of_attack(cells, leaks, "balanced_accuracy")),
            number(of_attack(cells, leaks, "auc")),
            percent(of_attack(cells, ("blindmi-diff", ""), "balanced_accuracy")),
            percent(of_attack(cells, ("shadow-mlp", "adaptive"), "balanced_accuracy")),
            number(of_attack(cells, LIRA, "auc")),
            at_low_fpr(cells, LIRA),
            number(of_attack(cells, ("correctness", ""), "auc")),
        ]

    headings = (
        "head",
        "accuracy, members / others",
        "ML-Leaks, shadow without the head",
        "its AUC",
        "BlindMI",
        "shadow attack that knows the head",
        "LiRA that knows it, AUC",
        "its TPR at 0.1% FPR",
        "label alone, AUC",
    )
    return table(headings, {label: cells_of(experiment, row) for row, label in labels.items()}, line)


def noise_facts(experiment: str, row: str) -> list[dict[str, Any]]:
    """What the noise of a row measured on the members, one for each seed; the epochs that follow do not change it."""
    by_seed = {
        cell["seed"]: cell["defences"]["noise"]
        for name in (row, *(f"{row}-{epochs}" for epochs in EPOCHS_004))
        for cell in cells_of(experiment, name)
        if "noise" in cell.get("defences", {})
    }
    return [by_seed[seed] for seed in sorted(by_seed)]


def noise_004(experiment: str) -> str:
    labels = {"none": "none", "uniform": "uniform", "shapley": "Shapley"}

    def line(cells: Cells) -> list[str]:
        noise = noise_facts(experiment, cells[0]["row"])
        return [
            number([facts["mean_norm"] for facts in noise]),
            percent([facts.get("share_all", facts["share_entropy"]) for facts in noise]) if noise else "-",
            both_accuracies(cells),
            *(
                number(of_attack(cells, attack, "auc"))
                for attack in (("three-subnet", "oblivious"), ("three-subnet", "adaptive"), LIRA, RMIA)
            ),
            at_low_fpr(cells, RMIA),
        ]

    headings = (
        "noise",
        "its mean L2 norm",
        "reaches tau in every bound",
        "accuracy, members / others",
        "three-subnet attack without the noise, AUC",
        "with it",
        "LiRA that knows it, AUC",
        "RMIA that knows it",
        "its TPR at 0.1% FPR",
    )
    return table(headings, {label: cells_of(experiment, row) for row, label in labels.items()}, line)


def defences(experiment: str) -> str:
    """The rows of ``best``, in the order of its grid."""

    def line(cells: Cells) -> list[str]:
        accuracy = percent(utility(cells))
        if len(cells) == 1:
            accuracy = with_interval(accuracy, cells[0]["utility"]["non_member_accuracy_ci"], 1, 100)
        return [
            accuracy,
            number(of_attack(cells, LIRA, "auc")),
            at_low_fpr(cells, LIRA),
            at_low_fpr(cells, RMIA),
            best_attack(cells),
            file_of(cells),
        ]

    headings = (
        "defence",
        "accuracy",
        "LiRA adaptive, AUC",
        "its TPR at 0.1% FPR",
        "RMIA's",
        "best adaptive AUC",
        "file, p50",
    )
    return table(headings, {row: cells_of(experiment, row) for row in BEST[experiment].rows}, line)


TABLES: dict[str, Callable[[], str]] = {
    "001-lenet": lambda: widths_001(
        "001-lenet",
        {
            "plain-full": "full, not augmented",
            "plain-4-bit": "4 bits, not augmented",
            "full": "full",
            "16-bit": "16 bits",
            "8-bit": "8 bits",
            "4-bit": "4 bits",
        },
    ),
    "001-resnet20": lambda: widths_001(
        "001-resnet20",
        {
            "full": "full",
            **{f"full-{n}-epochs": f"full, {n} epochs" for n in EPOCHS_EARLY},
            "16-bit": "16 bits",
            "8-bit": "8 bits",
            "4-bit": "4 bits",
            "last-5": "4 bits, last 5 layers",
            "dorefa-16": "DoReFa, 16 bits",
            "dorefa-4": "DoReFa, 4 bits",
        },
    ),
    "000-lenet": robust_000,
    "003-location": lambda: heads_003(
        "003-location",
        {
            "none": "none",
            "member": "member mask",
            "nonmember": "non-member mask",
            "rank": "`rank`",
            "memguard": "MemGuard",
            "dropout": "dropout",
        },
    ),
    "003-cifar100": lambda: heads_003(
        "003-cifar100",
        {
            "none-30": "none",
            "member-30": "member mask",
            "nonmember-30": "non-member mask",
            "rank-30": "`rank`",
            "dropout-30": "dropout",
        },
    ),
    "004-location": lambda: noise_004("004-location"),
    "004-adult": lambda: noise_004("004-adult"),
    "best-location30": lambda: defences("best-location30"),
    "field-location30": lambda: of_the_field("location_mlp.toml"),
    "seeds-fashion_mnist": lambda: of_seeds("fashion_mnist"),
    "seeds-cifar10": lambda: of_seeds("cifar10"),
    "seeds-location30": lambda: of_seeds("location30"),
    "seeds-pneumonia": lambda: of_seeds("pneumonia.npz"),
    "field-pneumonia": lambda: of_the_field("fashion_lenet.toml", "pneumonia.npz"),
    "canaries-fashion_mnist": lambda: of_canaries("fashion_mnist", 3000),
    "canaries-cifar10": lambda: of_canaries("cifar10", 1000),
    "canaries-cifar10-float": lambda: of_canaries("cifar10", 2000),
    "canaries-pneumonia": lambda: of_canaries("pneumonia.npz", 1500),
    "canaries-location30": lambda: of_canaries("location30", 1000),
    "adversarial-leakage": of_adversarial_training,
}
"""By the name that stands in a page."""


def filled(page: str) -> str:
    """``page`` with every table written anew. Raises UserError for a table that is not known."""

    def written(match: re.Match[str]) -> str:
        name = match[1]
        if name not in TABLES:
            raise UserError(f"no table {name}: known are {', '.join(TABLES)}")
        return f"<!-- table {name} -->\n{TABLES[name]()}\n<!-- end -->"

    return re.sub(r"<!-- table (\S+) -->\n.*?<!-- end -->", written, page, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail when a table is not what the cells say"
    )
    options = parser.parse_args()
    for path in PAGES:
        page = path.read_text()
        new = filled(page)
        if options.check and new != page:
            raise UserError(f"the tables of {path.name} are not those of the cells: run python benchmarks/findings.py")
        if not options.check:
            write_text(path, new)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
