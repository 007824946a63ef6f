"""A checkpoint -> the files that ship: model.onnx, its manifest, and its float twin beside it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.artifact import manifest
from edgepriv.artifact.export import export
from edgepriv.data import Dataset
from edgepriv.files import sha256_of
from edgepriv.models import Checkpoint
from edgepriv.project import Trained, beside
from edgepriv.recipe import FULL_WIDTH
from edgepriv.training import load_quantized, quantize_weights

CHECKED_AGAINST = 2_000
"""Real inputs that an export proves parity on, if there are as many."""


def written_by_export(output: Path) -> list[Path]:
    """Every file that ``export_with_twin`` writes."""
    float_file = beside(output, "fp32.onnx")
    return [output, manifest.path_beside(output), float_file, manifest.path_beside(float_file)]


def export_with_twin(trained: Trained, twin_of: Checkpoint, output: Path) -> dict[str, Any]:
    """The float twin first, so that the manifest of the shipped file can name it."""
    inputs = _parity_inputs(trained.dataset, trained.split.seed)
    float_file = beside(output, "fp32.onnx")
    facts: dict[str, Any] = {}
    if trained.checkpoint.recipe.quantize.active or trained.checkpoint.stages != twin_of.stages:
        float_checkpoint = twin_of.with_recipe(twin_of.recipe.with_changes(quantize={"bits": FULL_WIDTH}))
        _export_one(float_checkpoint, inputs, float_file, None)
        facts["float"] = {
            "file": float_file.name,
            "sha256": sha256_of(float_file),
            "size_bytes": float_file.stat().st_size,
        }
    return facts | _export_one(trained.checkpoint, inputs, output, facts.get("float"))


def _export_one(
    found: Checkpoint, inputs: np.ndarray, output: Path, float_twin: dict[str, Any] | None
) -> dict[str, Any]:
    classifier = found.classifier()
    weights = quantize_weights(classifier.network, found.recipe.quantize)
    load_quantized(classifier.network, weights)
    exported = export(
        classifier,
        weights,
        input_shape=found.input_shape,
        class_names=found.class_names,
        x=inputs,
        path=output,
        profile=found.recipe.export.profile,
    )
    record = manifest.manifest_of(
        exported, found.recipe.model_dump(mode="json"), found.data, stages=found.stages, float_twin=float_twin
    )
    record.write(manifest.path_beside(output))
    return {
        "model": str(output),
        "size_bytes": exported.size_bytes,
        "parity": asdict(exported.parity),
        "ops": exported.ops,
        "left_float": exported.left_float,
    }


def _parity_inputs(dataset: Dataset, seed: int) -> np.ndarray:
    chosen = np.random.default_rng([seed, 3]).permutation(len(dataset))[:CHECKED_AGAINST]
    return dataset.inputs(np.sort(chosen))
