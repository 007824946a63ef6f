"""The arguments of the verbs that are no fields of a recipe: each declared once, for Python and for the command line."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from edgepriv.errors import UserError
from edgepriv.progress import Listener
from edgepriv.recipe import Option, Recipe, load, written
from edgepriv.recipe.option import BUILDING

PathLike = str | os.PathLike[str]
Progress = bool | Listener
"""True: bars or lines on standard error. False: nothing. A function: it is called with a ``edgepriv.progress.Step``."""

_SPLIT = dict.fromkeys(BUILDING, "the seeded split of the data") | {"audit": "as the manifest says"}

Checkpoint = Annotated[
    PathLike, Option("Checkpoint, or a bare state_dict with --model and --data.", metavar="MODEL.pt")
]
CheckpointOrOnnx = Annotated[
    PathLike,
    Option(
        "Checkpoint, a bare state_dict with --model and --data, or any float .onnx classifier.",
        metavar="MODEL.pt|MODEL.onnx",
    ),
]
ModelFile = Annotated[PathLike, Option("The file that ships.", metavar="MODEL.onnx")]
AnyFile = Annotated[PathLike, Option("", metavar="MODEL.onnx|MODEL.pt")]
Models = Annotated[
    PathLike | Sequence[PathLike], Option("Models to set side by side.", metavar="A.onnx B.onnx ...", repeatable=True)
]
Settings = Annotated[Recipe | PathLike | None, Option("TOML file; options given here win over it.", kind=PathLike)]
InputShape = Annotated[
    str | Sequence[int] | None,
    Option(
        "Sizes of one example where an .onnx file leaves them open, without the batch, such as 3,48,192.",
        "Model",
        default="as the file says",
    ),
]
OutputName = Annotated[
    str | None,
    Option("Output of an .onnx file that holds the class scores.", "Model", default="the one that can be meant"),
]
Members = Annotated[
    PathLike | None,
    Option(
        "Examples that the model was trained on: .npz with x and y, .csv, or a folder.",
        "Data",
        default=_SPLIT,
    ),
]
NonMembers = Annotated[
    PathLike | None,
    Option("Examples that it was not trained on, in the same form.", "Data", default=_SPLIT),
]
DataDir = Annotated[
    PathLike | None, Option("Where named data sets are.", "Data", default="$EDGEPRIV_DATA or the cache folder")
]
Download = Annotated[bool, Option("Fetch the data set if it is not there.", "Data")]
OwnModel = Annotated[
    str | None,
    Option("Your own pkg.mod:factory that the file names: nothing else is ever imported.", "Model", default="none"),
]
Trainer = Annotated[
    str | None,
    Option(
        "Your own FILE.py:FUNCTION, train(data, *, seed, device) -> network: makes the reference models.",
        "Audit",
        default="the model's recipe",
    ),
]
OwnPipeline = Annotated[
    str | None,
    Option(
        "Your own FILE.py:FUNCTION: its file's loader(data, *, seed) and loss(data) feed and score the fine-tuning.",
        "Training",
        default="batches and loss of edgepriv's",
    ),
]
DefenceFree = Annotated[
    str | None,
    Option(
        "The same training without your defence, FILE.py:FUNCTION: an oblivious attacker's.", "Audit", default="none"
    ),
]
ReferenceModels = Annotated[
    PathLike | None,
    Option(
        "Folder of reference models that exist: each .onnx or .pt with NAME.members.npy beside it.",
        "Audit",
        default="they are trained",
    ),
]
ReferenceScores = Annotated[
    PathLike | None,
    Option(
        "Answers of reference models that exist: .npz with logits or probabilities [R, n, K] and member [R, n].",
        "Audit",
        default="they are trained",
    ),
]
LossTraceFile = Annotated[
    PathLike | None,
    Option(
        "MODEL.losses.npz of edgepriv train --trace-losses: which members their own losses say are exposed.",
        "Audit",
        default="none",
    ),
]
AuditTwin = Annotated[
    bool,
    Option("Make the model without canaries as well: it ships, and its twin with canaries is audited.", "Data"),
]
MaxDrop = Annotated[
    float,
    Option("Points of accuracy that quantization may cost against the weights before it.", "Quantization"),
]
Robust = Annotated[
    Literal["autoattack", "quick", "none"] | None,
    Option(
        "Attacks by perturbed inputs on the file that was written (LeNet-5, one core: autoattack 1 min, quick 4 s).",
        "Audit",
        default="autoattack after adversarial training, else none",
    ),
]
RobustExamples = Annotated[
    int | None, Option("Non-members that --robust perturbs (an audit takes 1,000).", "Audit", default="200")
]
AcceptAccuracyLoss = Annotated[
    bool, Option("Go on, with a warning, where accuracy says that the model is broken.", "Output")
]
Force = Annotated[bool, Option("Replace files that exist.", "Output")]
OUT = ("-o", "--out", "--output")
"""Flags of what is written."""


def opened(recipe: Recipe | PathLike | None) -> tuple[Recipe | None, Path | None]:
    """The recipe, and the file that it was read from where it was.

    Args:
        recipe: a Recipe, the TOML file of one, or None.

    Returns:
        The Recipe, None for None; and the file, None where there was none.

    Raises:
        UserError: for a file that cannot be read, and for fields or values that no recipe has.
    """
    if recipe is None or isinstance(recipe, Recipe):
        return recipe, None
    if not isinstance(recipe, str | os.PathLike):
        raise UserError(f"recipe: expected a Recipe, or the path of its TOML file (got {type(recipe).__name__})")
    return load(Path(recipe)), Path(recipe)


def input_shape(asked: str | Sequence[int] | None) -> tuple[int, ...] | None:
    """Sizes of one example.

    Args:
        asked: as text, or as numbers; None where they are left to the file.

    Returns:
        The sizes; None for None.

    Raises:
        UserError: for anything but whole numbers above 0.
    """
    if asked is None:
        return None
    sizes = tuple(written.whole_numbers("input-shape", asked))
    if not sizes or min(sizes) < 1:
        raise UserError(f"--input-shape {asked!r}: expected sizes above 0, such as 3,48,192")
    return sizes


def path(given: PathLike | None) -> Path | None:
    """A path as the verbs take it.

    Args:
        given: a string, a path, or None.

    Returns:
        The path; None for None.
    """
    return None if given is None else Path(given)


def paths(given: PathLike | Sequence[PathLike] | None) -> list[Path]:
    """One path or several.

    Args:
        given: a path, a sequence of them, or None.

    Returns:
        All of them, in their order; an empty list for None.
    """
    if given is None:
        return []
    return [Path(given)] if isinstance(given, (str, os.PathLike)) else [Path(each) for each in given]
