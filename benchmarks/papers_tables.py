"""The tables of the papers: which lines each has, what is measured in them, and a line with the paper's numbers beside ours."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from papers_experiments import DROPOUT, EPOCHS_003, EPOCHS_004, EPOCHS_EARLY, HEADS, NOISES
from papers_measures import MEASURES, OURS, Cell, adaptive_at_low_fpr, attack_row, best_adaptive, over_seeds

PUBLISHED = Path(__file__).parent / "papers_published.toml"

SHADOW = ("shadow-mlp", "oblivious")
ML_LEAKS = ("ml-leaks", "oblivious")
BLINDMI = ("blindmi-diff", "")
THREE_SUBNET = ("three-subnet", "adaptive")


@dataclass(frozen=True)
class Line:
    """One line of a table. ``experiment``, ``row``: its cells, None where there are none, for ``reason``. ``published``: line
    of papers_published.toml. ``attack``: the paper's attack and its threat model ("" for an attack that trains nothing)."""

    label: str
    experiment: str | None
    row: str | None
    attack: tuple[str, str]
    published: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Table:
    """``measures``: what the paper tells of each line, of ``MEASURES``. ``figure``: how it is drawn, "" for a table; of
    ``lines`` and ``points`` the first measures are drawn. ``note``: what our setting does otherwise."""

    title: str
    measures: tuple[str, ...]
    lines: tuple[Line, ...]
    figure: str = ""
    note: str = ""


CLASSES = tuple(f"{side}_{what}" for side in ("non_member", "member") for what in ("precision", "recall", "f1"))
SHARES = ("attack_accuracy", "tn", "fp", "fn", "tp")
NOT_RESNET50 = "too large to train on two processor cores"
NOT_ROBUST_RESNET = "adversarial training with its reference models: too long on two processor cores"


def _widths_001(attack: tuple[str, str]) -> tuple[Line, ...]:
    lines = []
    for name, experiment in (("LeNet", "001-lenet"), ("ResNet-20", "001-resnet20"), ("ResNet-50", None)):
        for width, row in (("4", "4-bit"), ("8", "8-bit"), ("16", "16-bit"), ("full", "full")):
            label = f"{name} {width}"
            reason = "" if experiment else NOT_RESNET50
            lines.append(Line(label, experiment, row if experiment else None, attack, label, reason))
    plain = (("4", "plain-4-bit"), ("full", "plain-full"))
    lines += [Line(f"LeNet {width}, not augmented", "001-lenet", row, attack) for width, row in plain]
    lines += [Line(f"ResNet-20 full, {n} epochs", "001-resnet20", f"full-{n}-epochs", attack) for n in EPOCHS_EARLY]
    return tuple(lines)


def _lines_000(attack: tuple[str, str]) -> tuple[Line, ...]:
    """Proposed is printed at each of our widths: the paper does not say which is its own. Without a number in the paper: the
    same training without its parts, which its claims compare with."""
    proposed = (("4", "4-bit"), ("8", "8-bit"), ("4, flattened", "4-bit-flatten"))
    parts = (("undefended", "undefended"), ("PGD, full width", "float"))
    return (
        *(_of_001("LeNet", "001-lenet", width, attack) for width in (4, 8)),
        *(Line(f"LeNet Proposed {name}", "000-lenet", row, attack, "LeNet Proposed") for name, row in proposed),
        *(Line(f"LeNet {name}", "000-lenet", row, attack) for name, row in parts),
        *(_of_001("ResNet-20", "001-resnet20", width, attack) for width in (4, 8)),
        _not_run("ResNet-20 Proposed", attack, NOT_ROBUST_RESNET),
        *(_not_run(f"ResNet-50 {row}", attack, NOT_RESNET50) for row in ("[10] 4", "[10] 8", "Proposed")),
    )


def _of_001(name: str, experiment: str, width: int, attack: tuple[str, str]) -> Line:
    return Line(f"{name} [10] {width}", experiment, f"{width}-bit", attack, f"{name} [10] {width}")


def _not_run(label: str, attack: tuple[str, str], reason: str) -> Line:
    return Line(label, None, None, attack, label, reason)


