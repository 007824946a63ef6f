"""The verbs that make models: train, harden, export."""

from pathlib import Path
from typing import Annotated, Any

from edgepriv.api import arguments as given
from edgepriv.api.results import Exported, Hardened, Trained
from edgepriv.api.verb import verb
from edgepriv.errors import UserError
from edgepriv.recipe import MAX_DROP, Option, Recipe, changes_of
from edgepriv.recipe.conflicts import refuse_ignored

ASKED_OF_MODEL = ("dropout", "batch_dependent")
"""Fields of the model that are asked for of a checkpoint too."""
ASKED_OF_DATA = ("canaries",)
"""The same of the data."""


# One keyword for each option of the command line is the contract of the API.
@verb
def train(
    recipe: given.Settings = None,
    *,
    out: Annotated[given.PathLike, Option("Checkpoint to write.", "Output", flags=given.OUT)] = "model.pt",
    members: given.Members = None,
    non_members: given.NonMembers = None,
    audit_twin: given.AuditTwin = False,
    trace_losses: Annotated[
        bool,
        Option(
            "Write each member's loss after every epoch to MODEL.losses.npz, which stays home; audit --loss-trace reads it.",
            "Output",
        ),
    ] = False,
    accept_accuracy_loss: given.AcceptAccuracyLoss = False,
    data_dir: given.DataDir = None,
    download: given.Download = False,
    force: given.Force = False,
    progress: given.Progress = False,
    **options: Any,
) -> Trained:
    """Train a model from scratch.

    Args:
        recipe: a Recipe, or the TOML file of one; the options win over it.
        out: the checkpoint to write. An interrupted run is resumed by the same call.
        members: file of who is trained on, instead of ``data``.
        non_members: file of who is not.
        audit_twin: train the model without canaries as well: it is ``out`` then, and the one with canaries stands beside it,
            model.canaries.pt.
        trace_losses: write the loss of each member after every epoch beside ``out``, model.losses.npz.
        accept_accuracy_loss: write a model that has collapsed too.
        data_dir: folder of named data sets.
        download: fetch one that is not there.
        force: replace files that exist.
        progress: see ``edgepriv.api.arguments.Progress``.
        options: those of ``edgepriv train``, by name.

    Returns:
        What was written, and how well it does.

    Raises:
        UserError: for bad input, before anything is trained; for a model that has collapsed.

    Examples:
        >>> import edgepriv
        >>> trained = edgepriv.train(data="digits", model="mlp", widths=[32], epochs=3, lr=0.005, out="model.pt")
        >>> trained.checkpoint.name, trained.recipe.train.epochs, len(trained.history)
        ('model.pt', 3, 3)
    """
    from edgepriv import pipeline

    settings, file = given.opened(recipe)
    changes = _with_members("train", options, members, non_members)
    asked: dict[str, Any] = {"train": {}} | changes
    if options.get("adv") is not None:
        asked["train"] |= {"adversarial": options["adv"] != "none"}
    if options.get("bits") is not None:
        asked["train"] |= {"quantized": True}
    described = (settings or Recipe()).with_changes(**asked)
    refuse_ignored(described, changes)
    content = pipeline.train(
        described,
        Path(out),
        audit_twin=audit_twin,
        trace_losses=trace_losses,
        accept_accuracy_loss=accept_accuracy_loss,
        data_dir=given.path(data_dir),
        download=download,
        force=force,
        recipe_file=file,
    )
    return Trained.of(content)


