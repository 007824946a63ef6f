"""What is read from the cells of a line: measures by name, means and intervals over seeds, rates at few false positives."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t

from edgepriv.audit.statistics import clopper_pearson

Cell = Mapping[str, Any]

FEWEST_SEEDS = 3
"""Below this no interval over seeds is given."""
REFERENCES_LEFT_OUT = "reference_attacks_left_out"
"""Key of a cell, and why: made before these attacks became stronger, and not again since. The rest of the cell stands."""
ADAPTIVE = ("adaptive", "none")
"""Threat models of an attacker who knows the defence: attacks that train nothing are his as well."""


def attack_row(cell: Cell, attack: tuple[str, str]) -> Mapping[str, Any] | None:
    """What the audit found with an attack in a threat model; None where it was not run."""
    name, threat_model = attack
    rows = [row for row in cell["attacks"] if row["name"] == name and threat_model in ("", row["threat_model"])]
    return rows[0] if rows else None


def _of_attack(read: Callable[[Mapping[str, Any]], float]) -> Callable[[Cell, tuple[str, str]], float | None]:
    def measure(cell: Cell, attack: tuple[str, str]) -> float | None:
        row = attack_row(cell, attack)
        return None if row is None else read(row)

    return measure


def _share(kind: str) -> Callable[[Cell, tuple[str, str]], float | None]:
    return _of_attack(lambda row: row["confusion"][kind] / sum(row["confusion"].values()))


def _per_class(side: str, what: str) -> Callable[[Cell, tuple[str, str]], float | None]:
    return _of_attack(lambda row: row[side][what])


def _mean_of_classes(what: str) -> Callable[[Cell, tuple[str, str]], float | None]:
    return _of_attack(lambda row: (row["member"][what] + row["non_member"][what]) / 2)


def _shadow_accuracy(threat_model: str) -> Callable[[Cell, tuple[str, str]], float | None]:
    def measure(cell: Cell, attack: tuple[str, str]) -> float | None:
        shadow = cell["shadow_models"].get(threat_model)
        return None if shadow is None else shadow["non_member_accuracy"]

    return measure


def best_adaptive(cell: Cell) -> Mapping[str, Any] | None:
    """The attack with the highest AUC of an attacker who knows the defence; those that train nothing are among his.

    None where none was run, or where those with reference models are left out of the cell: the best of the others would
    flatter.
    """
    if REFERENCES_LEFT_OUT in cell:
        return None
    rows = [row for row in cell["attacks"] if row["threat_model"] in ADAPTIVE]
    return max(rows, key=lambda row: row["auc"]) if rows else None


def _adaptive_auc(cell: Cell, attack: tuple[str, str]) -> float | None:
    best = best_adaptive(cell)
    return None if best is None else best["auc"]


def _timed(cell: Cell) -> Mapping[str, Any]:
    return next(row for row in cell["timed"] if row["name"] == "model")


MEASURES: dict[str, tuple[str, Callable[[Cell, tuple[str, str]], float | None]]] = {
    "target_accuracy": ("test acc.", lambda cell, attack: cell["utility"]["non_member_accuracy"]),
    "member_accuracy": ("train acc.", lambda cell, attack: cell["utility"]["member_accuracy"]),
    "gap": ("gap", lambda cell, attack: cell["utility"]["generalisation_gap"]),
    "robust_accuracy": ("robust acc.", lambda cell, attack: cell["robustness"]["worst_case_accuracy"]),
    "shadow_accuracy": ("shadow acc.", _shadow_accuracy("oblivious")),
    "adaptive_shadow_accuracy": ("adaptive shadow acc.", _shadow_accuracy("adaptive")),
    "attack_accuracy": ("attack acc.", _of_attack(lambda row: row["balanced_accuracy"])),
    "auc": ("attack AUC", _of_attack(lambda row: row["auc"])),
    **{kind: (kind.upper(), _share(kind)) for kind in ("tn", "fp", "fn", "tp")},
    **{
        f"{side}_{what}": (f"{short} {what}", _per_class(side, what))
        for side, short in (("member", "in"), ("non_member", "out"))
        for what in ("precision", "recall", "f1")
    },
    **{f"mean_{what}": (f"mean {what}", _mean_of_classes(what)) for what in ("precision", "recall", "f1")},
    "distance": ("distance", lambda cell, attack: cell["distance"]),
    "adaptive_auc": ("best adaptive AUC", _adaptive_auc),
    "size_bytes": ("bytes", lambda cell, attack: _timed(cell)["size_bytes"]),
    "latency_ms": ("p50 ms", lambda cell, attack: _timed(cell)["latency_ms"]["p50"]),
    "size_ratio": ("file / float", lambda cell, attack: cell["ratios"][0]["size"] if cell["ratios"] else None),
    "latency_ratio": ("p50 / float", lambda cell, attack: cell["ratios"][0]["latency_p50"] if cell["ratios"] else None),
}
"""Name -> heading, and how it is read from a cell and the paper's attack; None where it was not measured."""


