"""Tables for the terminal: one audit, one bench, several models side by side, one file layer by layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.audit.attacks import NEEDS
from edgepriv.audit.knowledge import MEANINGS, PHRASES, phrase_of
from edgepriv.recipe import differences
from edgepriv.report.changes import figure_cells, headline, notes
from edgepriv.report.characters import MARKS, drawn, lowest_of
from edgepriv.report.devices import device_rows
from edgepriv.report.formatting import (
    area,
    attack_name,
    budget,
    count,
    file_size,
    latency_range,
    megabytes,
    milliseconds,
    percent,
    rate,
    significant,
    times,
    with_interval,
)
from edgepriv.report.verdict import like_guessing, strongest

WIDTH = 79
AT_MOST = "at most: a bound from attacks without gradients; a gradient attack would find more"


def known_attacks_tables(attacks: Sequence[Mapping[str, Any]]) -> list[Table | str]:
    """What every attack needs, in the order of an audit, and what the words for it mean.

    Attacks that are others on other questions ("adversarial/loss" is "loss") share one row.

    Args:
        attacks: what ``pipeline.attacks`` returns.

    Returns:
        The table, then one text of several lines; both fit into 80 columns.
    """
    table = Table(
        title=Text(f"{len(attacks)} membership attacks"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in ("attack, by attacker", "needs", "queries", "paper"):
        first = heading.startswith("attack")
        table.add_column(Text(heading), no_wrap=first, justify="right" if heading == "queries" else "left")
    names, needed = {attack["name"] for attack in attacks}, set[str]()
    for attacker, phrase in PHRASES.items():
        shown = set[str]()
        table.add_section()
        _row(table, f"{phrase}:", "", "", "")
        for attack in (attack for attack in attacks if attack["attacker"] == attacker):
            kind, _, base = attack["name"].rpartition("/")
            needed |= set(attack["needs"])
            if kind not in shown or not kind:
                queries = f"{attack['queries']:,}" + (" label" if attack["reads"] == "label" else "")
                needs = ", ".join(attack["needs"]) or "nothing"
                more = (f" {kind}/...", "as ..., gradients", queries, "as ...") if kind and base in names else None
                _row(table, *(more or (f" {attack['name']}", needs, queries, attack["paper"])))
            shown |= {kind}
    meanings = [f"  {need}: {meaning}" for need, meaning in NEEDS.items() if need in needed and need != meaning]
    lines = [f"{PHRASES[name]}: {meaning}" for name, meaning in MEANINGS.items()]
    lines += [
        "needs, besides the model's answers to the candidates:",
        *meanings,
        "queries: for each candidate, at most",
    ]
    return [table, "\n".join(lines)]


def tpr(attack: Mapping[str, Any], fpr: str) -> str:
    """The true-positive rate of an attack with its 95% interval, or why there is none.

    Args:
        attack: a row of an audit's ``attacks``.
        fpr: the false-positive rate, as ``tpr_at_fpr`` names it: "0.01" or "0.001".

    Returns:
        A percentage with its interval, or the note on why it could not be resolved; empty where it was not asked for.
    """
    measured = attack["tpr_at_fpr"].get(fpr)
    if measured is None:
        return ""
    return measured["note"] if measured["value"] is None else with_interval(measured["value"], measured["ci"], rate)


def robustness_table(robustness: Mapping[str, Any]) -> Table:
    """Accuracy on clean inputs, what each evasion attack leaves of those that it was made on, and the worst case.

    Args:
        robustness: ``robustness`` of an audit.

    Returns:
        A row for clean inputs, one for each attack, and one for the worst case; each with the number of inputs.
    """
    persons = f", intervals of {robustness['n_persons']:,} persons" if "n_persons" in robustness else ""
    title = f"Accuracy under perturbations ({budget(robustness)}{persons})"
    table = _table(title, ["attack"], ["accuracy left", "attacked"])
    clean = with_interval(robustness["clean_accuracy"], robustness.get("clean_ci"), percent)
    _row(table, "none", clean, f"{robustness['n']:,}")
    for attack in robustness["attacks"]:
        shown = with_interval(attack["robust_accuracy"], attack["ci"], percent)
        _row(table, attack["name"], shown, f"{attack.get('attacked', attack['n']):,}")
    _row(table, "worst case", worst_case(robustness), f"{robustness['n']:,}")
    return table


def worst_case(robustness: Mapping[str, Any]) -> str:
    """The accuracy under the worst attack with its interval, or the bound that is known instead.

    Args:
        robustness: ``robustness`` of an audit.

    Returns:
        A percentage with its 95% interval; "not measured", with the bound if one is known.
    """
    if robustness["worst_case_accuracy"] is None and robustness.get("at_most") is not None:
        return f"not measured (at most {percent(robustness['at_most'])})"
    return with_interval(robustness["worst_case_accuracy"], robustness["ci"], percent)


def bench_table(bench: Mapping[str, Any]) -> Table:
    """Size, load time, latency and peak memory of every variant and setting, and ratios against the reference.

    The first inference, the p90 and the memory after loading are in the JSON alone.

    Args:
        bench: content of model.bench.json.

    Returns:
        A row for each variant and setting; milliseconds, and megabytes of 10^6 bytes. It fits into 80 columns.
    """
    title = (
        f"{bench['machine']['cpu']}, {bench['machine']['cores']} cores, onnxruntime {bench['machine']['onnxruntime']}"
    )
    columns = ["size", "load, ms", "p50, ms", "p99, ms", "peak, MB", f"p50 / {bench['reference']}"]
    table = _table(title, ["model", "threads, batch"], columns, compact=True)
    ratios = {_setting(ratio): ratio for ratio in bench["ratios"]}
    for row in bench["variants"]:
        ratio = ratios.get(_setting(row))
        against = ""
        if ratio is not None:
            low, high = latency_range(ratio)
            against = f"{times(ratio['latency_p50'])} {significant(low)}-{significant(high)}"
        peak = row["rss_mb"]["peak"]
        _row(
            table,
            row["name"],
            f"{row['threads'] or 'all'}, {row['batch']}",
            file_size(row["size_bytes"]),
            *(significant(value) for value in (row["load_ms"], row["latency_ms"]["p50"], row["latency_ms"]["p99"])),
            "" if peak is None else f"{peak:.1f}",
            against,
        )
    return table


def bench_tables(bench: Mapping[str, Any]) -> list[Table | str]:
    """``bench_table``, how many inferences it rests on, and what was measured on devices.

    Args:
        bench: content of model.bench.json.

    Returns:
        The table and a text; then ``device_table`` if anything was imported.
    """
    timed = [(row["latency_ms"]["n"], f"{row['name']}, batch {row['batch']}") for row in bench["variants"]]
    (fewest, where), (most, _) = min(timed), max(timed)
    caption = f"timed inferences: {most:,} of each"
    if fewest < most:
        caption = f"timed inferences: {fewest:,} ({where}) to {most:,}; --time gives slow ones more"
    if any(row["rss_mb"]["peak"] is None for row in bench["variants"]):
        caption += "\npeak memory: not available on this system"
    caption = "\n".join([caption, *bench.get("said", [])])
    return [bench_table(bench), caption, *([device_table(bench)] if bench.get("devices") else [])]


def device_table(bench: Mapping[str, Any]) -> Table:
    """Load time and latency on every device that was imported, and p50 against this workstation's.

    Args:
        bench: content of model.bench.json.

    Returns:
        A row for each of ``device_rows``.
    """
    table = _table("On devices", ["model", "where"], ["load", "p50", "p99", "/ here"])
    table.columns[1].min_width = 13  # on a narrow terminal, words break before numbers do
    for row in device_rows(bench):
        _row(
            table,
            f"{row['name']}, batch {row['batch']}, threads {row['threads'] or 'all'}",
            f"{row['where']}; {row['runtime']}",
            milliseconds(row["load_ms"]),
            milliseconds(row["latency_ms"]["p50"]),
            milliseconds(row["latency_ms"]["p99"]),
            times(row["ratio"]),
        )
    return table


def _setting(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["name"], row["threads"], row["batch"]


def compare_row(name: str, audit: Mapping[str, Any] | None, bench: Mapping[str, Any] | None) -> dict[str, Any]:
    """One model of ``compare_table`` as a JSON-ready object.

    Args:
        name: of the model, as the bench calls its variant.
        audit: content of the model's audit, or None.
        bench: content of a bench; the first row of the variant called ``name`` is taken. Or None.

    Returns:
        Figures by name, None for what was not measured: sizes in bytes, latency in milliseconds, memory in megabytes of 10^6
        bytes, accuracies as fractions with 95% intervals. ``not_measured`` says why an accuracy is missing.
    """
    row = next((row for row in bench["variants"] if row["name"] == name), None) if bench else None
    robustness = (audit or {}).get("robustness")
    best = strongest((audit or {}).get("attacks", []))
    leakage = ("name", "threat_model", "attacker", "direction", "auc", "auc_ci", "tpr_at_fpr")
    return {
        "name": name,
        "size_bytes": row["size_bytes"] if row else None,
        "latency_p50_ms": row["latency_ms"]["p50"] if row else None,
        "rss_peak_mb": row["rss_mb"]["peak"] if row else None,
        "clean_accuracy": audit["utility"]["non_member_accuracy"] if audit else None,
        "clean_accuracy_ci": audit["utility"].get("non_member_accuracy_ci") if audit else None,
        "robust_accuracy": robustness["worst_case_accuracy"] if robustness else None,
        "robust_accuracy_ci": robustness["ci"] if robustness else None,
        "robust_at_most": robustness.get("at_most") if robustness else None,
        "not_measured": _lacking(audit, robustness),
        "robust_budget": {key: robustness[key] for key in ("norm", "eps", "unit") if key in robustness}
        if robustness
        else None,
        "strongest_attack": {key: best[key] for key in leakage if key in best} | {"like_guessing": like_guessing(best)}
        if best
        else None,
    }


def _lacking(audit: Mapping[str, Any] | None, robustness: Mapping[str, Any] | None) -> list[str]:
    """Why cells of the row are empty."""
    if audit is None:
        return ["accuracy, robust accuracy and leakage: no audit of this file exists (edgepriv audit writes one)"]
    if robustness is None or robustness["worst_case_accuracy"] is not None:
        return []
    return [f"robust accuracy: {'; '.join(robustness['warnings'])}"]


def compare_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the table could not show of each model, and why.

    Args:
        rows: what ``compare_row`` returns, with ``batch`` of models of a fixed batch and ``timed_batch`` if it is known.

    Returns:
        One sentence for each; empty where the table says everything.
    """
    single = [
        f"{row['name']} takes {count(row['batch'], 'input')} at a time: its accuracy and leakage were measured that way"
        for row in rows
        if row.get("batch")
    ]
    timed = {row["timed_batch"] for row in rows if row.get("timed_batch", 1) != 1}
    other = [f"latency is of a batch of {size}" for size in sorted(timed)]
    lacking = [f"not measured of {row['name']}: {reason}" for row in rows for reason in row.get("not_measured", ())]
    return [*single, *other, *lacking]