def _heads_003(attack: tuple[str, str], name: str) -> tuple[Line, ...]:
    return tuple(
        Line(f"{name} {head}", "003-cifar100", f"{head}-{EPOCHS_003[-1]}", attack, f"{name} {head}") for head in HEADS
    )


def _epochs_003(defences: Sequence[str]) -> tuple[Line, ...]:
    return tuple(
        Line(
            f"{defence}, degree {degree} ({epochs} epochs)",
            "003-cifar100",
            f"{defence}-{epochs}",
            BLINDMI,
            f"{defence}, degree {degree}",
        )
        for defence in defences
        for degree, epochs in enumerate(EPOCHS_003, start=1)
    )


def _noise_004(earlier: Sequence[int] = ()) -> tuple[Line, ...]:
    """Each defence at its last epochs, and at ``earlier`` ones."""
    return tuple(
        line
        for data, experiment in (("Location-30", "004-location"), ("Adult", "004-adult"))
        for method in NOISES
        for line in (
            *(Line(f"{data}, {method}, {n} epochs", experiment, f"{method}-{n}", THREE_SUBNET) for n in earlier),
            Line(f"{data}, {method}", experiment, method, THREE_SUBNET),
        )
    )


_RESNET = tuple(line for line in _widths_001(SHADOW) if line.experiment == "001-resnet20")
_TABLE6 = (
    Line("DoReFa 4", "001-resnet20", "dorefa-4", SHADOW, "DoReFa 4"),
    Line("DoReFa 16", "001-resnet20", "dorefa-16", SHADOW, "DoReFa 16"),
    *(replace(line, label=line.label.replace("ResNet-20", "Proposed")) for line in _RESNET[:3]),
    replace(_RESNET[3], label="full", published="full"),
)
_NOTE_001 = (
    "Shadow model at full width (oblivious); the adaptive columns are by an attacker who trains with the quantizer."
)
_NOTE_003 = (
    "CIFAR-100 is a third of the set, the network a small CNN, not ResNet; ML-Leaks' shadow model is the same CNN."
)
_NOTE_004 = (
    "Location-30 and Adult stand in for Purchase-100 and Texas-100; the attacker has a pool of his own and no members."
)

