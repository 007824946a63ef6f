"""Export any float ONNX classifier: the same graph, with integer weights."""

from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgepriv.accuracy import Standard
from edgepriv.artifact import manifest
from edgepriv.artifact.contract import source_of
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.export import Exported
from edgepriv.artifact.foreign_export import pack_graph, prove_packed
from edgepriv.artifact.foreign_inputs import example_shape, given_examples, random_examples, read_by
from edgepriv.artifact.layers import layers
from edgepriv.artifact.release import written_by_export
from edgepriv.artifact.sensitivity import divergence, overridable, sensitivity
from edgepriv.artifact.session import histogram, optimized_graph, predict
from edgepriv.errors import UserError
from edgepriv.files import folder_aside, refuse_existing, refuse_overwriting, write_bytes
from edgepriv.pipeline._given import NOTHING_WRITTEN, say_all
from edgepriv.project import beside
from edgepriv.recipe import Export, Recipe

RANDOM = 64
"""Random examples that a file is compared on without data."""
GIVEN = 2_000
"""Examples of the user's that it is compared on."""
ALIKE = 0.95
"""Share of random inputs with the same label, below which a warning says so."""
WIDTHS = (2, 4, 8)
"""Widths of the sensitivity table, beside those that were asked for."""
_SECTIONS = {"quantize", "export", "seed"}