def compare_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Models as columns, so that two or three fit side by side into 80.

    Args:
        rows: what ``compare_row`` returns, one for each model.

    Returns:
        A row for each figure.
    """
    table = _table("", [""], [row["name"] for row in rows], compact=True)
    for label, shown in compare_cells(rows):
        _row(table, label, *shown)
    return table


def compare_cells(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Models side by side, as text.

    Args:
        rows: what ``compare_row`` returns, one for each model.

    Returns:
        For each figure its name, and a cell for each model.
    """
    return [(label, [show(row) for row in rows]) for label, show in _COMPARED.items()]


def change_parts(rows: Sequence[Mapping[str, Any]]) -> list[Table | str]:
    """Both ROC curves, then what became better or worse against the first model.

    Args:
        rows: what ``pipeline.compare`` returns.

    Returns:
        Texts and tables of 80 columns; nothing is drawn of models without an audit.
    """
    parts: list[Table | str] = []
    curves = {row["name"]: row["roc"] for row in rows if row["roc"] is not None}
    if curves:
        shown = dict(list(curves.items())[: len(MARKS)])
        title = "ROC of the attack with the largest AUC on each, of those on all records"
        named = {f"{name}: {curve['attack']}": curve for name, curve in shown.items()}
        parts += [title, *drawn(named, lowest_of(list(shown.values()))), ""]
    for row in rows:
        if row["change"] is None:
            continue
        parts.append(fill(headline(row["name"], row["change"]), WIDTH, subsequent_indent="  ", break_on_hyphens=False))
        table = _table("", ["figure"], ["before", "after", "difference", "verdict"], compact=True)
        for figure in row["change"]["figures"]:
            _row(table, *figure_cells(figure))
        parts += [
            table,
            *(fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in notes(row["change"])),
        ]
    return parts


