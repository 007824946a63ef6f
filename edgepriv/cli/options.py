"""The options of the command line: their types with the help texts, and what they say of a recipe."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgepriv import recipe as recipes
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe

ADVERSARIES = {
    "none": {"method": "none"},
    "fgsm": {"method": "fgsm"},
    "pgd": {"method": "pgd", "norm": "linf"},
    "pgd-l2": {"method": "pgd", "norm": "l2"},
}
OUTPUTS = ("probabilities", "logits", "label")
BOTH = ("adaptive", "oblivious")
DROPOUT = 0.5
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="TOML file; options given here win over it.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where named data sets are; default $EDGEPRIV_DATA or the cache folder.")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch the data set if it is not there.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
Runs = Annotated[int | None, typer.Option(help="Inferences timed in each process, at most.")]
Seconds = Annotated[
    float | None,
    typer.Option(help="Seconds after which a process times no more inferences (it times 5 at least); default 5."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
DataName = Annotated[
    str | None, typer.Option("--data", help="digits, fashion_mnist, ..., npz:FILE, csv:FILE, folder:DIR.")
]
Label = Annotated[
    str | None,
    typer.Option("--label", help="Label column of a table: its title, or its position from 0 (-1: the last)."),
]
ImageSize = Annotated[
    str | None, typer.Option("--image-size", metavar="N|HxW", help="Resize pictures to so many pixels.")
]
Channels = Annotated[
    int | None,
    typer.Option("--channels", help="Channels of the pictures: 1 (grey), 3 (colour), or as many as they have."),
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="lenet, resnet20, mlp, cnn, a torchvision classifier, pkg.mod:factory.")
]
OwnModel = Annotated[
    str | None,
    typer.Option("--model", help="Your own pkg.mod:factory that the file names: nothing else is ever imported."),
]
Widths = Annotated[str | None, typer.Option(help="Hidden widths of an mlp, such as 512,256.")]
Mean = Annotated[
    str | None, typer.Option("--mean", help="Subtracted from the network's inputs: one number, or one per channel.")
]
Std = Annotated[
    str | None, typer.Option("--std", help="What they are then divided by: one number, or one per channel.")
]
InputRange = Annotated[
    str | None,
    typer.Option(
        "--input-range",
        metavar="LO:HI",
        help="Range of the network's inputs before mean and std, which are in its units: 0:1 (default), 0:255, ...",
    ),
]
ModelArgs = Annotated[
    list[str] | None,
    typer.Option(
        "--model-arg",
        help="An argument of the model, NAME=VALUE (repeatable), such as stem=plain for torchvision's own stem.",
    ),
]
OutputName = Annotated[
    str | None, typer.Option("--output-name", help="Output of a file of others that holds the scores of the classes.")
]
BatchDependent = Annotated[
    bool,
    typer.Option(
        "--batch-dependent",
        help="Answers depend on the rest of the batch: the model is shipped, asked and measured with one input at a time.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of the split, the weights and the order of examples.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of this stage.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples in a batch.")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]
Adv = Annotated[str | None, typer.Option("--adv", help="Adversarial training: none, fgsm, pgd or pgd-l2.")]
Eps = Annotated[float | None, typer.Option(help="Radius of the perturbations, in input units ([0, 1]).")]
Norm = Annotated[str | None, typer.Option(help="Norm of the perturbations: linf or l2.")]
Steps = Annotated[int | None, typer.Option(help="Gradient steps of PGD in training.")]
Bits = Annotated[str | None, typer.Option(help="Width of the weights: 2 to 16, 32, or rules such as conv1=8,*=4.")]
FirstLast = Annotated[int | None, typer.Option(help="Width of the first and the last layer: 2 to 16, or 32.")]
LastK = Annotated[int | None, typer.Option(help="Quantize only so many layers, counted from the last.")]
Granularity = Annotated[str | None, typer.Option(help="One scale for each tensor, channel or block:N.")]
QUANTIZERS = "minmax, famili, famili-printed, dorefa or lsq"
QuantizerName = Annotated[str | None, typer.Option("--quantizer", help=f"How weights are rounded: {QUANTIZERS}.")]
Flatten = Annotated[float | None, typer.Option(help="Weight lambda of posterior flattening.")]
Relax = Annotated[float | None, typer.Option(help="RelaxLoss: hold the training loss at this level, in nats.")]
Patience = Annotated[
    int | None, typer.Option(help="Keep the best held-out epoch; stop after so many without a better.")
]
DpEpsilon = Annotated[
    float | None, typer.Option(help="Differentially private training (DP-SGD): the epsilon to spend.")
]
NoiseMethod = Annotated[
    str | None, typer.Option("--noise", help="Retrain on members with noise: shapley (optimal) or uniform.")
]
NoiseTau = Annotated[float | None, typer.Option(help="Entropy of a noisy member's prediction to reach, in nats.")]
NoiseEps = Annotated[float | None, typer.Option(help="Largest noise on a feature, in input units ([0, 1]).")]
NoiseBeta = Annotated[float | None, typer.Option(help="Share of it that the most important feature loses.")]
NoiseAlpha = Annotated[float | None, typer.Option(help="Share of the teacher's answers in the loss on noisy members.")]
NoiseEpochs = Annotated[
    int | None, typer.Option(help="Epochs on noisy members, from new weights; default those of edgepriv train.")
]
Regenerate = Annotated[str | None, typer.Option(help="Head behind the softmax: member, nonmember or rank.")]
Baseline = Annotated[str | None, typer.Option(help="A known defence to compare with: dropout or memguard.")]
Precision = Annotated[str | None, typer.Option(help="Arithmetic of training: auto, float32 or bfloat16.")]
Profile = Annotated[str | None, typer.Option(help="Layout of the integer weights: latency, memory or portable.")]
Compute = Annotated[str | None, typer.Option(help="Activations inside packed layers: float32, or int8 (faster).")]
InputType = Annotated[str | None, typer.Option("--input", help="What the file takes: float32 in [0, 1], or uint8.")]
OutputForm = Annotated[str | None, typer.Option("--output", help="What it returns: probabilities, logits or label.")]
Ort = Annotated[bool | None, typer.Option("--ort", help="Write a .ort file too, for onnxruntime's minimal builds.")]
MaxDrop = Annotated[
    float, typer.Option(help="Points of accuracy that quantization may cost against its own float weights.")
]
AcceptAccuracyLoss = Annotated[
    bool,
    typer.Option("--accept-accuracy-loss", help="Go on, with a warning, where accuracy says that the model is broken."),
]
Members = Annotated[
    Path | None, typer.Option(help="Examples that the model was trained on: .npz with x and y, .csv, or a folder.")
]
NonMembers = Annotated[Path | None, typer.Option(help="Examples that it was not trained on, in the same form.")]


def recipe_in(path: Path | None) -> Recipe:
    return recipes.load(path) if path else Recipe()


def audit_settings(path: Path, asked: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a recipe file says of an audit, under the options; how the model was trained is the manifest's to say."""
    settings = recipe_in(path).with_changes(**asked)
    changes: dict[str, dict[str, Any]] = {"audit": settings.audit.model_dump(), "data": asked.get("data", {})}
    if settings.adversary != Recipe().adversary:
        changes["adversary"] = {"eps": settings.adversary.eps, "norm": settings.adversary.norm}
    return changes


