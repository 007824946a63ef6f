"""A search for the best file: its verdict, its frontier, and the page of both."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.report.formatting import count, percent, rate, with_interval
from edgepriv.report.html import templates
from edgepriv.report.plots import COLOURS, FAINT, STYLE, figure_of, inline

Row = Mapping[str, Any]
COLUMNS = ("candidate", "of float", "bytes", "accuracy", "points lost", "members found", "under attack")


def lines(content: Row) -> list[str]:
    """What a search ended with.

    Args:
        content: of tune.json.

    Returns:
        Sentences: the file, its budgets, what it tied with, how it is made again.
    """
    if not content["finished"]:
        return [f"The search goes on: {count(content['trials'], 'candidate')} so far; the best is {title_of(content)}."]
    kept = all(row["met"] for row in content["budgets"]) and content["within"]
    ends = "within every budget" if kept else "the nearest to the budgets"
    return [
        f"{content['model']}, {ends}: {title_of(content)}",
        *(row["sentence"] for row in content["budgets"]),
        *content["said"],
        f"chosen by {content['chosen_on']:,} non-members, and its figures are of {content['told_on']:,} others",
        f"the same file again: {content['command']}",
    ]


def title_of(content: Row) -> str:
    """The winner in words.

    Args:
        content: of tune.json.

    Returns:
        Its title.
    """
    return next(str(row["title"]) for row in content["candidates"] if row["name"] == content["winner"])


def cells(row: Row) -> tuple[str, ...]:
    """A candidate as text.

    Args:
        row: of ``candidates``.

    Returns:
        One cell for each of COLUMNS, empty where it was not measured.
    """
    low, high = row["drop"]["ci"]
    return (
        row["title"],
        f"{row['size_bytes'] / row['float_bytes']:.3f}x",
        f"{row['size_bytes']:,}",
        percent(row["accuracy"]),
        f"{row['drop']['value']:+.2f} [{low:+.2f}, {high:+.2f}]",
        ""
        if "tpr" not in row
        else f"{with_interval(row['tpr']['value'], row['tpr']['ci'], rate)} ({row['tpr']['attack']})",
        "" if "robust" not in row else with_interval(row["robust"]["value"], row["robust"]["ci"], percent),
    )


def frontier_table(content: Row) -> Table:
    """The candidates that no other one beats in size and accuracy, the smallest first.

    Args:
        content: of tune.json.

    Returns:
        A row for each; the winner is marked.
    """
    title = f"Frontier, on the {content['chosen_on']:,} non-members by which the file was chosen"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown = [row for row in content["candidates"] if row["on_frontier"] or row["name"] == content["winner"]]
    measured = [place for place in range(len(COLUMNS)) if any(cells(row)[place] for row in shown)]
    for place in measured:
        table.add_column(COLUMNS[place], justify="right" if place else "left", overflow="fold")
    for row in shown:
        first, *rest = (cells(row)[place] for place in measured)
        table.add_row(Text(("> " if row["name"] == content["winner"] else "") + first), *rest)
    return table


def frontier_plot(rows: Sequence[Row], winner: str, asked: Row) -> Markup:
    """Size against accuracy: every candidate, the frontier joined, the winner ringed, budgets as lines.

    Args:
        rows: ``candidates`` of tune.json, at least one.
        winner: its name.
        asked: ``asked`` of tune.json.

    Returns:
        One svg element with a description for screen readers.
    """
    ratios = [row["size_bytes"] / row["float_bytes"] for row in rows]
    lost = [row["drop"]["value"] for row in rows]
    with mpl.rc_context(STYLE):
        figure, axes = figure_of(6.4, 4.0)
        axes.scatter(ratios, lost, s=22, color=FAINT, label="candidates")
        front = [place for place, row in enumerate(rows) if row["on_frontier"]]
        axes.plot(
            [ratios[at] for at in front], [lost[at] for at in front], "o-", color=COLOURS[0], ms=4, label="frontier"
        )
        best = next(place for place, row in enumerate(rows) if row["name"] == winner)
        low, high = rows[best]["drop"]["ci"]
        axes.errorbar(
            [ratios[best]], [lost[best]], [[lost[best] - low], [high - lost[best]]], color=COLOURS[1], capsize=3
        )
        axes.scatter([ratios[best]], [lost[best]], s=90, facecolors="none", edgecolors=COLOURS[1], label="chosen")
        if asked["drop"] is not None:
            axes.axhline(asked["drop"], color="#333333", linestyle="--", linewidth=1, label="budget")
        if asked["size"] is not None:
            limit = (
                asked["size"]["limit"] if asked["size"]["relative"] else asked["size"]["limit"] / rows[0]["float_bytes"]
            )
            axes.axvline(limit, color="#333333", linestyle="--", linewidth=1)
        axes.set(xlabel="size, share of the float file", ylabel="points of accuracy lost")
        axes.invert_yaxis()
        axes.legend(loc="lower right")
    chosen = f"chosen: {ratios[best]:.3f} of the float file, {lost[best]:.2f} points lost"
    told = f"{len(rows)} candidates, {len(front)} on the frontier; {chosen}"
    return inline(figure, f"Size against accuracy lost. {told}.")


def page(content: Row) -> str:
    """The page of a search, while it goes on and afterwards.

    Args:
        content: of tune.json; without the figures of the file while the search goes on.

    Returns:
        The whole page. It refers to no other file and no address.
    """
    rows = content["candidates"]
    return (
        templates()
        .get_template("tuned.html")
        .render(
            title=f"Tuned for {asked_in_words(content['asked'])}",
            lines=lines(content),
            plot=frontier_plot(rows, content["winner"], content["asked"]),
            columns=COLUMNS,
            rows=[(row, cells(row)) for row in rows],
            winner=content["winner"],
            content=content,
        )
    )


def asked_in_words(asked: Row) -> str:
    """The budgets.

    Args:
        asked: of tune.json.

    Returns:
        As they are written on a command line.
    """
    size, leakage = asked["size"], asked["leakage"]
    parts = []
    if size is not None:
        parts.append(f"a size of {size['limit']:g}x" if size["relative"] else f"a size of {size['limit']:,.0f} bytes")
    if asked["drop"] is not None:
        parts.append(f"a loss of {asked['drop']:g} points")
    if leakage is not None:
        parts.append(f"a true-positive rate of {leakage['tpr']:g} at {leakage['fpr']:g}")
    if asked["robust"] is not None:
        parts.append(f"an accuracy under attack of {asked['robust']:g}")
    return ", ".join(parts)
