"""The tables and figures of the papers behind edgepriv, beside what edgepriv measures, with what the papers lack.

    python benchmarks/papers.py list
    python benchmarks/papers.py TABLE ... [--seeds 0 1 2] [--row NAME ...] [--full] [--estimate | --print] [--accept-stale]

TABLE: 001-table3, 000-figure1, ..., ``all``, or ``best`` (the trade-off of defences on three data sets). Each line of a table
is trained with each seed (a cell), exported, attacked and timed by edgepriv's own API; tables share cells. A cell is one
file under runs/papers, written when it is done: a killed run goes on where it was, and a cell that another recipe or other
code has made is run again. Runs are smaller than the papers' by the factors in SCALES of papers_experiments.py unless
``--full``. Prints each table and writes it to benchmarks/results/papers, figures as SVG beside it. ``--print`` runs nothing
and prints what stands there; ``--estimate`` says what is left to run.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import papers_best
import papers_cells
from papers_experiments import scale_factors
from papers_figures import draw
from papers_print import show
from papers_tables import TABLES, aggregated, published
from rich.console import Console

from edgepriv.errors import UserError
from edgepriv.files import read_json, write_json, write_text

RESULTS = Path(__file__).parent / "results" / "papers"
SEEDS = [0, 1, 2]


def gather(name: str, *, full: bool, work: Path, stale: bool) -> dict[str, Any]:
    """A table's JSON from the cells that have been run."""
    table = TABLES[name]
    lines, cells = [], []
    for line in table.lines:
        done = []
        if line.experiment and line.row:
            done = papers_cells.measured_cells(line.experiment, line.row, full=full, work=work, stale=stale)
        gathered = aggregated(line, table.measures, done, name)
        if table.figure != "roc":
            gathered.pop("roc", None)
        lines.append(gathered)
        cells += done
    experiments = dict.fromkeys(line.experiment for line in table.lines if line.experiment)
    return {
        "table": name,
        "title": table.title,
        "measures": list(table.measures),
        "lines": lines,
        "note": table.note,
        "published_note": published(name).get("note", ""),
        **conditions(cells),
        "full": full,
        "scale": {} if full else {experiment: scale_factors(experiment) for experiment in experiments},
    }


