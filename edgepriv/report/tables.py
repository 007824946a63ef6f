"""Tables for the terminal: one audit, one bench, one file layer by layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgepriv.audit.attacks import NEEDS
from edgepriv.audit.knowledge import MEANINGS, PHRASES
from edgepriv.recipe import differences
from edgepriv.report.columns import add_row, plain_table
from edgepriv.report.devices import device_rows
from edgepriv.report.formatting import (
    budget,
    file_size,
    latency_range,
    milliseconds,
    percent,
    rate,
    significant,
    times,
    with_interval,
)

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
    needs_of = {attack["name"]: attack["needs"] for attack in attacks}
    for attacker, phrase in PHRASES.items():
        shown = set[str]()
        table.add_section()
        add_row(table, f"{phrase}:", "", "", "")
        for attack in (attack for attack in attacks if attack["attacker"] == attacker):
            kind, _, base = attack["name"].rpartition("/")
            needed |= set(attack["needs"])
            if kind not in shown or not kind:
                queries = f"{attack['queries']:,}" + (" label" if attack["reads"] == "label" else "")
                needs = ", ".join(attack["needs"]) or "nothing"
                besides = ", ".join(need for need in attack["needs"] if need not in needs_of.get(base, ()))
                more = (f" {kind}/...", f"as ..., {besides}", queries, "as ...") if kind and base in names else None
                add_row(table, *(more or (f" {attack['name']}", needs, queries, attack["paper"])))
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
    table = plain_table(title, ["attack"], ["accuracy left", "attacked"])
    clean = with_interval(robustness["clean_accuracy"], robustness.get("clean_ci"), percent)
    add_row(table, "none", clean, f"{robustness['n']:,}")
    for attack in robustness["attacks"]:
        shown = with_interval(attack["robust_accuracy"], attack["ci"], percent)
        add_row(table, attack["name"], shown, f"{attack.get('attacked', attack['n']):,}")
    add_row(table, "worst case", worst_case(robustness), f"{robustness['n']:,}")
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
    table = plain_table(title, ["model", "threads, batch"], columns, compact=True)
    ratios = {_setting(ratio): ratio for ratio in bench["ratios"]}
    for row in bench["variants"]:
        ratio = ratios.get(_setting(row))
        against = ""
        if ratio is not None:
            low, high = latency_range(ratio)
            against = f"{times(ratio['latency_p50'])} {significant(low)}-{significant(high)}"
        peak = row["rss_mb"]["peak"]
        add_row(
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
    table = plain_table("On devices", ["model", "where"], ["load", "p50", "p99", "/ here"])
    table.columns[1].min_width = 13  # on a narrow terminal, words break before numbers do
    for row in device_rows(bench):
        add_row(
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


def verdict_table(rows: Iterable[Sequence[str]]) -> Table:
    """The undefended float model beside the hardened one.

    Args:
        rows: of ``html.comparison``: four cells each.

    Returns:
        A row for each of them.
    """
    table = plain_table("", [""], ["undefended float", "hardened", "change"], compact=True)
    for row in rows:
        add_row(table, *row)
    return table


def show_tables(facts: Mapping[str, Any]) -> list[Table]:
    """What a file is: its facts, then its layers. Of the recipe, what is not the default; of the data, no digests.

    Args:
        facts: what ``pipeline.show`` returns.

    Returns:
        A table of names, nested ones joined by dots, and values; then ``layer_table``.
    """
    apart = ("layers", "recipe", "data", "sensitivity", "diagnosis")
    shown = {key: value for key, value in facts.items() if key not in apart}
    if facts.get("recipe"):
        shown["recipe"] = differences(facts["recipe"])
    if facts.get("data"):
        shown["data"] = {"name": facts["data"]["name"], **(facts["data"]["split"] or {}).get("sizes", {})}
    table = plain_table("", ["", ""], [])
    table.show_header = False
    for name, value in flat(shown):
        add_row(table, name, value)
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
    table = plain_table(
        "", text_columns, ["stored" if key == "stored_bytes" else key for key in known if key not in text_columns]
    )
    for layer in layers:
        add_row(table, *(text_of(layer[key]) if key in layer else "" for key, text_of in known.items()))
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