def for_bare_state_dict(
    path: Path | None,
    data: str | None,
    model: str | None,
    widths: str | None,
    seed: int | None,
    members: Path | None,
    non_members: Path | None,
    fed: dict[str, Any],
    reading: dict[str, Any],
    arguments: Sequence[str] | None = None,
) -> Recipe | None:
    """The recipe that options describe, or None when they describe none and the checkpoint speaks for itself.

    ``fed``: as ``preprocessing`` returns it; ``reading``: as ``reading`` does.
    """
    name = data_name(data, members, non_members)
    if path is None and name is None and model is None:
        if (
            seed is not None
            or widths is not None
            or arguments
            or any(value is not None for value in (fed | reading).values())
        ):
            raise UserError(
                "--seed, --widths, --model-arg, --mean, --std, --input-range, --label, --image-size and --channels say what a "
                "bare state_dict and its data are, with --model and --data; a checkpoint keeps its own"
            )
        return None
    described = recipe_in(path).with_changes(
        seed=seed, data={"name": name}, model=model_settings(model, widths, arguments)
    )
    return described.with_changes(model=fed, data=reading)


def data_name(data: str | None, members: Path | None, non_members: Path | None) -> str | None:
    if (members is None) != (non_members is None):
        raise UserError("--members and --non-members go together")
    if members is None or non_members is None:
        return data
    if data is not None:
        raise UserError(
            "--data names a data set to split; --members and --non-members say what the split is: pass one or the other"
        )
    return f"members:{members.resolve()}|{non_members.resolve()}"


def model_settings(name: str | None, widths: str | None, arguments: Sequence[str] | None = None) -> dict[str, Any]:
    found = dict(_argument(written) for written in arguments or ())
    if widths is not None:
        try:
            found["widths"] = [int(width) for width in widths.split(",")]
        except ValueError:
            raise UserError(f"--widths {widths!r}: expected whole numbers such as 512,256") from None
    return {"name": name, "args": found or None}