# One argument for each option of `edgepriv export` that a file from elsewhere takes.
def export_foreign(
    model: Path,
    changes: dict[str, Any],
    output: Path,
    *,
    input_shape: Sequence[int] | None = None,
    output_name: str | None = None,
    max_drop: float,
    accept_accuracy_loss: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Pack the weights of a float ONNX classifier, prove the file, and write it with the float file beside it.

    Args:
        model: the float .onnx.
        changes: sections of the recipe by name; of ``data`` its name, an .npz with x as the model takes it and y if known.
        output: the .onnx file.
        input_shape: of one example, where the file leaves sizes open; None where it does not.
        output_name: the output with the scores of the classes; None to decide.
        max_drop: points of accuracy that quantization may cost, where classes are known.
        accept_accuracy_loss: write a file that loses more too, with a warning.
        force: replace files that exist.

    Returns:
        What the command prints as JSON.

    Raises:
        UserError: for bad input, and where a proof fails; nothing is written then.
    """
    recipe, data = _settings(changes)
    if output.suffix != ".onnx":
        raise UserError(f"-o {output}: the name must end in .onnx")
    written = written_by_export(output)
    refuse_overwriting([model, data], written)
    refuse_existing(written, force)
    opened = DeployedModel.open(model)
    graph = opened.graph
    if opened.is_ours:
        raise UserError(f"{model} was written by edgepriv: export the checkpoint that it was made from")
    session = opened.open_session()
    source = source_of(session)
    notes = []
    if data is not None:
        x, y = given_examples(data, source)
        x, y = x[:GIVEN], None if y is None else y[:GIVEN]
        inputs = f"{len(x)} inputs of {data}"
    else:
        x, y = random_examples(session, example_shape(source, input_shape), RANDOM, recipe.seed), None
        inputs = f"{len(x)} random inputs"
        notes.append(
            "no --data was given: parity, agreement and sensitivity are of random inputs, and the accuracy is not known"
        )
    contract, read_notes = read_by(session, x[:RANDOM], output_name, None if y is None else y[:RANDOM])
    notes += read_notes
    say_all(notes)
    packed = pack_graph(graph, recipe.quantize, recipe.export)
    if packed.layout is not None:
        notes.append(packed.layout)
        say_all([packed.layout])
    parity, own = prove_packed(graph, packed, contract, x)
    x, y = x[: parity.n], None if y is None else y[: parity.n]
    change = _change(predict(session, x), predict(own, x), y) | {"inputs": inputs, "random": data is None}
    warnings = Standard(max_drop, accept_accuracy_loss).judge(_lost(change, max_drop, y), NOTHING_WRITTEN)
    if data is None and change["same_label"] < ALIKE:
        warnings.append(
            f"quantization changes the label of {1 - change['same_label']:.1%} of {inputs}: pass --data with real inputs "
            "to learn what it costs, or more bits for the layers that the table puts first"
        )
    widths = sorted({*WIDTHS, *(tensor.bits for tensor in packed.integers.values() if tensor.bits <= 8)})
    table = sensitivity(overridable(graph, contract), x, y, recipe.quantize, widths) if packed.integers else None
    optimized = optimized_graph(packed.content)
    exported = Exported(
        output,
        len(packed.content),
        sha256(packed.content).hexdigest(),
        parity,
        histogram(optimized),
        layers(onnx.load_from_string(packed.content)),
        dict(packed.left_float),
        batch=contract.fixed_batch,
    )
    twin = _write(exported, packed.content, opened, recipe, notes)
    return {
        "model": str(output),
        "size_bytes": exported.size_bytes,
        "float": twin | {"same_label": change["same_label"], "compared": parity.n},
        "parity": asdict(parity),
        "ops": exported.ops,
        "left_float": exported.left_float,
        "notes": notes,
        "export": recipe.export.model_dump(mode="json"),
        "ort": None,
        "batch": exported.batch,
        "accuracy": None,
        "change": change | {"warnings": warnings},
        "sensitivity": table,
        "said": notes,
    }


def _settings(changes: dict[str, Any]) -> tuple[Recipe, Path | None]:
    """The recipe, and the file of examples; what means nothing to a file from elsewhere is refused."""
    data = dict(changes.get("data", {}))
    name = data.pop("name", None)
    strange = [section for section in changes if section not in _SECTIONS | {"data"}] + sorted(data)
    if strange:
        raise UserError(
            f"options of {', '.join(strange)} say how a checkpoint and its data are read: an .onnx file takes --bits, "
            "--profile and the other options of quantization, --data with an .npz, --input-shape and --output-name"
        )
    recipe = Recipe().with_changes(**{key: value for key, value in changes.items() if key in _SECTIONS})
    plain = Export(profile=recipe.export.profile, keep_packed=recipe.export.keep_packed)
    if recipe.export != plain:
        asked = [key for key, value in recipe.export.model_dump().items() if value != getattr(plain, key)]
        raise UserError(
            f"{', '.join(asked)}: a file from elsewhere keeps what it takes, returns and computes with; export it without "
            "--input, --returns, --compute and --ort"
        )
    if name is None:
        return recipe, None
    path = Path(str(name).removeprefix("npz:"))
    if path.suffix != ".npz" or not path.is_file():
        raise UserError(
            f"--data {name}: with an .onnx file it names an .npz that exists, with x exactly as the model takes it and the "
            "labels y where they are known"
        )
    return recipe, path


def _change(before: np.ndarray, after: np.ndarray, y: np.ndarray | None) -> dict[str, Any]:
    """What quantization changed: labels, divergence in nats, and accuracy where the classes are known."""
    return {
        "n": len(before),
        "same_label": float(np.mean(before.argmax(1) == after.argmax(1))),
        "divergence": divergence(before, after),
        "accuracy_before": None if y is None else float(np.mean(before.argmax(1) == y)),
        "accuracy_after": None if y is None else float(np.mean(after.argmax(1) == y)),
    }


def _lost(change: dict[str, Any], max_drop: float, y: np.ndarray | None) -> list[str]:
    """What speaks against the file: on random inputs nothing does, since labels mean nothing there."""
    if change["random"]:
        return []
    allowed = f"--max-drop allows {max_drop:g}"
    if y is None:
        changed = 100 * (1 - change["same_label"])
        if changed <= max_drop:
            return []
        return [
            f"quantization changes the label of {changed:.1f}% of {change['inputs']}, so it may cost as many points of "
            f"accuracy ({allowed}); with their labels y in the file that is measured"
        ]
    before, after = change["accuracy_before"], change["accuracy_after"]
    largest = float(np.bincount(y).max()) / len(y)
    lines = []
    if before <= largest and np.bincount(y).max() < len(y):
        lines.append(
            f"the float file is right for {before:.1%} of {change['inputs']}, and always answering their largest class for "
            f"{largest:.1%}: x is not what the model takes, or y does not count its classes"
        )
    if 100 * (before - after) > max_drop:
        lines.append(
            f"quantization costs {100 * (before - after):.1f} points of accuracy on {change['inputs']} ({before:.1%} before, "
            f"{after:.1%} after; {allowed})"
        )
    return lines


def _write(
    exported: Exported, content: bytes, float_model: DeployedModel, recipe: Recipe, notes: list[str]
) -> dict[str, Any]:
    """Both files and the manifest, all or none; the facts of the float file."""
    output = exported.path
    single = float_model.graph.SerializeToString() if float_model.external else float_model.content
    twin = {
        "file": beside(output, "fp32.onnx").name,
        "sha256": sha256(single).hexdigest(),
        "size_bytes": len(single),
    }
    record = manifest.manifest_of(
        exported, recipe.model_dump(mode="json"), None, float_twin=twin, notes=notes, elsewhere=True
    )
    with folder_aside(output) as folder:
        aside = folder / output.name
        write_bytes(aside, content)
        write_bytes(beside(aside, "fp32.onnx"), single)
        record.write(manifest.path_beside(aside))
        for path in written_by_export(aside):
            if path.exists():
                path.replace(output.parent / path.name)
            else:
                (output.parent / path.name).unlink(missing_ok=True)  # of an earlier export
    return twin