# One keyword for each option of the command line is the contract of the API.
@verb
def harden(
    checkpoint: given.Checkpoint,
    recipe: given.Settings = None,
    *,
    out: Annotated[given.PathLike, Option("Folder to write into.", "Output", flags=("-o", "--out"))] = "out",
    head: Annotated[
        given.PathLike | None,
        Option("A model.head.pt to use instead of training a head.", "Defences", default="a head is trained"),
    ] = None,
    trainer: given.OwnPipeline = None,
    audit_twin: given.AuditTwin = False,
    members: given.Members = None,
    non_members: given.NonMembers = None,
    max_drop: given.MaxDrop = MAX_DROP,
    accept_accuracy_loss: given.AcceptAccuracyLoss = False,
    robust: given.Robust = None,
    robust_examples: given.RobustExamples = None,
    data_dir: given.DataDir = None,
    download: given.Download = False,
    force: given.Force = False,
    progress: given.Progress = False,
    **options: Any,
) -> Hardened:
    """Harden a trained model: adversarial training, quantization-aware fine-tuning, export.

    Args:
        checkpoint: of ``train``, or a bare state_dict from elsewhere, with ``model`` and ``data`` (or ``members`` and
            ``non_members``).
        recipe: a Recipe, or the TOML file of one; the options win over it.
        out: the folder to write into: model.onnx, its float twin, manifests, checkpoints, the device kit.
        members: examples that the model was trained on (.npz, .csv or a folder), for a bare state_dict.
        non_members: examples that it was not trained on, in the same form.
        head: a head that was trained for another model with as many classes.
        trainer: your own "mine.py:train". Stages are trained on batches of the script's ``loader(data, *, seed)`` and by its
            ``loss(data)``, where it defines them, instead of edgepriv's own.
        audit_twin: harden the model with canaries, which is audited (model.canaries.onnx), and the one without, which ships
            (model.onnx).
        max_drop: points of accuracy that quantization may cost.
        accept_accuracy_loss: write a file that has collapsed too, with a warning.
        robust: attacks by perturbed inputs on the file that was written.
        robust_examples: non-members that they perturb.
        data_dir: folder of named data sets.
        download: fetch a torchvision data set that is not there.
        force: replace files that exist.
        progress: see ``edgepriv.api.arguments.Progress``.
        options: those of ``edgepriv harden``, by name.

    Returns:
        What was written, its size, its parity with the torch model, its accuracy, clean and under attack.

    Raises:
        UserError: for bad input, before anything is trained; for a file that has collapsed.

    Examples:
        >>> import edgepriv
        >>> shorter = dict(epochs=1, qat_epochs=1, robust="quick", robust_examples=50)
        >>> hardened = edgepriv.harden("model.pt", bits=4, adv="fgsm", out="out/", **shorter)
        >>> hardened.model.name, hardened.size_bytes < hardened.float_twin["size_bytes"]
        ('model.onnx', True)
    """
    from edgepriv import pipeline

    if options.get("ptq") and (options.get("qat_epochs") or options.get("flatten")):
        raise UserError(
            "--ptq rounds trained weights without fine-tuning, which --qat-epochs and --flatten belong to: drop it or them"
        )
    if options.get("baseline") == "memguard" and options.get("regenerate") not in (None, "none"):
        raise UserError("--baseline memguard and --regenerate both change the answers: pass one of them")
    settings, file = given.opened(recipe)
    described, changes = _described(settings, _with_members("harden", options, members, non_members))
    content = pipeline.harden(
        Path(checkpoint),
        described,
        changes,
        Path(out),
        head=given.path(head),
        trainer=trainer,
        audit_twin=audit_twin,
        max_drop=max_drop,
        accept_accuracy_loss=accept_accuracy_loss,
        robust=robust,
        robust_examples=robust_examples,
        data_dir=given.path(data_dir),
        download=download,
        force=force,
        recipe_file=file,
    )
    return Hardened.of(content)