TABLES: dict[str, Table] = {
    "001-table3": Table(
        "Accuracy of the shadow and attack models",
        ("shadow_accuracy", "attack_accuracy", "adaptive_shadow_accuracy"),
        _widths_001(SHADOW),
        note=_NOTE_001,
    ),
    "001-table4": Table("Precision, recall, F1 of both classes", CLASSES, _widths_001(SHADOW), note=_NOTE_001),
    "001-table5": Table("Attack accuracy, TN, FP, FN, TP", SHARES, _widths_001(SHADOW), note=_NOTE_001),
    "001-table6": Table(
        "DoReFa beside the proposed quantizer, ResNet-20",
        ("member_f1", "member_precision", "member_recall", "mean_f1", "mean_precision", "mean_recall"),
        tuple(replace(line, published=line.label) for line in _TABLE6),
        note="DoReFa's activations are quantized in the paper; see the recipe's quantizer for ours. " + _NOTE_001,
    ),
    "001-figure5": Table("ROC of quantized ResNet-20", ("auc",), _RESNET, "roc", _NOTE_001),
    "001-figure6": Table(
        "ResNet-20, last 5 layers at 4 bits",
        CLASSES,
        (
            Line("full", "001-resnet20", "full", SHADOW),
            Line("last 5 layers at 4 bits", "001-resnet20", "last-5", SHADOW),
        ),
        "bars",
        _NOTE_001,
    ),
    "000-table1": Table(
        "Accuracy of the shadow and attack models", ("shadow_accuracy", "attack_accuracy"), _lines_000(SHADOW)
    ),
    "000-table2": Table("Precision, recall, F1 of both classes", CLASSES, _lines_000(SHADOW)),
    "000-table3": Table("Attack accuracy, TN, FP, FN, TP", SHARES, _lines_000(SHADOW)),
    "000-table4": Table("The same with robust accuracy", (*SHARES, "robust_accuracy"), _lines_000(SHADOW)),
    "000-figure1": Table(
        "ROC of the proposed method and of [10], LeNet",
        ("auc",),
        tuple(replace(line, published="") for line in _lines_000(SHADOW) if line.label.startswith("LeNet")),
        "roc",
    ),
    "003-table4": Table(
        "Attacks before and after the heads, CIFAR-100",
        ("attack_accuracy", "member_precision", "member_recall", "member_f1"),
        (*_heads_003(ML_LEAKS, "ML-Leaks"), *_heads_003(BLINDMI, "BlindMI")),
        note=_NOTE_003,
    ),
    "003-table6": Table(
        "BlindMI against MemGuard and the heads",
        ("member_accuracy", "target_accuracy", "attack_accuracy", "member_precision", "member_recall", "member_f1"),
        tuple(
            Line(name, "003-location", name, BLINDMI, name)
            for name in ("none", "memguard", "nonmember", "member", "rank", "dropout")
        ),
        note="Location-30 stands in for Texas-100; rank and dropout are not in the paper's table.",
    ),
    "003-table7": Table(
        "BlindMI by degree of overfitting",
        ("member_accuracy", "target_accuracy", "attack_accuracy"),
        _epochs_003(("dropout", "member", "nonmember", "rank")),
        note=f"{_NOTE_003} Dropout takes {DROPOUT:g} of the inputs of the Linears.",
    ),
    **{
        f"003-figure{number}": Table(title, (measure,), _epochs_003(HEADS), "lines", _NOTE_003)
        for number, title, measure in (
            (9, "Distance between the answers to members and non-members", "distance"),
            (10, "Test accuracy by epochs", "target_accuracy"),
            (11, "BlindMI's accuracy by epochs", "attack_accuracy"),
        )
    },
    "004-figure2": Table("Test accuracy by epochs", ("target_accuracy",), _noise_004(EPOCHS_004), "lines", _NOTE_004),
    "004-figure3": Table("Attack AUC", ("auc",), _noise_004(), "bars", _NOTE_004),
    "004-figure4": Table(
        "Attack accuracy against the generalisation gap",
        ("gap", "attack_accuracy"),
        _noise_004(),
        "points",
        _NOTE_004,
    ),
}


@cache
def published(table: str) -> dict[str, Any]:
    """``note`` and ``lines`` of one table of papers_published.toml."""
    content: dict[str, Any] = tomllib.loads(PUBLISHED.read_text())
    return {"lines": {}, **content.get(table, {})}


def epochs_of(recipe: Mapping[str, Any]) -> int:
    """Of the stage that ran last of ``train`` and ``noisy``: where a line stands in a figure of epochs."""
    return int(recipe["noisy"]["epochs"] or recipe["train"]["epochs"])


def aggregated(line: Line, measures: Sequence[str], cells: Sequence[Cell], table: str) -> dict[str, Any]:
    """One line of a table's JSON: the paper's numbers, ours over seeds, and what the paper lacks."""
    row: dict[str, Any] = {
        "label": line.label,
        "experiment": line.experiment,
        "row": line.row,
        "attack": line.attack[0],
        "paper": published(table)["lines"].get(line.published, {}),
        "seeds": [cell["seed"] for cell in cells],
    }
    if not cells:
        return row | {"not_run": line.reason or "no cell of it has been run"}
    wanted = dict.fromkeys((*measures, *OURS))
    row["ours"] = {name: over_seeds([MEASURES[name][1](cell, line.attack) for cell in cells]) for name in wanted}
    bests = [best for cell in cells if (best := best_adaptive(cell)) is not None]
    row["best_adaptive_attack"] = max(bests, key=lambda best: best["auc"])["name"] if bests else None
    row["low_fpr"] = adaptive_at_low_fpr(cells)
    shown = attack_row(cells[0], line.attack)
    row["roc"] = shown["roc"] if shown else None
    row["epochs"] = epochs_of(cells[0]["recipe"])
    row["codes"] = len({cell["key"]["code"] for cell in cells})
    return row
