"""Write the tables of docs/findings.md and docs/papers.md anew from the cells that are kept in benchmarks/results/papers/cells.

    python benchmarks/papers.py all best --gather     # first, where cells have been run since
    python benchmarks/findings.py [--check]

Each table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; the text around them is written by hand. ``--check``
changes nothing and fails when a table is not what the cells say.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from papers_experiments import EPOCHS_004, EPOCHS_EARLY
from papers_grid import BEST
from papers_measures import REFERENCES_LEFT_OUT, attack_row, best_adaptive
from papers_measures import at_low_fpr as rate_at_low_fpr

from edgepriv.errors import UserError
from edgepriv.files import read_json, write_text

PAGES = tuple(Path(__file__).parents[1] / "docs" / name for name in ("findings.md", "papers.md"))
CELLS = Path(__file__).parent / "results" / "papers" / "cells"
FIELD = Path(__file__).parent / "results" / "defences.json"
FIELD_LABELS = {
    "early-stop": "best held-out epoch",
    "label-smoothing": "label smoothing 0.3",
    "relaxloss": "RelaxLoss 0.6",
    "hamp": "HAMP",
    "hamp-best": "HAMP, best held-out epoch",
    "selena-5": "SELENA, 5 sub-models",
    "dmp": "DMP",
    "augment": "moved copies (`crop`)",
    "rank": "`rank`",
    "early-rank": "best held-out epoch, `rank`",
}
ADVERSARIAL = Path(__file__).parent / "results" / "adversarial_leakage.json"
WAY_LABELS = {
    "natural": "natural",
    "longer": "natural, as many epochs more",
    "fgsm": "FGSM",
    "pgd": "PGD-7",
    "trades": "TRADES-7, beta 6",
}
LIRA, RMIA = ("lira-online", "adaptive"), ("rmia-online", "adaptive")

Cells = Sequence[Mapping[str, Any]]
Rows = list[list[str]]


def cells_of(experiment: str, row: str, folder: Path = CELLS) -> list[dict[str, Any]]:
    """The kept cells of one row, by seed; none where it has not been run."""
    path = folder / f"{experiment}.json"
    return read_json(path, "cells").get(row, []) if path.exists() else []


def markdown(headings: Sequence[str], rows: Rows) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(values: Sequence[float]) -> str:
    return f"{100 * float(np.mean(values)):.1f}%"


def number(values: Sequence[float]) -> str:
    return f"{float(np.mean(values)):.3f}" if values else "-"


def of_attack(cells: Cells, attack: tuple[str, str], what: str) -> list[float]:
    return [row[what] for cell in cells if (row := attack_row(cell, attack)) is not None]


def utility(cells: Cells, what: str = "non_member_accuracy") -> list[float]:
    return [cell["utility"][what] for cell in cells]


def both_accuracies(cells: Cells) -> str:
    return f"{percent(utility(cells, 'member_accuracy'))} / {percent(utility(cells))}"


def at_low_fpr(cells: Cells, attack: tuple[str, str]) -> str:
    """True-positive rate at 0.1% false positives, all seeds' members together."""
    rate = rate_at_low_fpr(cells, attack[0], attack[1:])
    if rate is None or rate["value"] is None:
        return "-"
    return with_interval(f"{100 * rate['value']:.2f}%", rate["ci"], 2, 100) + of_fewer_seeds(cells)


def best_attack(cells: Cells) -> str:
    attacks = [best for cell in cells if (best := best_adaptive(cell)) is not None]
    if not attacks:
        return "-"
    names = ", ".join(sorted({row["name"] for row in attacks}))
    return f"{number([row['auc'] for row in attacks])} ({names})" + of_fewer_seeds(cells)


def of_fewer_seeds(cells: Cells) -> str:
    """Which seeds a figure of attacks with reference models is of, where it is not of all of the row's."""
    measured = [str(cell["seed"]) for cell in cells if REFERENCES_LEFT_OUT not in cell]
    if not measured or len(measured) == len(cells):
        return ""
    return f", seed{'s' if len(measured) > 1 else ''} {', '.join(measured)}"


