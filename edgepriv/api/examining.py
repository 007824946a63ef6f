"""The verbs that measure and describe files: bench, compare, show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from edgepriv.api import arguments as given
from edgepriv.api.results import Benched, Compared, Shown
from edgepriv.api.verb import verb
from edgepriv.errors import UserError
from edgepriv.recipe import Option, Recipe, changes_of


@verb
def bench(
    path: given.ModelFile,
    recipe: given.Settings = None,
    *,
    against: Annotated[
        given.PathLike | Sequence[given.PathLike] | None,
        Option(
            "Other .onnx files to measure beside it (repeatable).",
            "Timing",
            default="the float twin only",
            repeatable=True,
        ),
    ] = None,
    imports: Annotated[
        given.PathLike | Sequence[given.PathLike] | None,
        Option(
            "JSON that the device kit's bench printed on a device (repeatable); added to MODEL.bench.json, which is "
            "measured only if there is none.",
            "Timing",
            flags=("--import",),
            default="none",
            repeatable=True,
        ),
    ] = None,
    input_shape: given.InputShape = None,
    out: Annotated[
        given.PathLike | None,
        Option("JSON to write.", "Output", flags=given.OUT, default="MODEL.bench.json"),
    ] = None,
    force: given.Force = False,
    progress: given.Progress = False,
    **options: Any,
) -> Benched:
    """Measure size, latency and memory beside the float twin, each in a fresh process.

    Args:
        path: the .onnx that ships.
        recipe: settings of the measurement, a Recipe or the TOML file of one; the options win over it.
        against: other .onnx files to measure beside it.
        imports: JSON that the device kit's bench printed on a device.
        input_shape: sizes of one example where the files leave them open.
        out: JSON to write.
        force: replace files that exist.
        progress: see ``edgepriv.api.arguments.Progress``.
        options: those of ``edgepriv bench``, by name.

    Returns:
        A row for each file, threads and batch size.

    Raises:
        UserError: for bad input.

    Examples:
        >>> import edgepriv
        >>> measured = edgepriv.bench("out/model.onnx", runs=5, rounds=1, batch=1)
        >>> [row["batch"] for row in measured.variants if row["name"] == "model"]
        [1]
    """
    from edgepriv import pipeline

    settings, file = given.opened(recipe)
    content = pipeline.bench(
        Path(path),
        (settings or Recipe()).with_changes(**changes_of("bench", options)),
        against=given.paths(against),
        imports=given.paths(imports),
        input_shape=given.input_shape(input_shape),
        output=given.path(out),
        force=force,
        recipe_file=file,
    )
    return Benched.of(content, file=Path(out) if out is not None else Path(path).with_suffix(".bench.json"))


@verb
def compare(
    *models: given.Models,
    recipe: given.Settings = None,
    out: Annotated[
        given.PathLike | None,
        Option(
            "JSON to write, and the page beside it.",
            "Output",
            flags=given.OUT,
            default="nothing is written",
        ),
    ] = None,
    force: given.Force = False,
    progress: given.Progress = False,
    **options: Any,
) -> Compared:
    """Versions side by side: both ROC curves, and what became better, worse, or is within noise.

    Args:
        models: two or more .onnx files, the earlier version first; what is known of accuracy and leakage is in the audits
            beside them.
        recipe: settings of the measurement, a Recipe or the TOML file of one; the options win over it.
        out: JSON to write, with the page beside it.
        force: replace files that exist.
        progress: see ``edgepriv.api.arguments.Progress``.
        options: those of ``edgepriv compare``, by name.

    Returns:
        A row for each file, with its ``change`` against the first.

    Raises:
        UserError: for bad input.

    Examples:
        >>> import edgepriv
        >>> [row["name"] for row in edgepriv.compare("out/model.onnx", "out/model.fp32.onnx", runs=5, rounds=1).rows]
        ['model.onnx', 'model.fp32.onnx']
    """
    from edgepriv import pipeline

    settings, _ = given.opened(recipe)
    files = [path for each in models for path in given.paths(each)]
    asked = (settings or Recipe()).with_changes(**changes_of("compare", options))
    rows = pipeline.compare(files, asked, output=given.path(out), force=force)
    return Compared.of(rows, file=given.path(out))


# One argument for each option of `edgepriv show`.
@verb
def show(
    path: given.AnyFile,
    *,
    against: Annotated[
        given.PathLike | None,
        Option(
            "Float .onnx, or checkpoint, that a quantized .onnx was made from: what each layer loses.",
            "Data",
            default="none",
        ),
    ] = None,
    data: Annotated[
        str | None,
        Option(
            "Examples for --against: a data set, or an .npz with x as the model takes it.",
            "Data",
            default="held-out data that the manifest names",
        ),
    ] = None,
    sensitivity: Annotated[
        bool,
        Option("Measure what each layer of a checkpoint loses at 2 to 8 bits, one layer at a time.", "Quantization"),
    ] = False,
    data_dir: given.DataDir = None,
    input_shape: given.InputShape = None,
    output_name: given.OutputName = None,
    model: given.OwnModel = None,
    progress: given.Progress = False,
) -> Shown:
    """What a file is: weights by layer and bits, profile, recipe; with ``against`` what each layer loses.

    Args:
        path: a .onnx, a checkpoint, or weights from elsewhere.
        against: the float .onnx, or the checkpoint, that a quantized .onnx was made from.
        data: examples to compare both on, with ``against``: a data set, or an .npz with x as the model takes it and the labels
            y if known; None for the held-out part of the data that the manifest names.
        input_shape: sizes of one example where an .onnx leaves them open.
        output_name: the output with the scores of the classes, of an .onnx from elsewhere.
        model: your own ``package.module:factory``, without which a checkpoint of such a network is refused.
        sensitivity: measure what each layer of a checkpoint loses at 2 to 8 bits, by rounding alone, the others at 32 bits, on
            non-members.
        data_dir: folder of named data sets, for ``sensitivity`` and ``against``.
        progress: see ``edgepriv.api.arguments.Progress``.

    Returns:
        What is known of it; the fields that its kind does not have are None. ``diagnosis`` holds what ``against`` tells.

    Raises:
        UserError: for what is none of these, and for two files that are not of one network.

    Examples:
        >>> import edgepriv
        >>> edgepriv.show("model.onnx").profile
        'portable'
    """
    from edgepriv import pipeline

    sizes = given.input_shape(input_shape)
    facts = pipeline.show(Path(path), model, sensitivity=sensitivity, data_dir=given.path(data_dir), input_shape=sizes)
    if against is not None:
        facts["diagnosis"] = pipeline.diagnose(
            Path(path),
            Path(against),
            data_name=data,
            data_dir=given.path(data_dir),
            output_name=output_name,
            factory=model,
        )
    elif data is not None or output_name is not None:
        raise UserError("--data and --output-name say what --against is measured on: give the float file with it")
    return Shown.of(facts)
