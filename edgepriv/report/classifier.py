"""The classifier's own figures for a terminal of 80 columns, float and shipped side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.report.formatting import area, percent, with_interval

FEW = 4
"""Classes up to which the confusion matrix is shown."""


def classifier_table(own: Mapping[str, Any], twin: Mapping[str, Any] | None) -> list[Table | str]:
    """The classifier's own figures on held-out data: accuracy, AUC, F1, calibration error, and by class where these are few.

    Args:
        own: ``classifier`` of the file's audit.
        twin: the same of its float twin, None where that was not audited.

    Returns:
        The table, notes on it, then a table by subgroup if subgroups are known.
    """
    sides = [own] if twin is None else [twin, own]
    title = Text(f"The classifier on held-out data ({own['n']:,})")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for heading in ("this file",) if twin is None else ("float twin", "this file"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cells in figure_rows(sides):
        table.add_row(name, *cells)
    for name, (_, *cells) in recall_rows(sides) if len(own["classes"]) <= FEW else []:
        table.add_row(Text(f"recall of {name}"), *cells)
    return [table, *_notes(own), *_by_subgroup(sides)]


def figure_rows(sides: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The figures of all held-out data together, as text.

    Args:
        sides: as ``subgroup_rows`` takes them.

    Returns:
        For each figure its name, and one cell for each side; "-" where it is not known. Sensitivity and specificity are there
        if every side has a threshold.
    """
    rows = [
        ("accuracy", [_shown(side["accuracy"], percent) for side in sides]),
        ("AUC", [_shown(side["auc"], area) for side in sides]),
        ("F1", [_plain(side, "f1") for side in sides]),
        ("calibration error", [_plain(side, "calibration_error") for side in sides]),
    ]
    chosen = ("sensitivity", "specificity") if all(side["at_threshold"] for side in sides) else ()
    return rows + [(name, [_shown(side["at_threshold"][name], percent) for side in sides]) for name in chosen]


def recall_rows(sides: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The recall of each class that occurs, as text.

    Args:
        sides: as ``subgroup_rows`` takes them.

    Returns:
        For each class its name, then its records and its recall by each side.
    """
    return [
        (label["class"], [f"{label['n']:,}", *(_shown(side["classes"][place], percent) for side in sides)])
        for place, label in enumerate(sides[-1]["classes"])
    ]


def classifier_section(audit: Mapping[str, Any] | None, own: str) -> dict[str, Any]:
    """What the page's section on the classifier shows.

    Args:
        audit: content of model.audit.json, or None.
        own: name of the file in the section.

    Returns:
        Variables of classifier.html; ``classifier`` alone, as None, where the classifier's figures are not known.
    """
    figures = (audit or {}).get("classifier")
    if not audit or not figures:
        return {"classifier": None}
    twin = (audit.get("float") or {}).get("classifier")
    sides = [figures] if twin is None else [twin, figures]
    return {
        "classifier": figures,
        "definitions": definitions(figures),
        "side_titles": [own] if twin is None else ["undefended float", own],
        "figure_rows": figure_rows(sides),
        "recall_rows": recall_rows(sides),
        "subgroup_rows": subgroup_rows(sides),
        "subgroup_titles": subgroup_titles(sides),
    }


def subgroup_rows(sides: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The figures of each subgroup, as text.

    Args:
        sides: ``classifier`` of the audits, the float twin's first if there is one, this file's last.

    Returns:
        For each subgroup its name, and the cells under ``subgroup_titles``: records, accuracy of each side, and sensitivity of
        this file where there are two classes. Empty without subgroups.
    """
    own = sides[-1].get("subgroups")
    if not own:
        return []
    known = [{row["subgroup"]: row for row in side["subgroups"]["rows"]} for side in sides if side.get("subgroups")]
    rows = []
    for row in own["rows"]:
        accuracies = [_shown(side[row["subgroup"]]["accuracy"], percent) for side in known]
        more = [_shown(row["sensitivity"], percent)] if "sensitivity" in row else []
        rows.append((row["subgroup"], [f"{row['n']:,}", *accuracies, *more]))
    return rows


def subgroup_titles(sides: Sequence[Mapping[str, Any]]) -> list[str]:
    """Headings of the cells of ``subgroup_rows``.

    Args:
        sides: as ``subgroup_rows`` takes them.

    Returns:
        One heading for each cell; the column of names has none.
    """
    accuracies = ["accuracy"] if len(sides) == 1 else ["accuracy, float", "accuracy, this file"]
    return ["n", *accuracies, *(["sensitivity"] if len(sides[-1]["class_names"]) == 2 else [])]


def _by_subgroup(sides: Sequence[Mapping[str, Any]]) -> list[Table]:
    rows = subgroup_rows(sides)
    if not rows:
        return []
    title = Text(f"By {sides[-1]['subgroups']['column']}")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for heading in subgroup_titles(sides):
        table.add_column(heading, justify="right")
    for name, cells in rows:
        table.add_row(Text(name), *cells)
    return [table]


def _shown(figure: Mapping[str, Any], text_of: Any) -> str:
    return "-" if figure["value"] is None else with_interval(figure["value"], figure["ci"], text_of)


def _plain(side: Mapping[str, Any], name: str) -> str:
    value, ends = side[name], side.get(f"{name}_ci")
    if value is None:
        return "-"
    return area(value) if ends is None else with_interval(value, ends, area)


def definitions(own: Mapping[str, Any]) -> list[str]:
    """What the figures are that can be taken in several ways.

    Args:
        own: ``classifier`` of an audit.

    Returns:
        Sentences without a full stop.
    """
    names = own["class_names"]
    averaged = (
        f"F1 and AUC are those of {names[1]!r}, the second class"
        if len(names) == 2
        else "F1 and AUC are means over the classes, each of which counts alike (macro; AUC of each class against the rest)"
    )
    return [averaged, "calibration error (ECE): 15 equal bins of the probability of the label given"]


def _notes(own: Mapping[str, Any]) -> list[str]:
    notes = definitions(own)
    drawn = own.get("bootstrap")
    if drawn:
        several = ", and of the AUC" if len(own["class_names"]) > 2 else ""
        notes.append(
            f"intervals of F1 and calibration error{several}: {drawn['draws']} bootstrap draws of {drawn['over']}, seed "
            f"{drawn['seed']}"
        )
    at = own["at_threshold"]
    if at:
        name = own["class_names"][1]
        notes.append(
            f"sensitivity to {name!r} at {at['threshold']:.3f}, chosen on {at['chosen_on']:,} validation records"
        )
    if len(own["class_names"]) <= FEW:
        notes.append(f"confusion, this file (rows: true {', '.join(own['class_names'])}): {own['confusion']}")
    return notes
