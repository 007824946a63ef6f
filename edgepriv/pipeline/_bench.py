"""Measure a file beside its float twin and others."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepriv import progress
from edgepriv.artifact.contract import fixed_batch_of
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.companion_files import audit_beside, bench_in, imported_runs, variants_of
from edgepriv.files import refuse_existing, refuse_overwriting, write_json
from edgepriv.measure.batches import batches_for
from edgepriv.measure.bench import bench as measure
from edgepriv.measure.budget import Budget
from edgepriv.measure.devices import merged
from edgepriv.pipeline._given import json_name
from edgepriv.pipeline._page import write_report
from edgepriv.project import beside
from edgepriv.recipe import Bench, Recipe


def bench(
    model: Path,
    recipe: Recipe,
    *,
    against: Sequence[Path] = (),
    imports: Sequence[Path] = (),
    input_shape: Sequence[int] | None = None,
    output: Path | None = None,
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Measure a model beside its float twin and others, each in fresh processes; write model.bench.json.

    Args:
        model: the .onnx file.
        recipe: threads, batch sizes, runs and rounds.
        against: other .onnx files to measure.
        imports: JSON that the device kit's bench printed on devices; it goes into ``devices`` of a bench of the same file,
            which is measured only if there is none, or with ``force`` or ``against``.
        input_shape: of one example, where the files leave sizes open; None where they do not.
        output: the JSON to write; None for model.bench.json.
        force: measure again, and replace the file.
        recipe_file: where the recipe was read from.

    Returns:
        The content of the file.

    Raises:
        UserError: for files that cannot be run, and measurements of other files.
    """
    begun = time.monotonic()
    output = json_name(output) or beside(model, "bench.json")
    refuse_overwriting([model, *against, *imports, recipe_file], [output, beside(model, "audit.html")])
    opened = DeployedModel.open(model)
    content = bench_in(output, opened) if imports and not against and not force else None
    if content is None:
        refuse_existing([output], force)
        variants = variants_of(opened, against)
        batches, skipped = batches_for(fixed_batches(variants), recipe.bench.batches)
        files = {name: variant.facts() for name, variant in variants.items()}
        devices = imported_runs(opened, files, imports)
        measured = measured_together(variants, recipe.bench, batches, recipe.bench.threads, input_shape, begun)
        content = measured | {"model": model.name, "files": files, "said": [*skipped, *measured["said"]]}
    else:
        devices = imported_runs(opened, content["files"], imports)
    if devices:
        content["devices"] = merged(content.get("devices", []), devices)
    write_json(output, content)
    audited = audit_beside(opened)
    if audited is not None and output == beside(model, "bench.json"):
        write_report(opened, audited, beside(model, "audit.html"))
    return content


def fixed_batches(variants: dict[str, DeployedModel]) -> dict[str, int | None]:
    """How many inputs each file takes at a time; its session is not kept, since it is timed in other processes.

    Args:
        variants: opened files, by name.

    Returns:
        By name; None where any number will do.
    """
    return {name: fixed_batch_of(variant.open_session()) for name, variant in variants.items()}


def measured_together(
    variants: dict[str, DeployedModel],
    settings: Bench,
    batches: Sequence[int],
    threads: Sequence[int],
    input_shape: Sequence[int] | None = None,
    begun: float | None = None,
) -> dict[str, Any]:
    """Time files in turns, each in a fresh process.

    Args:
        variants: opened files, by name.
        settings: runs, seconds, and when to end.
        batches: inputs at a time.
        threads: 0 for all cores.
        input_shape: of one example, where the files leave sizes open.
        begun: see there.

    Returns:
        See ``edgepriv.measure.bench.bench``.
    """
    with progress.shown("bench", unit="process", leave=False) as bar:

        def follow(done: int, total: int | None, coming: str, left: float | None) -> None:
            bar.total = total
            bar.update(done - bar.n)
            at_most = {} if left is None else {"at most": f"{progress.duration(left)} left"}
            bar.set_postfix({**at_most, "now": coming})

        return measure(
            variants,
            batches=batches,
            threads=threads,
            runs=settings.runs,
            rounds=settings.rounds,
            budget=Budget(settings.time or Budget.seconds, settings.precision),
            seconds=settings.seconds,
            shape=input_shape,
            begun=begun,
            progress=follow,
        )