def file_of(cells: Cells) -> str:
    timed = next(row for row in cells[0]["timed"] if row["name"] == "model")
    return f"{timed['size_bytes'] / 1000:.1f} kB, {timed['latency_ms']['p50']:.3f} ms"


def with_interval(value: str, ci: Sequence[float], digits: int, scale: float = 1) -> str:
    low, high = (f"{scale * end:.{digits}f}" for end in ci)
    return f"{value} [{low}, {high}]"


def table(headings: Sequence[str], rows: Mapping[str, Cells], line: Callable[[Cells], list[str]]) -> str:
    """One line for each label whose row has been run: label, number of seeds, ``line``."""
    return markdown(
        [headings[0], "seeds", *headings[1:]],
        [[label, str(len(cells)), *line(cells)] for label, cells in rows.items() if cells],
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


def of_the_field(recipe: str, data: str | None = None) -> str:
    """The rows of ``benchmarks/defences.py`` for one recipe and data set, one for each defence and seed."""
    headings = (
        "defence",
        "seed",
        "references",
        "accuracy, members / others",
        "attack",
        "AUC",
        "TPR at 1% FPR",
        "at 0.1%",
    )
    lines: Rows = []
    for row in read_json(FIELD, "results")["rows"]:
        if row["recipe"] != recipe or row["data"].get("name") != data:
            continue
        for place, attack in enumerate(row["attacks"]):
            own = [FIELD_LABELS.get(row["defence"], row["defence"]), str(row["seed"]), str(row["references"])]
            own.append(both_accuracies([row]))
            rates = [attack["tpr_at_fpr"][level] for level in ("0.01", "0.001")]
            auc = with_interval(f"{attack['auc']:.3f}", attack["auc_ci"], 3)
            low = [with_interval(f"{100 * rate['value']:.1f}%", rate["ci"], 1, 100) for rate in rates]
            lines.append([*(own if not place else [""] * len(own)), attack["name"], auc, *low])
    return markdown(headings, lines)


def of_adversarial_training() -> str:
    """The ways of ``benchmarks/adversarial_leakage.py``: all seeds together, and what exceeds natural training."""
    headings = (
        "training",
        "accuracy, members / others",
        "robust accuracy",
        "attack",
        "AUC",
        "more than natural",
        "TPR at 1% FPR",
        "more",
        "at 0.1%",
    )
    lines: Rows = []
    for way, measured in read_json(ADVERSARIAL, "results")["ways"].items():
        left = [row["robustness"]["worst_case_accuracy"] for row in measured["seeds"] if "robustness" in row]
        own = [WAY_LABELS.get(way, way), both_accuracies(measured["seeds"]), percent(left) if left else "-"]
        for place, attack in enumerate(measured["together"]):
            rates, more = attack["tpr_at_fpr"], attack["more"]
            low = [with_interval(f"{100 * rate['value']:.2f}%", rate["ci"], 2, 100) for rate in rates.values()]
            line = [*(own if not place else [""] * len(own)), attack["name"]]
            line.append(with_interval(f"{attack['auc']:.3f}", attack["auc_ci"], 3))
            base = way == "natural"
            gaps = [
                with_interval(f"{scale * gap['value']:+.{digits}f}", gap["ci"], digits, scale)
                for gap, scale, digits in ((more["auc"], 1, 3), (more["0.01"], 100, 1))
                if not base
            ]
            line += [gaps[0] if gaps else "", low[0], gaps[1] if gaps else "", *(low[1:] or ["-"])]
            lines.append(line)
    return markdown(headings, lines)


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
    "best-cifar10": lambda: defences("best-cifar10"),
    "best-fashion_mnist": lambda: defences("best-fashion_mnist"),
    "field-location30": lambda: of_the_field("location_mlp.toml"),
    "field-pneumonia": lambda: of_the_field("fashion_lenet.toml", "pneumonia.npz"),
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
