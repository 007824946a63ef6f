"""The tables of docs/findings.md that benchmarks/defences.py and benchmarks/adversarial_leakage.py have measured."""

from collections.abc import Mapping
from pathlib import Path
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

from edgepriv.files import read_json

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


def of_seeds(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows of ``benchmarks/defences.py``, all seeds of each together: by label, what its settings have."""

    def line(cells: Cells) -> list[str]:
        held = [cell["robustness"]["worst_case_accuracy"] for cell in cells if cell.get("robustness")]
        return [
            both_accuracies(cells),
            number(of_attack(cells, LIRA, "auc")),
            at_low_fpr(cells, LIRA),
            number(of_attack(cells, RMIA, "auc")),
            at_low_fpr(cells, RMIA),
            percent(held) if held else "-",
            f"{cells[0]['bytes'] / 1000:.1f} kB",
        ]

    headings = (
        "defence",
        "accuracy, members / others",
        "LiRA, AUC",
        "TPR at 0.1% FPR",
        "RMIA, AUC",
        "TPR at 0.1% FPR",
        "AutoAttack leaves",
        "file",
    )
    measured = read_json(FIELD, "results")["rows"]
    return table(headings, {label: [row for row in measured if has(row, asked)] for label, asked in rows.items()}, line)


def has(row: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether a row was measured as asked; in a section it may have more. A row that was not changed has no changes."""
    return row.get("changes", {}) == asked.get("changes", {}) and all(
        has(row.get(key, {}), value) if isinstance(value, Mapping) and key != "changes" else row.get(key) == value
        for key, value in asked.items()
    )
