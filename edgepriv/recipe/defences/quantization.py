"""Quantization of the weights, in training or after it."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from edgepriv.recipe.bits import FULL_WIDTH, bit_rules, block_size
from edgepriv.recipe.defences.base import Conflict, Defence
from edgepriv.recipe.option import BUILDING, Option
from edgepriv.recipe.section import Section

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


QUANTIZERS = ("minmax", "famili", "famili-printed", "dorefa", "lsq")


class Quantize(Section):
    """Weight-only quantization.

    ``bits``: one width from 2 to 16, 32 for none, or rules such as ``"conv1=8,fc*=2,*=4"``. ``first_last``: the width of the
    first and of the last layer that would be quantized, whatever ``bits`` says of them; the two that hurt most when they are
    narrow. ``last_k``: quantize only so many layers, counted from the end. ``granularity``: one scale for each ``tensor``,
    output ``channel``, or ``block:N`` of N consecutive weights of an output channel, N a power of two from 16 to 256.
    """

    bits: Annotated[
        int | str,
        Option("Width of the weights: 2 to 16, 32, or rules such as conv1=8,*=4.", "Quantization", BUILDING),
    ] = FULL_WIDTH
    first_last: Annotated[
        int | None,
        Option(
            "Width of the first and the last layer: 2 to 16, or 32.", "Quantization", BUILDING, default="as --bits says"
        ),
    ] = Field(None, ge=2, le=FULL_WIDTH)
    last_k: Annotated[
        int | None,
        Option("Quantize only so many layers, counted from the last.", "Quantization", BUILDING, default="all"),
    ] = Field(None, ge=1)
    quantizer: Annotated[
        str,
        Option(
            "How weights are rounded: minmax, famili, famili-printed, dorefa or lsq.",
            "Quantization",
            BUILDING,
            choices=QUANTIZERS,
        ),
    ] = "minmax"
    granularity: Annotated[
        str,
        Option("One scale for each tensor, channel or block:N.", "Quantization", BUILDING),
    ] = "channel"

    @field_validator("bits")
    @classmethod
    def _known_widths(cls, value: int | str) -> int | str:
        if isinstance(value, str) and value.strip().isdigit():
            value = int(value)
        bit_rules(value)
        return value

    def bits_of(self, layer: str) -> int:
        """Width of the weights of a layer.

        Args:
            layer: dotted name of its module.

        Returns:
            Bits by the first rule that matches: 2 to 16, or 32 for weights that stay float.
        """
        return next((bits for pattern, bits in bit_rules(self.bits) if fnmatchcase(layer, pattern)), FULL_WIDTH)

    @field_validator("first_last")
    @classmethod
    def _known_width(cls, value: int | None) -> int | None:
        return value if value is None else bit_rules(value)[0][1]

    @field_validator("granularity")
    @classmethod
    def _known_granularity(cls, value: str) -> str:
        block_size(value)
        return value

    @property
    def block(self) -> int | None:
        """Weights that share a scale, None for granularity tensor or channel."""
        return block_size(self.granularity)

    @property
    def active(self) -> bool:
        """Whether any rule asks for fewer than 32 bits."""
        return any(bits < FULL_WIDTH for _, bits in bit_rules(self.bits))


def _in_training(recipe: "Recipe", stage: str) -> bool:
    return recipe.quantize.active and getattr(recipe, stage).quantized


def _rounds(recipe: "Recipe") -> bool:
    return recipe.qat.activations is not None


def _layers_without_bits(recipe: "Recipe") -> bool:
    quantize = recipe.quantize
    return not quantize.active and (quantize.last_k or quantize.first_last) is not None


QUANTIZATION = Defence(
    name="quantization",
    place=10,
    title="weights of few bits",
    option="--bits 4 --quantizer minmax",
    source="Drif & Berrabah 2025; Famili & Lao 2023; Zhou et al. 2016; Esser et al. 2020",
    what="integer weights in the loop (`--ptq`: rounded after training, for comparison); also `famili`, `famili-printed`, "
    "`dorefa`, `lsq`; `--granularity tensor`, `channel`, `block:N`; `--last-k 5` for the last layers only; 9 to 16 bits are "
    "kept as uint16; `--qat-activations 8` rounds activations too",
    fields=("quantize", "*.quantized", "qat.activations"),
    stage="qat",
    acts_in=_in_training,
    acts_after=lambda recipe: recipe.quantize.active,
    conflicts=(
        Conflict(
            "--last-k and --first-last say which layers are quantized how, and no bits are asked for: give --bits as well",
            met=_layers_without_bits,
        ),
        Conflict(
            "--qat-activations rounds activations for products with integer weights, and no bits are asked for: give --bits",
            met=lambda recipe: _rounds(recipe) and not recipe.quantize.active,
        ),
        Conflict(
            "--qat-activations acts in quantization-aware fine-tuning, which has no epochs here: leave it out (--compute "
            "int8-static finds ranges without training), or leave out --ptq",
            met=lambda recipe: _rounds(recipe) and recipe.qat.epochs == 0,
        ),
        Conflict(
            "--qat-activations rounds activations to 8 bits, and --quantizer dorefa to those of the weights: leave out one",
            met=lambda recipe: _rounds(recipe) and recipe.quantize.quantizer == "dorefa",
        ),
        Conflict(
            "--qat-activations trains for products of integers, whose kernels have one scale for a channel: take --granularity "
            "channel or tensor",
            met=lambda recipe: _rounds(recipe) and recipe.quantize.block is not None,
        ),
        Conflict(
            "--qat-activations is not there for a network that is asked for one input at a time, or that stands behind fixed "
            "features: leave it out",
            met=lambda recipe: _rounds(recipe) and (recipe.model.batch_dependent or recipe.model.features != "none"),
        ),
    ),
)
