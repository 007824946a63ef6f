"""The tables of docs/findings.md that benchmarks/defences.py and benchmarks/adversarial_leakage.py have measured."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from findings_lines import (
    LIRA,
    RMIA,
    Cells,
    Rows,
    at_low_fpr,
    both_accuracies,
    markdown,
    number,
    of_attack,
    percent,
    table,
    with_interval,
)

from edgepriv.errors import UserError
from edgepriv.files import read_json
from edgepriv.report.canaries import strongest_at

FIELD = Path(__file__).parent / "results" / "defences.json"
CANARIES = Path(__file__).parent / "results" / "canaries.json"
FIELD_LABELS = {
    "early-stop": "best held-out epoch",
    "label-smoothing": "label smoothing 0.3",
    "relaxloss": "RelaxLoss 0.6",
    "relaxloss-0.3": "RelaxLoss 0.3",
    "relaxloss-1": "RelaxLoss 1.0",
    "relaxloss-rank": "RelaxLoss 0.6, `rank`",
    "mixup": "mixup",
    "hamp": "HAMP",
    "hamp-best": "HAMP, best held-out epoch",
    "selena-5": "SELENA, 5 sub-models",
    "dmp": "DMP",
    "dmp-rank": "DMP, `rank`",
    "augment": "moved copies (`crop`)",
    "rank": "`rank`",
    "early-rank": "best held-out epoch, `rank`",
    "augment-rank": "moved copies (`crop`), `rank`",
    "dp-sgd-rank": "`rank`",
}
ADVERSARIAL = Path(__file__).parent / "results" / "adversarial_leakage.json"
WAY_LABELS = {
    "natural": "natural",
    "longer": "natural, as many epochs more",
    "fgsm": "FGSM",
    "pgd": "PGD-7",
    "trades": "TRADES-7, beta 6",
}


def of_the_field(recipe: str, data: str | None = None, references: int = 8) -> str:
    """The rows of ``benchmarks/defences.py`` for one recipe and data set with so many reference models, one by one."""
    headings = (
        "defence",
        "seed",
        "accuracy, members / others",
        "attack",
        "AUC",
        "TPR at 1% FPR",
        "at 0.1%",
    )
    lines: Rows = []
    for row in read_json(FIELD, "results")["rows"]:
        if (row["recipe"], row["data"].get("name"), row["references"]) != (recipe, data, references):
            continue
        for place, attack in enumerate(row["attacks"]):
            own = [FIELD_LABELS.get(row["defence"], row["defence"]), str(row["seed"])]
            own.append(both_accuracies([row]))
            rates = [attack["tpr_at_fpr"][level] for level in ("0.01", "0.001")]
            auc = with_interval(f"{attack['auc']:.3f}", attack["auc_ci"], 3)
            low = [with_interval(f"{100 * rate['value']:.1f}%", rate["ci"], 1, 100) for rate in rates]
            lines.append([*(own if not place else [""] * len(own)), attack["name"], auc, *low])
    return markdown(headings, lines)


def of_seeds(data: str, references: int = 16) -> str:
    """The same rows with so many reference models, all seeds of a defence together."""

    def line(rows: Cells) -> list[str]:
        attacks = [
            cell
            for attack in (LIRA, RMIA)
            for cell in (number(of_attack(rows, attack, "auc")), at_low_fpr(rows, attack))
        ]
        return [
            both_accuracies(rows),
            *attacks,
            _found_of_canaries(rows[0], planted),
            _under_attack(rows),
            _file_of(rows),
        ]

    headings = (
        "defence",
        "accuracy, members / others",
        "LiRA, AUC",
        "its TPR at 0.1% FPR",
        "RMIA, AUC",
        "its TPR at 0.1% FPR",
        "of canaries",
        "under AutoAttack",
        "file, p50",
    )
    planted = read_json(CANARIES, "results")["rows"]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in read_json(FIELD, "results")["rows"]:
        if row["data"].get("name") == data and row["references"] == references:
            kinds.setdefault(_label(row), []).append(row)
    if not kinds:
        raise UserError(f"there are no rows of {data} with {references} reference models")
    for label, rows in kinds.items():
        if any(_settings(row) != _settings(rows[0]) for row in rows):
            raise UserError(f"rows of {label} on {data} have different settings and are no seeds of one another")
    return table(headings, kinds, line)


def _file_of(rows: Cells) -> str:
    """Bytes of the first seed's file, and the median over the seeds of its latency, where it was timed."""
    size = f"{rows[0]['bytes'] / 1000:.1f} kB"
    times = [row["p50_ms"] for row in rows if "p50_ms" in row]
    return f"{size}, {median(times):.3f} ms" if times else size


