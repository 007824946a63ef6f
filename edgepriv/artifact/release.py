"""A checkpoint -> the files that ship: model.onnx, its manifest, and its float twin beside it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.accuracy import Asked, Standard
from edgepriv.artifact import manifest
from edgepriv.artifact.accuracies import (
    AS_TRAINED,
    FLOAT_WEIGHTS,
    Measured,
    Sample,
    in_session,
    in_torch,
    judged,
    sample,
    unjudged,
)
from edgepriv.artifact.attached_head import mask_of, write_memguard
from edgepriv.artifact.calibration import TrainedRanges
from edgepriv.artifact.computing import Calibration
from edgepriv.artifact.export import Exported, export
from edgepriv.artifact.integers import integers_of
from edgepriv.artifact.session import open_session, predict
from edgepriv.data import Dataset
from edgepriv.device import memguard
from edgepriv.files import folder_aside
from edgepriv.heads.masks import Mask
from edgepriv.models import Checkpoint, Classifier
from edgepriv.models.rounded_activations import exact_activations, seen_ranges
from edgepriv.project import Trained, beside
from edgepriv.recipe import FULL_WIDTH, STAGES, rounded_stages, unrounded_stages
from edgepriv.recipe.defences import DEFENCES, Defence
from edgepriv.recipe.defences.heads import MEMGUARD_METHOD
from edgepriv.training import load_quantized, quantize_weights
from edgepriv.training.quantizers import notes_of
from edgepriv.training.ranges import Watched, watched_of

CHECKED_AGAINST = 2_000
"""Real inputs that an export proves parity on, if there are as many and they do not take too long (``parity.SECONDS``)."""
COMPARED_WITH_TWIN = 500
"""About so many of these are asked of the float twin too: parity is with the quantized torch model, and does not tell what
quantization and hardening have changed."""


def written_by_export(output: Path) -> list[Path]:
    """Every file that ``export_with_twin`` may write.

    Args:
        output: the .onnx.

    Returns:
        Their paths.
    """
    float_file = beside(output, "fp32.onnx")
    own = [output, manifest.path_beside(output), beside(output, "ort"), memguard.beside(output)]
    return [*own, float_file, manifest.path_beside(float_file)]


def export_with_twin(
    trained: Trained,
    twin_of: Checkpoint,
    output: Path,
    standard: Standard,
    what_now: str,
    before: Checkpoint | None = None,
) -> dict[str, Any]:
    """Export a checkpoint and its float twin.

    Both are written into a folder aside; the files take their names only when every proof has succeeded. The last proof is
    that the file keeps the ``standard`` on members and held-out data.

    Args:
        trained: the checkpoint with its data and split.
        twin_of: the checkpoint whose float weights the twin has.
        output: the .onnx file.
        standard: the accuracy that the file must keep.
        what_now: the end of the message when it does not.
        before: the checkpoint whose weights the training that rounds began with; None where it is not at hand, or where
            nothing was trained with rounded weights since ``twin_of``.

    Returns:
        What the command prints as JSON.

    Raises:
        UserError: when a proof fails.
    """
    inputs = _parity_inputs(trained.dataset, trained.split.seed)
    asked = sample(trained.dataset, trained.split, trained.checkpoint.classifier())
    twin = None
    with folder_aside(output) as folder:
        aside = folder / output.name
        facts: dict[str, Any] = {}
        changed = trained.checkpoint.stages != twin_of.stages or trained.checkpoint.head is not None
        if trained.checkpoint.recipe.quantize.active or changed:
            # The twin takes and returns the same, but there is nothing in it to lay out or to pack.
            io_options = {name: getattr(trained.checkpoint.recipe.export, name) for name in ("input", "output")}
            plain = {"profile": "latency", "compute": "float32", "ort": False}
            float_recipe = twin_of.recipe.with_changes(
                quantize={"bits": FULL_WIDTH}, export=io_options | plain, head={"method": "none"}
            )
            float_checkpoint = replace(twin_of, recipe=float_recipe, head=None)
            exported, twin = _export_one(float_checkpoint, inputs, beside(aside, "fp32.onnx"), asked)
            _write_manifest(float_checkpoint, exported, unjudged(twin), None)
            facts["float"] = {"file": exported.path.name, "sha256": exported.sha256, "size_bytes": exported.size_bytes}
        rounding = trained.checkpoint.recipe.export.compute != "float32"
        watched = watched_of(trained.dataset, trained.split) if rounding else None
        unrounded = _unrounded(trained.checkpoint, twin_of, before, asked)
        exported, measured = _export_one(trained.checkpoint, inputs, aside, asked, watched, unrounded)
        done = _named(trained.checkpoint, twin_of)
        accuracy = judged(measured, twin, twin_of.class_names, standard, done, what_now)
        accuracy["warnings"] = [*trained.warnings, *accuracy["warnings"]]
        _write_manifest(trained.checkpoint, exported, accuracy, facts.get("float"))
        if "float" in facts:
            facts["float"] |= _agreement(aside, beside(aside, "fp32.onnx"), inputs[: exported.parity.n])
        for path in written_by_export(aside):
            if path.exists():
                path.replace(output.parent / path.name)
        if exported.ort is None:
            beside(output, "ort").unlink(missing_ok=True)  # of an earlier export: it holds another model
        if trained.checkpoint.recipe.head.method != MEMGUARD_METHOD:
            memguard.beside(output).unlink(missing_ok=True)
    return facts | {
        "model": str(output),
        "size_bytes": exported.size_bytes,
        "parity": asdict(exported.parity),
        "ops": exported.ops,
        "left_float": exported.left_float,
        "notes": [*_notes(trained.checkpoint, exported), *(exported.compute or {}).get("notes", [])],
        "compute": exported.compute,
        "export": trained.checkpoint.recipe.export.model_dump(mode="json"),
        "ort": exported.ort,
        "batch": exported.batch,
        "accuracy": accuracy,
    }


def _agreement(model: Path, twin: Path, inputs: np.ndarray) -> dict[str, Any]:
    """``same_label``: share of ``compared`` inputs to which the file gives the label that its float twin gives."""
    some = inputs[:: max(1, len(inputs) // COMPARED_WITH_TWIN)]
    labels = [predict(open_session(path), some).argmax(axis=1) for path in (model, twin)]
    return {"same_label": float(np.mean(labels[0] == labels[1])), "compared": len(some)}


def calibration_of(classifier: Classifier, watched: Watched | None) -> Calibration | None:
    """What the ranges of activations come from.

    Args:
        classifier: with those that it was trained with, if any.
        watched: non-members; None where there are none.

    Returns:
        The trained ranges or else the inputs; None where there are neither.
    """
    if watched is None:
        return None
    ranges = seen_ranges(classifier.network)
    return Calibration(
        watched.inputs, watched.role, None if ranges is None else TrainedRanges(ranges, len(watched.inputs))
    )


def _export_one(
    checkpoint: Checkpoint,
    inputs: np.ndarray,
    output: Path,
    asked: Sample,
    watched: Watched | None = None,
    unrounded: tuple[str, Asked] | None = None,
) -> tuple[Exported, Measured]:
    classifier, head = checkpoint.classifier(), mask_of(checkpoint)
    weights = integers_of(checkpoint, classifier)
    before, floating = unrounded or (FLOAT_WEIGHTS, _in_float(classifier, asked, head))
    load_quantized(classifier.network, weights)
    exported = export(
        classifier,
        weights,
        input_shape=checkpoint.input_shape,
        class_names=checkpoint.class_names,
        x=inputs,
        path=output,
        settings=checkpoint.recipe.export,
        head=head,
        table=(checkpoint.data or {}).get("encoding"),
        calibration=calibration_of(classifier, watched),
    )
    return exported, Measured(output.name, floating, in_session(open_session(output), asked), before)


def _in_float(classifier: Classifier, asked: Sample, head: Mask | None) -> Asked:
    with exact_activations(classifier.network):
        return in_torch(classifier, asked, head=head)


def _write_manifest(
    checkpoint: Checkpoint, exported: Exported, accuracy: dict[str, Any], float_twin: dict[str, Any] | None
) -> None:
    record = manifest.manifest_of(
        exported,
        checkpoint.recipe.model_dump(mode="json"),
        checkpoint.data,
        stages=checkpoint.stages,
        defences=checkpoint.defences,
        float_twin=float_twin,
        guard=write_memguard(exported.path, checkpoint),
        notes=_notes(checkpoint, exported),
        accuracy=accuracy,
        elsewhere=checkpoint.elsewhere,
    )
    record.write(manifest.path_beside(exported.path))


def _notes(checkpoint: Checkpoint, exported: Exported) -> list[str]:
    """What there is to know of the quantizer, and of weights that are laid out otherwise than asked."""
    layout = [] if exported.layout is None else [exported.layout]
    rounds = "activations" in (exported.compute or {})
    if checkpoint.recipe.qat.activations is not None and "qat" in checkpoint.stages and not rounds:
        layout.append(
            "the weights were trained with activations of 8 bits on fixed grids, and this file computes otherwise"
        )
    return [*notes_of(checkpoint.recipe.quantize), *layout]


def _unrounded(
    own: Checkpoint, twin_of: Checkpoint, before: Checkpoint | None, asked: Sample
) -> tuple[str, Asked] | None:
    """The weights that the file is compared with, and their answers; None for the checkpoint's float weights.

    After training with rounded weights these are worth little. The weights that it began with tell what rounding cost. Where
    they are not at hand, as a trained checkpoint is exported again, the better of its float weights and of its rounded ones.
    """
    head = mask_of(own)
    if before is not None:
        return FLOAT_WEIGHTS, _in_float(before.classifier(), asked, head)
    if not rounded_stages(twin_of.recipe, twin_of.stages):
        return None
    classifier = twin_of.classifier()
    floating = _in_float(classifier, asked, head)
    with exact_activations(classifier.network):
        as_trained = in_torch(classifier, asked, quantize_weights(classifier.network, twin_of.recipe.quantize), head)
    better = as_trained.held_out.right.mean() > floating.held_out.right.mean()
    return (AS_TRAINED, as_trained) if better else (FLOAT_WEIGHTS, floating)


def _named(checkpoint: Checkpoint, twin_of: Checkpoint) -> tuple[str, str]:
    """What was done to the model that its float twin is not, in words: before weights were rounded, and beside that. Empty for
    nothing that changes weights."""
    done = checkpoint.stages[len(twin_of.stages) :]
    first = unrounded_stages(checkpoint.recipe, done)
    acting = [_acting(checkpoint, stages) for stages in (first, done[len(first) :])]
    names = [[defence.done for defence in each] for each in acting]
    anew = {defence.stage for defence in DEFENCES.values() if defence.stage is not None}  # from new weights
    if set(first) - anew and all(defence.stage is not None for defence in acting[0]):
        names[0].append("fine-tuning")
    return " and ".join(names[0]), " and ".join(name for name in names[1] if name not in names[0])


def _acting(checkpoint: Checkpoint, stages: tuple[str, ...]) -> list[Defence]:
    """The defences that changed weights during some stages, in their order."""
    run = checkpoint.recipe.as_run(stages)
    acting = [defence for defence in DEFENCES.values() if defence.done and defence.stages_in(run)]
    return sorted(acting, key=lambda defence: STAGES.index(defence.stages_in(run)[0]))


def _parity_inputs(dataset: Dataset, seed: int) -> np.ndarray:
    """In an order that means nothing: large networks are compared on the first of them."""
    return dataset.inputs(np.random.default_rng([seed, 3]).permutation(len(dataset))[:CHECKED_AGAINST])