def stale_audits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which models have been changed since their audit, which was left out for that.

    Args:
        rows: what ``compare_row`` returns, with ``stale_audit`` where there is such an audit.

    Returns:
        A sentence for each of these models.
    """
    return [
        f"{row['name']}: the audit beside it is of another file, as the model or its weights have changed since: audit it again"
        for row in rows
        if row.get("stale_audit")
    ]


def altered_audits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which models have an audit that was changed after somebody signed it.

    Args:
        rows: what ``compare_row`` returns, with ``altered_audit`` where that is known.

    Returns:
        A sentence for each of these models.
    """
    return [
        f"{row['name']}: warning: the audit beside it is not what was signed: a figure or a word in it has changed since"
        for row in rows
        if row.get("altered_audit")
    ]


def _robust(row: Mapping[str, Any]) -> str:
    if row["robust_accuracy"] is None and row.get("robust_at_most") is not None:
        return f"at most {percent(row['robust_at_most'])} ({budget(row['robust_budget'])})"
    shown = with_interval(row["robust_accuracy"], row["robust_accuracy_ci"], percent)
    tested = row["robust_budget"]
    return f"{shown} ({budget(tested)})" if tested and row["robust_accuracy"] is not None else shown


def _of_strongest(show: Callable[[Mapping[str, Any]], str], nothing: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: show(row["strongest_attack"]) if row["strongest_attack"] else nothing


_COMPARED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "size": lambda row: file_size(row["size_bytes"]),
    "latency p50": lambda row: milliseconds(row["latency_p50_ms"]),
    "peak memory": lambda row: megabytes(row["rss_peak_mb"]),
    "clean accuracy": lambda row: with_interval(row["clean_accuracy"], row["clean_accuracy_ci"], percent),
    "robust accuracy": _robust,
    "strongest attack": _of_strongest(lambda best: f"{attack_name(best)} ({phrase_of(best)})", ""),
    "its AUC": _of_strongest(lambda best: with_interval(best["auc"], best["auc_ci"], area), area(None)),
    "like guessing": _of_strongest(lambda best: "yes" if best.get("like_guessing") else "no", ""),
    "its TPR at 1% FPR": _of_strongest(lambda best: tpr(best, "0.01"), rate(None)),
}