OURS = ("target_accuracy", "adaptive_auc", "size_bytes", "size_ratio", "latency_ms", "latency_ratio")
"""Measured for every line, whatever the paper tells."""


def over_seeds(values: Sequence[float | None]) -> dict[str, Any] | None:
    """``mean``, ``seeds``, ``values``, and ``ci``, Student's t at 95% over the seeds, None with fewer than three of them.

    None where no seed has a value.
    """
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return None
    ci = None
    if len(known) >= FEWEST_SEEDS:
        reach = float(t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
        ci = [float(known.mean()) - reach, float(known.mean()) + reach]
    return {"mean": float(known.mean()), "ci": ci, "seeds": len(known), "values": known.tolist()}


def lira_at_low_fpr(cells: Sequence[Cell]) -> dict[str, Any] | None:
    """``at_low_fpr`` of adaptive LiRA, online where it was run, else offline; None where it was not run."""
    return next(
        filter(None, (at_low_fpr(cells, name, ("adaptive",)) for name in ("lira-online", "lira-offline"))), None
    )


def adaptive_at_low_fpr(cells: Sequence[Cell]) -> dict[str, Any] | None:
    """That of LiRA, or, where no reference models were trained, of the attack with the highest mean AUC of an attacker who
    knows the defence; None where those with reference models are left out of every cell."""
    if all(REFERENCES_LEFT_OUT in cell for cell in cells):
        return None
    aucs: dict[str, list[float]] = {}
    for row in (row for cell in cells for row in cell["attacks"] if row["threat_model"] in ADAPTIVE):
        aucs.setdefault(row["name"], []).append(row["auc"])
    everywhere = {name: sum(values) for name, values in aucs.items() if len(values) == len(cells)}
    best = max(everywhere, key=everywhere.__getitem__, default=None)
    return lira_at_low_fpr(cells) or (None if best is None else at_low_fpr(cells, best, ADAPTIVE))


def at_low_fpr(
    cells: Sequence[Cell], name: str, threat_models: Sequence[str], fpr: str = "0.001"
) -> dict[str, Any] | None:
    """The true-positive rate of the attack ``name`` at 0.1% false positives.

    ``value``: the mean over seeds; ``ci``: Clopper-Pearson for all seeds' members together (a member of several seeds counts
    several times); ``note`` instead where too few non-members resolve the rate; None where the attack was not run.
    """
    rows = [
        row for cell in cells for row in cell["attacks"] if row["name"] == name and row["threat_model"] in threat_models
    ]
    if not rows:
        return None
    rates = [row["tpr_at_fpr"][fpr] for row in rows]
    if any(rate["value"] is None for rate in rates):
        note = next(rate["note"] for rate in rates if rate["value"] is None)
        return {"attack": name, "value": None, "note": note}
    members = sum(row["n_members"] for row in rows)
    hits = sum(rate["value"] * row["n_members"] for rate, row in zip(rates, rows, strict=True))
    return {"attack": name, "value": hits / members, "ci": list(clopper_pearson(hits, members)), "members": members}
