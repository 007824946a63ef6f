"""Measure files: one beside its float twin, or several side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepriv import progress
from edgepriv.artifact.contract import fixed_batch_of
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.companion_files import audit_beside, bench_in, has_stale_audit, imported_runs, unique_names, variants_of
from edgepriv.errors import UserError
from edgepriv.files import refuse_existing, refuse_overwriting, write_json
from edgepriv.measure.batches import batches_for
from edgepriv.measure.bench import bench as measure
from edgepriv.measure.devices import merged
from edgepriv.pipeline._given import json_name
from edgepriv.pipeline._page import write_report
from edgepriv.project import beside
from edgepriv.recipe import Bench, Recipe
from edgepriv.report import tables
from edgepriv.report.statement import is_altered


def bench(
    model: Path,
    recipe: Recipe,
    *,
    against: Sequence[Path] = (),
    imports: Sequence[Path] = (),
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
        output: the JSON to write; None for model.bench.json.
        force: measure again, and replace the file.
        recipe_file: where the recipe was read from.

    Returns:
        The content of the file.

    Raises:
        UserError: for files that cannot be run, and measurements of other files.
    """
    output = json_name(output) or beside(model, "bench.json")
    refuse_overwriting([model, *against, *imports, recipe_file], [output, beside(model, "audit.html")])
    opened = DeployedModel.open(model)
    content = bench_in(output, opened) if imports and not against and not force else None
    if content is None:
        refuse_existing([output], force)
        variants = variants_of(opened, against)
        batches, skipped = batches_for(_fixed_batches(variants), recipe.bench.batches)
        files = {name: variant.facts() for name, variant in variants.items()}
        devices = imported_runs(opened, files, imports)
        measured = _measured(variants, recipe.bench, batches, recipe.bench.threads)
        content = measured | {"model": model.name, "files": files, "said": skipped}
    else:
        devices = imported_runs(opened, content["files"], imports)
    if devices:
        content["devices"] = merged(content.get("devices", []), devices)
    write_json(output, content)
    audited = audit_beside(opened)
    if audited is not None and output == beside(model, "bench.json"):
        write_report(opened, audited, beside(model, "audit.html"))
    return content


def _fixed_batches(variants: dict[str, DeployedModel]) -> dict[str, int | None]:
    """Of each file; its session is not kept, since it is timed in other processes."""
    return {name: fixed_batch_of(variant.open_session()) for name, variant in variants.items()}


def _measured(
    variants: dict[str, DeployedModel], settings: Bench, batches: Sequence[int], threads: Sequence[int]
) -> dict[str, Any]:
    with progress.shown("bench", unit="process", leave=False) as bar:
        return measure(
            variants,
            batches=batches,
            threads=threads,
            runs=settings.runs,
            rounds=settings.rounds,
            seconds=settings.seconds,
            progress=progress.follower(bar),
        )


def compare(models: Sequence[Path], recipe: Recipe) -> list[dict[str, Any]]:
    """Several models side by side.

    Args:
        models: at least two .onnx files.
        recipe: threads, batch sizes, runs and rounds.

    Returns:
        One row for each model: size, latency and memory, measured now; accuracy, robust accuracy and leakage from its audit, if
        there is one of the same file. ``stale_audit``: there is one of another version; ``altered_audit``: it was changed
        after it was signed.

    Raises:
        UserError: for fewer than two different models.
    """
    if len({path.resolve() for path in models}) < 2:
        raise UserError("compare needs at least two different models")
    variants = dict(zip(unique_names(models), map(DeployedModel.open, models), strict=True))
    fixed = _fixed_batches(variants)
    batches, _ = batches_for(fixed, (1,))
    measured = _measured(variants, recipe.bench, batches, (1,))
    audits = {name: audit_beside(model) for name, model in variants.items()}
    return [
        tables.compare_row(name, audits[name], measured)
        | {"stale_audit": has_stale_audit(model), "altered_audit": is_altered(audits[name] or {})}
        | {"batch": fixed[name], "timed_batch": batches[0]}
        for name, model in variants.items()
    ]
