"""Plots as inline SVG: no file, font or address outside the page."""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgepriv.audit.knowledge import phrase_of
from edgepriv.audit.statistics import clopper_pearson
from edgepriv.report.formatting import attack_name
from edgepriv.report.groups import by_strength, counts

# Okabe and Ito's colours stay apart for colour-blind readers.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MEMBERS, NON_MEMBERS, FAINT = "#d55e00", "#0072b2", "#b8bec6"
CROWDED = 40
"""Percent of a group in one bin from which a histogram is drawn on a logarithmic axis."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgepriv",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib; the page shows the reader's own font instead
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6570",
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 8,
}
_PATH, _LONG = re.compile(r' d="[^"]*"'), re.compile(r"-?\d+\.\d{2,}")
"""Points of a path, which a tenth of a point's 1/72 inch places as well as a millionth."""
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def roc(model: str, attacks: Sequence[Mapping[str, Any]], utility: Mapping[str, Any]) -> Markup:
    """ROC curves on logarithmic axes: six attacks in colour, the others faint, the diagonal of guessing dashed.

    The strongest attack has the band of its 95% intervals. Grey marks false-positive rates below one non-member.

    Args:
        model: name of what was attacked, the title.
        attacks: rows of the audit's ``attacks``, at least one.
        utility: ``n_members`` and ``n_non_members`` of all candidates.

    Returns:
        One svg element with a description for screen readers.
    """
    ranked = _coloured_first(by_strength(attacks))
    floor = min(0.5 / utility["n_non_members"], 1e-2)
    with mpl.rc_context(STYLE):
        figure, axes = figure_of(5.4, 4.6)
        axes.plot([floor, 1], [floor, 1], "--", color="#333333", linewidth=1, label="guessing")
        for place, attack in reversed(list(enumerate(ranked))):
            fpr, tpr = (np.maximum(attack["roc"][key], floor) for key in ("fpr", "tpr"))
            named = place < len(COLOURS)
            axes.plot(
                fpr,
                tpr,
                color=COLOURS[place] if named else FAINT,
                linewidth=1.6 if named else 0.8,
                zorder=3 if named else 1,
                drawstyle="steps-post",
                label=f"{attack_name(attack)} ({phrase_of(attack)}), AUC {attack['auc']:.3f}" if named else None,
            )
            if place == 0:
                low, high = (np.maximum(side, floor) for side in _band(attack, utility))
                axes.fill_between(fpr, low, high, step="post", color=COLOURS[0], alpha=0.15, linewidth=0, zorder=2)
        axes.set(xscale="log", yscale="log", xlim=(floor, 1.02), ylim=(floor, 1.1))
        axes.set(
            xlabel="false-positive rate (non-members taken for members)", ylabel="true-positive rate (members found)"
        )
        axes.set_title(model, fontsize=9)
        if floor < 1 / utility["n_non_members"]:
            axes.axvspan(floor, 1 / utility["n_non_members"], color="#eef0f2", zorder=0)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="lower right", fontsize=7)
    best = ranked[0]
    return inline(
        figure,
        f"Log-log ROC curves of {len(ranked)} membership attacks ({model}) against the diagonal of guessing; "
        f"the largest AUC is that of {attack_name(best)}, {best['auc']:.3f}.",
    )


def roc_of_versions(curves: Mapping[str, Mapping[str, Any]]) -> Markup:
    """The ROC curve of each version's strongest attack, on logarithmic axes.

    Args:
        curves: name -> ``fpr``, ``tpr`` and ``n_non_members``; at least one.

    Returns:
        One svg element with a description for screen readers.
    """
    floor = min(1e-2, max(0.5 / curve["n_non_members"] for curve in curves.values()))
    with mpl.rc_context(STYLE):
        figure, axes = figure_of(5.4, 4.6)
        axes.plot([floor, 1], [floor, 1], "--", color="#333333", linewidth=1, label="guessing")
        for place, (name, curve) in enumerate(curves.items()):
            fpr, tpr = (np.maximum(curve[key], floor) for key in ("fpr", "tpr"))
            colour, dashes = COLOURS[place % len(COLOURS)], ("-", "--", ":", "-.")[place % 4]
            axes.plot(fpr, tpr, dashes, color=colour, linewidth=1.6, drawstyle="steps-post", label=name)
        axes.set(xscale="log", yscale="log", xlim=(floor, 1.02), ylim=(floor, 1.1))
        axes.set(
            xlabel="false-positive rate (non-members taken for members)", ylabel="true-positive rate (members found)"
        )
        axes.legend(loc="lower right", fontsize=7)
    return inline(figure, f"Log-log ROC curves of the attack with the largest AUC on each: {', '.join(curves)}.")


