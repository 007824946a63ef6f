"""The tables of benchmarks/deploy.py, for the terminal and as Markdown."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from targets import FIRST, speeds, variant_rows

COLUMNS = ("variant", "bytes", "load ms", "first ms", "p50 ms", "rounds", "p99 ms", "loaded MB", "peak MB", "labels")
MARKDOWN = ("network", "variant", "file", "p50 ms, 1 thread", "rounds", "peak memory, MB", "labels as float")


def network_tables(name: str, network: Mapping[str, Any]) -> Iterator[Table]:
    """One table for each batch and number of threads; every cell is a value and, in brackets, its ratio to float."""
    for setting in network["settings"]:
        batch, threads, runs = setting["batch"], setting["threads"], setting["runs"]
        title = f"{name}, batch {batch}, threads {threads or 'all'}, {runs} runs a round: value (ratio to float)"
        table = Table(title=title, title_justify="left")
        for column in COLUMNS:
            table.add_column(column, justify="left" if column == "variant" else "right", no_wrap=True)
        for variant in network["asked"]["variants"]:
            if variant not in network["skipped"]:
                table.add_row(*_cells(network, variant, (batch, threads)))
        yield table


def _cells(network: Mapping[str, Any], variant: str, setting: tuple[int, int]) -> list[str]:
    own, reference = (variant_rows(network, name)[setting] for name in (variant, "float"))
    low, _, high = speeds(network, variant, "float")[setting]

    def cell(*keys: str, digits: int = 2) -> str:
        values = []
        for row in (own, reference):
            value: Any = row
            for key in keys:
                value = value[key]
            values.append(value)
        if values[0] is None:
            return "-"
        shown = f"{values[0]:,}" if isinstance(values[0], int) else f"{values[0]:,.{digits}f}"
        return f"{shown} ({values[0] / values[1]:.3g})" if values[1] and values[1] > 0 else shown

    return [
        variant,
        cell("size_bytes"),
        cell("load_ms", digits=1),
        cell("first_ms", digits=3),
        cell("latency_ms", "p50", digits=4),
        f"{low:.2f}-{high:.2f}",
        cell("latency_ms", "p99", digits=3),
        cell("rss_mb", "loaded", digits=1),
        cell("rss_mb", "peak", digits=1),
        f"{network['files'][variant]['label_agreement']:.1%}",
    ]


def skipped_table(networks: Mapping[str, Any]) -> Table | None:
    """Variants that could not be measured, with the reason; None if there are none."""
    table = Table(title="not measured", title_justify="left")
    for column in ("network", "variant", "reason"):
        table.add_column(column)
    for name, network in networks.items():
        for variant, reason in network["skipped"].items():
            table.add_row(name, variant, reason)
    return table if table.row_count else None


def sizes_table(sizes: Mapping[str, Any]) -> Table:
    """Bytes and ratio to float32 of each network by width."""
    widths = list(next(iter(sizes.values()))["bits"])
    table = Table(title="bytes of the file (ratio to float), profile latency", title_justify="left")
    for column in ("network", "float", *(f"{bits} bits" for bits in widths)):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name, size in sizes.items():
        cells = [f"{size['bits'][bits]['bytes']:,} ({size['bits'][bits]['ratio']:.3f})" for bits in widths]
        table.add_row(name, f"{size['float_bytes']:,}", *cells)
    return table


def targets_table(rows: list[dict[str, Any]]) -> Table:
    """Each target with what was measured."""
    table = Table(title="targets (timings: batch 1, 1 thread; worst: of the other settings)", title_justify="left")
    for column in ("target", "at most", "measured", "rounds", "worst", ""):
        table.add_column(column, justify="left" if column == "target" else "right")
    for row in rows:
        rounds = f"{row['rounds'][0]:.3g}-{row['rounds'][1]:.3g}" if row["rounds"] else ""
        worst = "" if row["worst"] is None else f"{row['worst']:.3g}"
        value = "not measured" if row["value"] is None else f"{row['value']:.3g}"
        verdict = {True: "met", False: "missed", None: ""}[row["met"]]
        table.add_row(row["target"], f"{row['limit']:g}", value, rounds, worst, verdict)
    return table


def markdown(networks: Mapping[str, Any]) -> str:
    """The main table, at batch 1 and one thread (else the first setting measured): value (ratio to float)."""
    lines = [f"| {' | '.join(MARKDOWN)} |", "|---|---|" + "---:|" * (len(MARKDOWN) - 2)]
    for name, network in networks.items():
        settings = [(setting["batch"], setting["threads"]) for setting in network["settings"]]
        setting = FIRST if FIRST in settings else settings[0]
        for variant in network["asked"]["variants"]:
            if variant in network["skipped"]:
                cells = [name, variant, f"not measured: {network['skipped'][variant]}", "", "", "", ""]
            else:
                own, size, _, _, p50, rounds, _, _, peak, labels = _cells(network, variant, setting)
                cells = [name, own, size, p50, rounds, peak, labels]
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)