def conditions(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """What a table's cells were measured with: ``bench``, ``machine`` and ``versions`` of the first, ``codes`` of all."""
    first = cells[0] if cells else {}
    return {
        "bench": papers_cells.BENCH,
        "machine": first.get("machine"),
        "versions": first.get("versions"),
        "codes": sorted({cell["key"]["code"] for cell in cells}),
        "commits": sorted({cell["commit"] for cell in cells}),
    }


def commit() -> str:
    """The commit that is checked out, with ``+`` where tracked files differ from it; "unknown" outside a repository."""
    folder = Path(__file__).parent
    try:
        named = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return named.stdout.strip()


def keep_cells(pairs: list[tuple[str, str]], output: Path, *, full: bool, work: Path, stale: bool) -> None:
    """Write what every cell of ``pairs`` measured to cells/EXPERIMENT.json: the tables tell the means of some of it."""
    for experiment in dict.fromkeys(experiment for experiment, _ in pairs):
        rows = dict.fromkeys(row for of, row in pairs if of == experiment)
        cells = {row: papers_cells.measured_cells(experiment, row, full=full, work=work, stale=stale) for row in rows}
        kept = {
            row: [papers_cells.without_curves(cell) for cell in measured] for row, measured in cells.items() if measured
        }
        if kept:
            write_text(output / "cells" / f"{experiment}.json", a_cell_a_line(kept))


def a_cell_a_line(kept: dict[str, list[dict[str, Any]]]) -> str:
    """JSON of the cells by row: a cell that is run again is one changed line."""
    rows = []
    for row, cells in kept.items():
        lines = ",\n".join(json.dumps(cell, allow_nan=False) for cell in cells)
        rows.append(f"{json.dumps(row)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(rows) + "\n}\n"


def rows_of(name: str) -> list[tuple[str, str]]:
    """The (experiment, row) pairs of a table, or of ``best``."""
    if name == "best":
        return papers_best.rows()
    return [(line.experiment, line.row) for line in TABLES[name].lines if line.experiment and line.row]


def estimate(cells: list[papers_cells.Cell], console: Console, stale: bool) -> None:
    left = papers_cells.minutes_left(cells, stale=stale)
    for experiment, (count, minutes, source) in left.items():
        console.print(f"{experiment}: {count} cells left, {minutes:.0f} CPU-minutes ({source})")
    console.print(f"in all {sum(minutes for _, minutes, _ in left.values()):.0f} CPU-minutes")


def run_missing(cells: list[papers_cells.Cell], console: Console, data_dir: Path | None, stale: bool) -> None:
    """Run the cells that are missing or stale; one that cannot be run is told, and the others go on."""
    made_by = commit()
    for position, cell in enumerate(cells, start=1):
        title = f"{cell.experiment} {cell.row} seed {cell.seed} ({position} of {len(cells)})"
        if papers_cells.stored(cell, stale=stale) is not None:
            continue
        console.print(title)
        try:
            done = papers_cells.run(cell, made_by, data_dir)
        except UserError as error:
            console.print(f"{title}: {error}")
            continue
        console.print(f"{title}: {done['seconds']:.0f} s, {done['cpu_seconds']:.0f} CPU-seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="see list; all for every table")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--row", nargs="+", default=None, help="run these rows only")
    parser.add_argument("--full", action="store_true", help="at the papers' sizes")
    parser.add_argument("--print", action="store_true", help="run nothing: print and draw what is in the results")
    parser.add_argument(
        "--gather", action="store_true", help="run nothing: make the tables from the cells that are there"
    )
    parser.add_argument("--estimate", action="store_true", help="run nothing: say how long it would take")
    parser.add_argument(
        "--accept-stale", action="store_true", help="count cells that other code has made; the table says so"
    )
    parser.add_argument("--work", type=Path, default=papers_cells.WORK, help="folder of cells and reference models")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--data-dir", type=Path, default=None)
    options = parser.parse_args()
    console = Console(width=200)

    if options.tables == ["list"]:
        for name, table in TABLES.items():
            console.print(f"{name}  {table.title}", highlight=False)
        console.print("best  clean accuracy, leakage and size of defences on three data sets", highlight=False)
        return
    names = list(dict.fromkeys(each for name in options.tables for each in (TABLES if name == "all" else [name])))
    unknown = sorted(set(names) - {*TABLES, "best"})
    if unknown:
        raise UserError(f"no table {', '.join(unknown)}: choose all, best, or some of {', '.join(TABLES)}")
    pairs = [pair for name in names for pair in rows_of(name)]
    cells = list(papers_cells.cells_of(pairs, options.seeds, full=options.full, work=options.work, only=options.row))
    if options.estimate:
        estimate(cells, console, options.accept_stale)
        return
    if not (options.print or options.gather):
        run_missing(cells, console, options.data_dir, options.accept_stale)
    if not options.print:
        keep_cells(pairs, options.output, full=options.full, work=options.work, stale=options.accept_stale)
    for name in names:
        path = options.output / f"{name}.json"
        if options.print:
            content = read_json(path, "table")
        elif name == "best":
            content = papers_best.gather(full=options.full, work=options.work, stale=options.accept_stale)
            write_json(path, content)
        else:
            content = gather(name, full=options.full, work=options.work, stale=options.accept_stale)
            write_json(path, content)
        if name == "best":
            papers_best.show(content, console)
            papers_best.draw(content, options.output)
            continue
        show(content, console)
        if TABLES[name].figure:
            draw(content, TABLES[name].figure, path.with_suffix(".svg"))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
