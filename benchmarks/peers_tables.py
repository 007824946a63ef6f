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
    rates = {str(rate): tpr_at_fpr(scores, member, rate) for rate in RATES}
    return {"auc": area, "auc_ci": list(interval), "tpr_at_fpr": rates}


def mean_tpr(seeds: Sequence[Mapping[str, Any]], tool: str, rate: float) -> dict[str, float]:
    """The tool's attacks -> their TPR, the mean over the seeds. An attack without a rate in one of the seeds is left out."""
    means = {}
    for attack in seeds[0]["tools"][tool]:
        values = [seed["tools"][tool][attack]["tpr_at_fpr"][str(rate)]["value"] for seed in seeds]
        if None not in values:
            means[attack] = float(np.mean(values))
    return means


def differences(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], member: np.ndarray, rate: float
) -> dict[str, Any]:
    """Our TPR at the rate less theirs on the same candidates: by seed, and their mean with a paired 95% bootstrap interval.

    In each seed members and non-members are drawn again, each with both tools' scores, so that the threshold varies as well.
    """
    sides = np.flatnonzero(member), np.flatnonzero(~member)

    def gap(mine: np.ndarray, other: np.ndarray, index: np.ndarray) -> float:
        values = [tpr_at_fpr(scores[index], member[index], rate)["value"] for scores in (mine, other)]
        return values[0] - values[1]

    by_seed, drawn = [], np.zeros((len(ours), RESAMPLES))
    for seed, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        rng = np.random.default_rng(seed)
        by_seed.append(gap(mine, other, np.arange(len(member))))
        for i in range(RESAMPLES):
            drawn[seed, i] = gap(mine, other, np.concatenate([rng.choice(side, len(side)) for side in sides]))
    low, high = np.quantile(drawn.mean(axis=0), [0.025, 0.975])
    return {"by_seed": by_seed, "mean": float(np.mean(by_seed)), "ci": [float(low), float(high)]}


def comparisons(
    seeds: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Scores]], members: int, tools: Sequence[str]
) -> list[dict[str, Any]]:
    """Our strongest attack against each peer's at each rate, both chosen by their means over the seeds.

    ``verdict``: "not below" when the mean of our rate is no lower, "within the interval" when the interval of the difference
    reaches 0, "below" otherwise.
    """
    rows = []
    for tool in tools:
        for rate in RATES:
            mine, other = mean_tpr(seeds, "edgepriv", rate), mean_tpr(seeds, tool, rate)
            if not mine or not other:
                continue  # too few non-members for this rate
            best, theirs = max(mine, key=lambda name: mine[name]), max(other, key=lambda name: other[name])
            both = [one["edgepriv"][best] for one in scores], [one[tool][theirs] for one in scores]
            gap = differences(*both, np.arange(len(both[0][0])) < members, rate)
            verdict = "not below" if gap["mean"] >= 0 else "within the interval" if gap["ci"][1] >= 0 else "below"
            about = {"peer": tool, "fpr": rate, "edgepriv": [best, mine[best]], "theirs": [theirs, other[theirs]]}
            rows.append(about | {"difference": gap, "verdict": verdict})
    return rows


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


def comparison_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="Strongest attack of each, on the same candidates")
    for title in ("FPR", "edgepriv", "peer", "mean difference, 95% interval", "edgepriv is"):
        table.add_column(title)
    for row in rows:
        mine, theirs = (f"{name} {value:.1%}" for name, value in (row["edgepriv"], row["theirs"]))
        gap, (low, high) = row["difference"]["mean"], row["difference"]["ci"]
        shown = f"{100 * gap:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        table.add_row(f"{row['fpr']:.1%}", mine, f"{row['peer']} {theirs}", shown, row["verdict"])
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


def _spread(values: Sequence[float | None], number_format: str) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "not resolvable"
    mean = format(float(np.mean(known)), number_format)
    return mean if len(known) == 1 else f"{mean} [{min(known):{number_format}}, {max(known):{number_format}}]"