def _argument(written: str) -> tuple[str, Any]:
    """``stem=plain`` -> a keyword argument of the model; its value is read as JSON where it is that, else as a word."""
    name, equals, value = written.partition("=")
    if not (equals and name.isidentifier()):
        raise UserError(f"--model-arg {written!r}: expected NAME=VALUE, such as stem=plain or stem_stride=2")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def preprocessing(mean: str | None, std: str | None, input_range: str | None) -> dict[str, Any]:
    """``--mean``, ``--std`` and ``--input-range`` as fields of the recipe's model; None for what was not given."""
    return {"mean": numbers("mean", mean), "std": numbers("std", std), "input_range": ends("input-range", input_range)}


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """``"0.485,0.456,0.406"`` -> three numbers."""
    if text is None:
        return None
    try:
        found = tuple(float(number) for number in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(math.isfinite(number) for number in found):
        raise UserError(f"--{option} {text!r}: expected numbers separated by commas, such as 0.5 or 0.485,0.456,0.406")
    return found


def ends(option: str, text: str | None) -> tuple[float, float] | None:
    """``"0:255"`` -> (0.0, 255.0)."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        found = (float(low), float(high))
    except ValueError:
        found = (math.nan, math.nan)
    if not (math.isfinite(found[0]) and math.isfinite(found[1]) and found[0] < found[1]):
        raise UserError(f"--{option} {text!r}: expected LO:HI, the lowest and the highest value, such as 0:255 or -1:1")
    return found


def reading(label: str | None, image_size: str | None, channels: int | None, input_range: str | None) -> dict[str, Any]:
    """How a file of data is read, as fields of the recipe's data; None for what was not given."""
    return {
        "label": label,
        "image_size": size_of(image_size),
        "channels": channels,
        "range": ends("input-range", input_range),
    }


def size_of(text: str | None) -> tuple[int, int] | None:
    """``"64"`` -> (64, 64), ``"48x64"`` -> (48, 64): height, width."""
    if text is None:
        return None
    height, cross, width = text.lower().partition("x")
    if not height.isdecimal() or (cross and not width.isdecimal()) or 0 in (int(height), int(width or 1)):
        raise UserError(f"--image-size {text!r}: expected pixels, such as 64, or height and width, such as 48x64")
    return int(height), int(width if cross else height)


def adversary_settings(adv: str | None, eps: float | None, norm: str | None, steps: int | None) -> dict[str, Any]:
    if adv is not None and adv not in ADVERSARIES:
        raise UserError(f"unknown adversarial training {adv!r}: known are {', '.join(ADVERSARIES)}")
    return {"eps": eps, "norm": norm, "steps": steps} | (ADVERSARIES[adv] if adv else {})


def quantize_settings(
    bits: str | None, first_last: int | None, last_k: int | None, granularity: str | None, quantizer: str | None
) -> dict[str, Any]:
    return {
        "bits": bits,
        "first_last": first_last,
        "last_k": last_k,
        "granularity": granularity,
        "quantizer": quantizer,
    }


def model_and_head(
    name: str | None, regenerate: str | None, batch_dependent: bool = False
) -> dict[str, dict[str, Any]]:
    """The sections that ``--baseline``, ``--regenerate`` and ``--batch-dependent`` change."""
    if name not in (None, "dropout", "memguard"):
        raise UserError(f"unknown baseline {name!r}: known are dropout and memguard")
    if regenerate not in (None, "none", "member", "nonmember", "rank"):
        raise UserError(f"unknown head {regenerate!r}: known are member, nonmember and rank")
    if name == "memguard" and regenerate not in (None, "none"):
        raise UserError("--baseline memguard and --regenerate both change the answers: pass one of them")
    return {
        "model": {"dropout": DROPOUT if name == "dropout" else None, "batch_dependent": batch_dependent or None},
        "head": {"method": name if name == "memguard" else regenerate},
    }


def training_baseline(name: str | None) -> dict[str, Any]:
    if name not in (None, "dropout"):
        raise UserError(f"--baseline {name!r}: train knows dropout; memguard is for harden")
    return {} if name is None else {"dropout": DROPOUT}


def stopping(patience: int | None) -> dict[str, Any]:
    return {"patience": patience, "select": "best" if patience is not None else None}


def export_settings(
    profile: str | None, compute: str | None, input_: str | None, output: str | None, ort: bool | None
) -> dict[str, Any]:
    if output is not None and output not in OUTPUTS:
        raise UserError(f"--output {output!r}: known are {', '.join(OUTPUTS)} (the file to write is named by -o)")
    return {"profile": profile, "compute": compute, "input": input_, "output": output, "ort": ort}


def threat_models(asked: str | None) -> tuple[str, ...] | None:
    if asked is None:
        return None
    if asked not in {*BOTH, "both"}:
        raise UserError(f"unknown threat model {asked!r}: known are adaptive, oblivious and both")
    return BOTH if asked == "both" else (asked,)
