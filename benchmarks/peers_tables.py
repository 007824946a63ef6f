"""From attack scores to the rows, tables and comparisons of benchmarks/peers_audit.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from edgepriv.audit.statistics import auc, tpr_at_fpr

RATES = (0.01, 0.001)
RESAMPLES = 2000
Scores = Mapping[str, np.ndarray]


def row_of(scores: np.ndarray, member: np.ndarray) -> dict[str, Any]:
    """AUC and TPR at 1% and 0.1% FPR with 95% intervals; the same code for every tool's scores."""
    area, interval = auc(scores, member)
    found = {str(rate): tpr_at_fpr(scores, member, rate) for rate in RATES}
    return {"auc": area, "auc_ci": list(interval), "tpr_at_fpr": found}


def mean_tpr(seeds: Sequence[Mapping[str, Any]], tool: str, attack: str, rate: float) -> float:
    """Over the seeds; -1 where the attack has no rate in one of them."""
    rows = [seed["tools"].get(tool, {}).get(attack) for seed in seeds]
    values = [row["tpr_at_fpr"][str(rate)]["value"] if row else None for row in rows]
    return -1.0 if None in values or not values else float(np.mean(values))


def strongest(seeds: Sequence[Mapping[str, Any]], tool: str, rate: float) -> str | None:
    """The tool's attack with the highest mean rate; None where the tool has no rows."""
    names = list(seeds[0]["tools"].get(tool, {})) if seeds else []
    return max(names, key=lambda name: mean_tpr(seeds, tool, name, rate), default=None)


def difference(ours: np.ndarray, theirs: np.ndarray, member: np.ndarray, rate: float, seed: int = 0) -> dict[str, Any]:
    """Our TPR at the rate less theirs on the same candidates, with a paired 95% bootstrap interval.

    Members and non-members are drawn again, each with both tools' scores, so that the threshold varies as well.
    """
    rng = np.random.default_rng(seed)
    sides = np.flatnonzero(member), np.flatnonzero(~member)

    def gap(index: np.ndarray) -> float:
        values = [tpr_at_fpr(scores[index], member[index], rate)["value"] for scores in (ours, theirs)]
        return values[0] - values[1]

    drawn = [gap(np.concatenate([rng.choice(side, len(side)) for side in sides])) for _ in range(RESAMPLES)]
    return {"value": gap(np.arange(len(member))), "ci": [float(q) for q in np.quantile(drawn, [0.025, 0.975])]}


def comparisons(
    seeds: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Scores]], members: int, tools: Sequence[str]
) -> list[dict[str, Any]]:
    """Our strongest attack against each peer's, at each rate: attack of each by the mean over all seeds, then by seed.

    ``not_below``: the mean of our rate is no lower, or in every seed the paired interval reaches 0.
    """
    found = []
    for tool in tools:
        for rate in RATES:
            mine, other = strongest(seeds, "edgepriv", rate), strongest(seeds, tool, rate)
            if mine is None or other is None:
                continue
            gaps = []
            for one in scores:
                ours, theirs = one["edgepriv"][mine], one[tool][other]
                gaps.append(difference(ours, theirs, np.arange(len(ours)) < members, rate))
            means = [mean_tpr(seeds, "edgepriv", mine, rate), mean_tpr(seeds, tool, other, rate)]
            within = means[0] >= means[1] or all(gap["ci"][1] >= 0 for gap in gaps)
            about = {"peer": tool, "fpr": rate, "edgepriv": [mine, means[0]], "theirs": [other, means[1]]}
            found.append(about | {"differences": gaps, "not_below": within})
    return found


def ratios(costs: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Our CPU seconds divided by each peer's, round by round."""
    own = {row["round"]: row["cpu_seconds"] for row in costs if row["tool"] == "edgepriv"}
    peers = sorted({row["tool"] for row in costs} - {"edgepriv"})
    return {
        peer: [own[row["round"]] / row["cpu_seconds"] for row in costs if row["tool"] == peer and row["round"] in own]
        for peer in peers
    }


def models_table(name: str, cell: Mapping[str, Any]) -> Table:
    """Every attack of every tool: means over the seeds, lowest and highest seed in brackets."""
    seeds = cell["seeds"]
    table = Table(
        title=f"{name}: the same target and {cell['setting']['references']} reference models, {len(seeds)} seeds"
    )
    for title in ("tool", "attack", "AUC", "TPR at 1% FPR", "TPR at 0.1% FPR"):
        table.add_column(title)
    for tool, attacks in seeds[0]["tools"].items():
        for attack in attacks:
            rows = [seed["tools"][tool][attack] for seed in seeds]
            rates = [_spread([row["tpr_at_fpr"][str(rate)]["value"] for row in rows], ".1%") for rate in RATES]
            table.add_row(tool, attack, _spread([row["auc"] for row in rows], ".3f"), *rates)
    return table


def comparison_table(found: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="Strongest attack of each, on the same candidates")
    for title in ("FPR", "edgepriv", "peer", "difference by seed, 95% interval", "not below"):
        table.add_column(title)
    for row in found:
        mine, theirs = (f"{name} {value:.1%}" for name, value in (row["edgepriv"], row["theirs"]))
        gaps = "; ".join(f"{g['value']:+.1%} [{g['ci'][0]:+.1%}, {g['ci'][1]:+.1%}]" for g in row["differences"])
        table.add_row(f"{row['fpr']:.1%}", mine, f"{row['peer']} {theirs}", gaps, "yes" if row["not_below"] else "no")
    return table


def cost_table(costs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="Reference models trained and every reference attack run, each tool by itself")
    for title in ("tool", "round", "models trained", "CPU seconds", "of them imports", "seconds", "peak MiB"):
        table.add_column(title)
    for row in costs:
        times = (f"{row['cpu_seconds']:.1f}", f"{row['import_cpu_seconds']:.1f}", f"{row['seconds']:.1f}")
        table.add_row(row["tool"], str(row["round"]), str(row["models"]), *times, str(row["peak_mib"]))
    for peer, values in ratios(costs).items():
        table.add_row(f"edgepriv / {peer}", "", "", ", ".join(f"{value:.2f}" for value in values), "", "", "")
    return table


def _spread(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "not resolvable"
    mean = format(float(np.mean(known)), form)
    return mean if len(known) == 1 else f"{mean} [{min(known):{form}}, {max(known):{form}}]"