# One keyword for each option of the command line is the contract of the API.
@verb
def export(
    checkpoint: given.CheckpointOrOnnx,
    recipe: given.Settings = None,
    *,
    out: Annotated[given.PathLike, Option("File to write.", "Output", flags=("-o", "--out"))] = "model.onnx",
    members: given.Members = None,
    non_members: given.NonMembers = None,
    input_shape: given.InputShape = None,
    output_name: given.OutputName = None,
    max_drop: given.MaxDrop = MAX_DROP,
    accept_accuracy_loss: given.AcceptAccuracyLoss = False,
    data_dir: given.DataDir = None,
    download: given.Download = False,
    force: given.Force = False,
    progress: given.Progress = False,
    **options: Any,
) -> Exported:
    """Export a checkpoint, or any float ONNX classifier, with integer weights, and prove parity.

    Args:
        checkpoint: as for ``harden``; or a float .onnx from anywhere: its graph is kept, its weights are packed, and ``data``
            is then an .npz with x as it takes it, and y where the classes are known.
        recipe: what a bare state_dict is; of a checkpoint, its own recipe is used.
        out: the file to write; its float twin and the manifests go beside it.
        members: as for ``harden``.
        non_members: as for ``harden``.
        input_shape: sizes of one example where an .onnx leaves them open.
        output_name: output of an .onnx that holds the class scores.
        max_drop: points of accuracy that quantization may cost.
        accept_accuracy_loss: write a file that has collapsed too, with a warning.
        data_dir: folder of named data sets.
        download: fetch a torchvision data set that is not there.
        force: replace files that exist.
        progress: see ``edgepriv.api.arguments.Progress``.
        options: those of ``edgepriv export``, by name.

    Returns:
        What was written, its size, its parity with the torch model, its accuracy.

    Raises:
        UserError: for bad input; for a file that has collapsed.

    Examples:
        >>> import edgepriv
        >>> exported = edgepriv.export("model.pt", bits=8, profile="portable", out="model.onnx")
        >>> exported.model.name, exported.export["profile"]
        ('model.onnx', 'portable')
    """
    from edgepriv import pipeline

    if Path(checkpoint).suffix == ".onnx":
        if recipe is not None or members is not None or non_members is not None or data_dir is not None or download:
            raise UserError(
                "an .onnx file is exported by its own graph: --recipe, --members, --non-members, --data-dir and --download are "
                "for checkpoints"
            )
        return Exported.of(
            pipeline.export_foreign(
                Path(checkpoint),
                changes_of("export", options),
                Path(out),
                input_shape=given.input_shape(input_shape),
                output_name=output_name,
                max_drop=max_drop,
                accept_accuracy_loss=accept_accuracy_loss,
                force=force,
            )
        )
    if input_shape is not None or output_name is not None:
        raise UserError("--input-shape and --output-name are for .onnx files: a checkpoint keeps its own")
    settings, file = given.opened(recipe)
    described, changes = _described(settings, _with_members("export", options, members, non_members))
    content = pipeline.export(
        Path(checkpoint),
        described,
        changes,
        Path(out),
        max_drop=max_drop,
        accept_accuracy_loss=accept_accuracy_loss,
        data_dir=given.path(data_dir),
        download=download,
        force=force,
        recipe_file=file,
    )
    return Exported.of(content)


def _with_members(
    command: str, options: dict[str, Any], members: given.PathLike | None, non_members: given.PathLike | None
) -> dict[str, Any]:
    """What the options change in the recipe, with the data set that two files make."""
    if (members is None) != (non_members is None):
        raise UserError("--members and --non-members go together")
    if members is None or non_members is None:
        return changes_of(command, options)
    if options.get("data") is not None:
        raise UserError(
            "--data names a data set to split; --members and --non-members say what the split is: pass one or the other"
        )
    name = f"members:{Path(members).resolve()}|{Path(non_members).resolve()}"
    return changes_of(command, options | {"data": name})


def _described(recipe: Recipe | None, asked: dict[str, Any]) -> tuple[Recipe | None, dict[str, dict[str, Any]]]:
    """The recipe of a bare state_dict, None where the checkpoint speaks for itself; and what else is asked for.

    Data, seed and model say what a file of weights is, but for ASKED_OF_MODEL and ASKED_OF_DATA.
    """
    about = {name: asked[name] for name in ("seed", "data", "model") if name in asked}
    changes = {name: value for name, value in asked.items() if name not in about}
    for section, fields in (("model", ASKED_OF_MODEL), ("data", ASKED_OF_DATA)):
        if section in about:
            changes[section] = {name: value for name, value in about[section].items() if name in fields}
            about[section] = {name: value for name, value in about[section].items() if name not in fields}
    if recipe is None and "name" not in about.get("data", {}) and "name" not in about.get("model", {}):
        if "seed" in about or any(about.values()):
            raise UserError(
                "--seed, --widths, --model-arg, --mean, --std and the options that say how data are read (--label, --groups, "
                "--input-range, ...) say what a bare state_dict and its data are, with --model and --data; a checkpoint keeps "
                "its own"
            )
        return None, changes
    return (recipe or Recipe()).with_changes(**about), changes
