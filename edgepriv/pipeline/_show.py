"""What a file is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepriv.artifact.contract import source_of
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.describe import describe
from edgepriv.artifact.foreign_inputs import example_shape
from edgepriv.artifact.left_float import BY_RECIPE
from edgepriv.errors import UserError
from edgepriv.models import checkpoint
from edgepriv.models.containers import tensors_in
from edgepriv.models.lsq_steps import is_step
from edgepriv.models.reading import is_of_tensors, load_tensors
from edgepriv.pipeline._given import named
from edgepriv.pipeline._sensitivity import sensitivity_of_file
from edgepriv.recipe import FULL_WIDTH, parse
from edgepriv.recipe.defences import defences_of
from edgepriv.training import quantize_weights


def show(
    path: Path,
    factory: str | None = None,
    *,
    sensitivity: bool = False,
    data_dir: Path | None = None,
    input_shape: Sequence[int] | None = None,
) -> dict[str, Any]:
    """What a model.onnx or model.pt is: weights by layer and bits, profile; recipe and data where they are known.

    Args:
        path: an .onnx file, a checkpoint, or a bare state_dict.
        factory: the user's own ``package.module:factory``, without which a checkpoint of such a network is refused.
        sensitivity: measure what each layer of a checkpoint loses at each width.
        data_dir: folder of the data sets, for that; None for the default one.
        input_shape: of one example, where an .onnx file leaves sizes open; None where it does not.

    Returns:
        Facts by name, JSON-ready; ``layers`` is one dictionary for each weight; ``sensitivity`` where it was asked for.

    Raises:
        UserError: where there is no such file, or it is none of these.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    if sensitivity:
        measured = sensitivity_of_file(path, factory, data_dir)
        return show(path, factory) | {"sensitivity": measured}
    if data_dir is not None:
        raise UserError("--data-dir is for --sensitivity, which reads the data: pass both or neither")
    if input_shape is not None and is_of_tensors(path):
        raise UserError(f"--input-shape says which sizes an .onnx file is fed, and {path} is none: leave it out")
    if not is_of_tensors(path):
        model = DeployedModel.open(path)
        known, facts = model.manifest, describe(model)
        if input_shape is not None:
            _with_sizes(facts, model, input_shape)
        if known is None:
            return facts
        left = {"left_float": _unasked(known.left_float), "notes": known.notes, "defences": known.defences}
        left |= {"defended_by": _defended_by(known.recipe, known.stages)}
        return facts | left | {"recipe": known.recipe, "data": known.data}
    content = load_tensors(path)
    if not checkpoint.is_checkpoint(content):
        return _bare(path, content)
    saved = checkpoint.load(path, named(factory))
    classifier = saved.classifier()
    quantized = quantize_weights(classifier.network, saved.recipe.quantize)
    layers = [
        {"name": name, "shape": list(value.shape), "bits": quantized[name].bits if name in quantized else FULL_WIDTH}
        for name, value in classifier.network.named_parameters()
        if not is_step(name)
    ]
    return {
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "stages": list(saved.stages),
        "class_names": list(saved.class_names),
        "input_shape": list(saved.input_shape),
        "layers": layers,
        "defended_by": defences_of(saved.recipe.as_run(saved.stages), deployed=False),
        "defences": saved.defences,
        "recipe": saved.recipe.model_dump(mode="json"),
        "data": saved.data,
    }


def _with_sizes(facts: dict[str, Any], model: DeployedModel, asked: Sequence[int]) -> None:
    """Put what the user says of one example in place of the sizes that the file leaves open."""
    source = source_of(model.open_session())
    sizes = example_shape(source, asked)
    for each in facts["inputs"]:
        if each["name"] == source.name:
            each["shape"][1:] = sizes


def _defended_by(recipe: dict[str, Any], stages: Sequence[str]) -> list[str]:
    """What has defended the model; nothing where the recipe is of another version."""
    try:
        parsed = parse(recipe, "the manifest")
    except UserError:
        return []
    return defences_of(parsed.as_run(stages) if stages else parsed)


def _bare(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """What a file of tensors from elsewhere tells of itself."""
    weights = tensors_in(content)
    if not weights.state:
        raise UserError(f"{path} holds no tensors under names: it is neither a checkpoint nor a state_dict")
    return {
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "kind": "a bare state_dict: harden and export take it with --model and --data, or --members and --non-members",
        "found": list(weights.notes),
        "tensors": len(weights.state),
        "parameters": sum(value.numel() for value in weights.state.values()),
        "layers": [
            {"name": name, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
            for name, value in weights.state.items()
        ],
    }


def _unasked(left_float: dict[str, str]) -> dict[str, str]:
    """Without what the recipe leaves at 32 bits, which the layers tell."""
    return {name: reason for name, reason in left_float.items() if reason != BY_RECIPE}