def verdict_table(rows: Iterable[Sequence[str]]) -> Table:
    """The undefended float model beside the hardened one.

    Args:
        rows: of ``html.comparison``: four cells each.

    Returns:
        A row for each of them.
    """
    table = _table("", [""], ["undefended float", "hardened", "change"], compact=True)
    for row in rows:
        _row(table, *row)
    return table


def show_tables(facts: Mapping[str, Any]) -> list[Table]:
    """What a file is: its facts, then its layers. Of the recipe, what is not the default; of the data, no digests.

    Args:
        facts: what ``pipeline.show`` returns.

    Returns:
        A table of names, nested ones joined by dots, and values; then ``layer_table``.
    """
    shown = {key: value for key, value in facts.items() if key not in ("layers", "recipe", "data", "sensitivity")}
    if facts.get("recipe"):
        shown["recipe"] = differences(facts["recipe"])
    if facts.get("data"):
        shown["data"] = {"name": facts["data"]["name"], **(facts["data"]["split"] or {}).get("sizes", {})}
    table = _table("", ["", ""], [])
    table.show_header = False
    for name, value in flat(shown):
        _row(table, name, value)
    return [table, layer_table(facts["layers"])]


_LAYER_COLUMNS: dict[str, Callable[[Any], str]] = {
    "name": str,
    "op": str,
    "shape": lambda shape: "x".join(map(str, shape)),
    "granularity": lambda granularity: granularity or "",
    "dtype": str,
    "bits": str,
    "parameters": "{:,}".format,
    "stored_bytes": file_size,
}


def layer_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    """Weights by layer.

    Args:
        layers: what is known of each: any of the keys of ``_LAYER_COLUMNS``; ``stored_bytes`` in bytes.

    Returns:
        A row for each layer, and a column for each key that any of them has.
    """
    known = {key: text_of for key, text_of in _LAYER_COLUMNS.items() if any(key in layer for layer in layers)}
    text_columns = [key for key in known if key in ("name", "op", "shape", "granularity", "dtype")]
    table = _table(
        "", text_columns, ["stored" if key == "stored_bytes" else key for key in known if key not in text_columns]
    )
    for layer in layers:
        _row(table, *(text_of(layer[key]) if key in layer else "" for key, text_of in known.items()))
    return table


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Everything in a nested dictionary.

    Args:
        value: the dictionary, or one value; None is left out.
        name: of the value itself, before the names inside; empty at the top.

    Yields:
        Name and value as text; names are joined by dots, the items of a list by commas.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value))
    elif value is not None:
        yield name, str(value)


def _table(title: str, text_columns: Sequence[str], number_columns: Sequence[str], *, compact: bool = False) -> Table:
    """``compact``: without the lines that cost columns; words break before numbers do."""
    table = Table(title=title and Text(title), title_justify="left")
    if compact:
        table.box, table.pad_edge, table.collapse_padding = SIMPLE_HEAD, False, True
    for heading in text_columns:
        table.add_column(Text(heading), overflow="fold")
    for heading in number_columns:
        table.add_column(Text(heading), justify="right", overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    """Cells are Text, so that a name like "[red]" stays a name."""
    table.add_row(*map(Text, cells))