def _coloured_first(attacks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The strongest five, then the best at 1% false positives, whose curve an AUC may not show, then the others."""
    first, rest = attacks[: len(COLOURS) - 1], attacks[len(COLOURS) - 1 :]
    rest = sorted(rest, key=lambda attack: -((attack["tpr_at_fpr"].get("0.01") or {}).get("value") or 0.0))
    return [*first, *rest]


def _band(attack: Mapping[str, Any], utility: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Clopper-Pearson intervals of the true-positive rate at each point of the curve: lower and upper ends; where records
    belong to persons, as if those of one were copies of each other."""
    members = attack.get("n_member_persons") or counts(attack, utility)[0]
    bounds = np.array([clopper_pearson(rate * members, members) for rate in attack["roc"]["tpr"]])
    return bounds[:, 0], bounds[:, 1]


def histogram(attack: Mapping[str, Any]) -> Markup:
    """Share of members and of non-members in each bin of one attack's score.

    The axis of shares is logarithmic where one bin holds more than ``CROWDED`` percent.

    Args:
        attack: a row of the audit's ``attacks``; its ``histogram`` has ``edges`` [bins + 1], and ``members`` and
            ``non_members`` [bins], as counts.

    Returns:
        One svg element with a description for screen readers.
    """
    edges = np.asarray(attack["histogram"]["edges"])
    with mpl.rc_context(STYLE):
        figure, axes = figure_of(4.2, 2.6)
        for key, colour, label in (("members", MEMBERS, "members"), ("non_members", NON_MEMBERS, "non-members")):
            counts = np.asarray(attack["histogram"][key], dtype=float)
            shares = 100 * counts / max(counts.sum(), 1)
            axes.stairs(shares, edges, color=colour, fill=True, alpha=0.25)
            axes.stairs(shares, edges, color=colour, linewidth=1.2, label=label)
        axes.set(xlabel="attack score (higher: taken for a member)", ylabel="% of each group")
        if axes.get_ylim()[1] > CROWDED:
            # One bin holds nearly everyone; who stands out is in the others.
            axes.set(yscale="log", ylabel="% of each group, logarithmic")
        axes.set_title(f"{attack_name(attack)} ({phrase_of(attack)})", fontsize=9)
        axes.legend()
    return inline(
        figure,
        f"Score histograms of members and non-members for {attack_name(attack)} ({phrase_of(attack)}); the two overlap "
        f"as the AUC of {attack['auc']:.3f} says.",
    )


def robust_accuracy(curves: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Accuracy against the size of the perturbation, with the worst case and its 95% interval at the eps that was asked for.

    Args:
        curves: name of a model -> ``robustness`` of its audit, of which the worst case was measured; at least one, six at most.

    Returns:
        One svg element with a description for screen readers.
    """
    with mpl.rc_context(STYLE):
        figure, axes = figure_of(5.4, 3.4)
        for place, (name, measured) in enumerate(curves.items()):
            points = _with_clean(measured)
            line = axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[place], markersize=3.5, label=name)
            low, high = measured["ci"]
            middle = measured["worst_case_accuracy"]
            axes.errorbar(
                measured["eps"],
                100 * middle,
                yerr=[[100 * (middle - low)], [100 * (high - middle)]],
                fmt="D",
                markersize=5,
                capsize=3,
                color=line[0].get_color(),
            )
        first = next(iter(curves.values()))
        axes.axvline(first["eps"], color=FAINT, linestyle=":", linewidth=1, zorder=0)
        axes.set(xlabel=f"perturbation eps ({first['norm']}, inputs in [0, 1])", ylabel="accuracy, %", ylim=(0, 102))
        axes.set_xlim(left=0)
        axes.legend()
    text = "; ".join(
        f"{name}: " + ", ".join(f"{value:.1f}% at {eps:g}" for eps, value in _with_clean(measured))
        for name, measured in curves.items()
    )
    return inline(figure, f"Accuracy against the size of the perturbation. {text}.")


def _with_clean(measured: Mapping[str, Any]) -> list[tuple[float, float]]:
    points = {0.0: measured["clean_accuracy"]} | {point["eps"]: point["accuracy"] for point in measured["curve"]}
    return [(eps, 100 * accuracy) for eps, accuracy in sorted(points.items())]


def figure_of(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty plot.

    Args:
        width: in inches.
        height: in inches.

    Returns:
        The figure and its axes, with a grid.
    """
    left, right, bottom, top = 0.62, 0.12, 0.5, 0.3  # inches; measuring the labels instead would double the time
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))
    axes.grid(True, color="#e6e8eb", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def inline(figure: Figure, description: str) -> Markup:
    """A plot as it stands in a page.

    Args:
        figure: that is drawn.
        description: for screen readers.

    Returns:
        One svg element.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace("'DejaVu Sans'", "system-ui")
    svg = _PATH.sub(lambda path: _LONG.sub(lambda number: f"{float(number[0]):.1f}", path[0]), svg)
    return Markup(_described(_own_ids(svg, "p" + hashlib.sha256(svg.encode()).hexdigest()[:8]), description))


def _own_ids(svg: str, prefix: str) -> str:
    """Drop the ids that nothing refers to and make the others unique in a page with several plots."""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))

    def rename(match: re.Match[str]) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]*)"', rename, svg)
    return re.sub(r'(href="|url\()#', rf"\g<1>#{prefix}-", svg)


def _described(svg: str, description: str) -> str:
    text = escape(description)
    svg = re.sub(r'(<svg [^>]*?) ?width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) ?height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| version="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    head, rest = svg.split(">", 1)
    return f'{head} role="img" aria-label="{text}"><title>{text}</title>{rest}'
