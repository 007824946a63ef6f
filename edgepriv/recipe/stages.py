"""The stages of training: one section of the recipe for each."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edgepriv.recipe import written
from edgepriv.recipe.layers import rate_rules
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section

Named = Literal["train", "noisy", "distilled", "robust", "qat"]
STAGES: tuple[Named, ...] = ("train", "noisy", "distilled", "robust", "qat")
_TRAINING: dict[str, tuple[str, ...]] = {"train": ("train",), "harden": ("noisy", "distilled", "robust", "qat")}


class InStages(Section):
    """Settings of a defence that acts in several stages of training. ``stages``: in which; all, unless the model had been
    trained before it was asked for."""

    stages: tuple[Named, ...] = Field(STAGES, min_length=1)

    @field_validator("stages")
    @classmethod
    def _each_once(cls, stages: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(stages)) < len(stages):
            raise ValueError("each stage once")
        return stages


class Stage(Section):
    """One pass through the training loop. ``epochs = 0`` leaves the stage out.

    ``adversarial``: minimise the loss on perturbed inputs (see Adversary). ``quantized``: with fake-quantized weights (see
    Quantize). ``flatten``: weight lambda of posterior flattening (Drif & Berrabah 2025, eq. 8). ``relax``: the loss, in
    nats, that RelaxLoss (Chen et al. 2022) holds training at; 0 leaves it out. ``select = "best"`` keeps the epoch with the
    highest held-out accuracy (in an adversarial stage the mean of clean and robust accuracy), ``patience`` stops after so
    many epochs without a better one. ``ema``: decay of the moving average of the weights after each step, which is what is
    validated and kept; 0 keeps the weights themselves. ``dropout``: None for the model's.

    ``freeze``: patterns of layers that keep their weights and statistics; ``train_last``: how many layers with parameters
    are trained, counted from the last, None for all. ``layer_rates``: shares of the learning rate by layer
    (``layers.rate_rules``).
    """

    epochs: Annotated[
        int,
        Option("Epochs of adversarial training.", "Training", {"harden": ("robust",)}),
        Option(
            "Round the weights after training, without fine-tuning (--adv none trains nothing at all).",
            "Quantization",
            {"harden": ("qat",)},
            name="ptq",
            kind=bool,
            sets=lambda value: {"epochs": 0 if value else None},
        ),
        Option("Epochs of quantization-aware fine-tuning.", "Training", {"harden": ("qat",)}, name="qat_epochs"),
        Option(
            "Epochs on noisy members, from new weights.",
            "Training",
            {"harden": ("noisy",)},
            name="noise_epochs",
            default="those of edgepriv train",
        ),
        Option(
            "Epochs of distillation (--selena, --dmp), from new weights; of each sub-model too.",
            "Training",
            {"harden": ("distilled",)},
            name="distill_epochs",
            default="those of edgepriv train",
        ),
    ] = Field(0, ge=0)
    batch_size: Annotated[
        int,
        Option("Examples in a batch.", "Training", {"train": ("train",)}),
    ] = Field(128, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[
        float,
        Option("Peak learning rate.", "Training", {"train": ("train",)}),
    ] = Field(1e-3, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: Annotated[
        float,
        Option("Weight decay.", "Training", _TRAINING),
    ] = Field(5e-4, ge=0)
    schedule: Literal["cosine", "cyclic", "constant"] = "cosine"
    augment: Annotated[
        Literal["none", "crop", "crop_flip"],
        Option("Augmentation of images in training: none, crop or crop_flip.", "Training", {"train": ("train",)}),
    ] = "none"
    adversarial: bool = False
    quantized: bool = False
    flatten: Annotated[
        float,
        Option(
            "Weight lambda of posterior flattening.",
            "Defences",
            {"train": ("train",), "harden": ("qat",)},
            default="off",
        ),
    ] = Field(0.0, ge=0)
    relax: Annotated[
        float,
        Option(
            "RelaxLoss: hold the training loss at this level, in nats.",
            "Defences",
            _TRAINING,
            default={"train": "off", "harden": "that of edgepriv train"},
        ),
    ] = Field(0.0, ge=0)
    select: Literal["last", "best"] = "last"
    patience: Annotated[
        int | None,
        Option(
            "Keep the best held-out epoch; stop after so many without a better.",
            "Training",
            _TRAINING,
            default="all epochs are run",
            sets=lambda value: {"patience": value, "select": "best"},
        ),
    ] = Field(None, ge=1)
    ema: Annotated[
        float,
        Option(
            "Keep the moving average of the weights, with this decay after each step (0.995).",
            "Training",
            _TRAINING,
            default="off",
        ),
    ] = Field(0.0, ge=0, lt=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    freeze: Annotated[
        tuple[str, ...],
        Option(
            "Layers that keep their weights, by pattern: layer1,layer2.*; none for none.",
            "Training",
            _TRAINING,
            kind=str | Sequence[str],
            default={"train": "none", "harden": "those of edgepriv train"},
            reads=written.patterns,
        ),
    ] = ()
    train_last: Annotated[
        int | None,
        Option(
            "Train only so many layers with parameters, counted from the last; the others keep their weights.",
            "Training",
            _TRAINING,
            default={"train": "all", "harden": "those of edgepriv train"},
        ),
    ] = Field(None, ge=1)
    layer_rates: Annotated[
        str,
        Option("Share of the learning rate by layer: backbone*=0.1,fc=1.", "Training", _TRAINING, default="1 for all"),
    ] = ""

    @field_validator("layer_rates")
    @classmethod
    def _known_rates(cls, value: str) -> str:
        rate_rules(value)
        return value

    @model_validator(mode="after")
    def _patience_compares_epochs(self) -> "Stage":
        if self.patience is not None and self.select != "best":
            raise ValueError("patience needs select = 'best': else no epoch is better than another")
        return self


class Train(Stage):
    """From random weights."""

    epochs: Annotated[int, Option("Epochs of training.", "Training", {"train": ("train",)})] = Field(20, ge=0)


class Noisy(Stage):
    """From new random weights, on members with noise (see Noise), the trained model as teacher."""


class Distilled(Stage):
    """From new random weights, on the answers of teachers that did not see what they answer to (see Selena, Dmp)."""


class Robust(Stage):
    """From trained weights, on perturbed inputs."""

    adversarial: bool = True
    select: Literal["last", "best"] = "best"


class Qat(Robust):
    """From robust weights, with fake-quantized ones. ``activations``: their bits too, where a file on fixed grids rounds them;
    None leaves them in floating point."""

    quantized: bool = True
    activations: Annotated[
        int | None,
        Option(
            "Fine-tune with activations of so many bits (8), rounded where --compute int8-static rounds them.",
            "Quantization",
            {"harden": ("qat",)},
            name="qat_activations",
            default="float32",
        ),
    ] = Field(None, ge=8, le=8)
    lr: float = Field(2e-4, gt=0)