def _found_of_canaries(row: Mapping[str, Any], planted: Cells) -> str:
    """TPR at 0.1% FPR of the attack that finds most canaries, from the run of the same defence with canaries, if ``planted``
    has it."""
    for other in planted:
        data = {name: value for name, value in other["data"].items() if name != "canaries"}
        if data == row["data"] and all(
            other.get(name) == row.get(name) for name in ("recipe", "bits", "changes", "asked")
        ):
            return _rate_of_canaries(other["canaries"])
    return "-"


def _rate_of_canaries(part: Mapping[str, Any], fpr: str = "0.001", whose: str = "canaries") -> str:
    best = strongest_at(part, fpr, whose)
    if best is None:
        return "-"
    rate = best[whose]["tpr_at_fpr"][fpr]
    return with_interval(f"{100 * rate['value']:.1f}%", rate["ci"], 1, 100)


def of_canaries(data: str, members: int) -> str:
    """The rows of ``benchmarks/defences.py --canaries`` for so many members: what is found of canaries and of others, each by
    the attack that finds most there.

    Args:
        data: name of the data set.
        members: canaries among them.

    Returns:
        The table.

    Raises:
        UserError: where there is no such row.
    """
    headings = (
        "defence",
        "accuracy, members / others",
        "average record",
        "canaries",
        "attack",
        "canaries at 1%",
    )
    lines: Rows = []
    for row in read_json(CANARIES, "results")["rows"]:
        if (row["data"].get("name"), row["data"]["members"]) == (data, members):
            part = row["canaries"]
            best = strongest_at(part, "0.001")
            average, rare = (_rate_of_canaries(part, whose=whose) for whose in ("average", "canaries"))
            name = "-" if best is None else best["name"]
            lines.append(
                [_label(row), both_accuracies([row]), average, rare, name, _rate_of_canaries(part, fpr="0.01")]
            )
    if not lines:
        raise UserError(f"there are no rows of {data} with {members} members")
    return markdown(headings, lines)


def _under_attack(rows: Cells) -> str:
    """What AutoAttack leaves, the mean of the seeds; a bound where one of them has no more."""
    measured = [row["robustness"] for row in rows if row.get("robustness")]
    if not measured:
        return "-"
    known = [of["worst_case_accuracy"] is not None for of in measured]
    left = [of["worst_case_accuracy" if whole else "at_most"] for of, whole in zip(measured, known, strict=True)]
    return f"{'' if all(known) else 'at most '}{percent(left)}"


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("recipe", "data", "changes", "asked", "eps", "examples")}


def _label(row: Mapping[str, Any]) -> str:
    """What tells a row from others of the same data but for its seed."""
    private = row.get("defences", row).get("dp")
    label = FIELD_LABELS.get(row["defence"], row["defence"])
    if private is not None:
        head = f", {label}" if row["defence"] in FIELD_LABELS else ""
        label = f"DP-SGD, epsilon {private['epsilon']:.1f}{head}"
    if row["bits"] == 4:
        return label
    return f"{label}, float" if row["bits"] == 32 else f"{label}, {row['bits']} bits"


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
