"""Sections of what ships: widths of the weights, layout of the file."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, field_validator

from edgepriv.recipe.bits import FULL_WIDTH, bit_rules, block_size
from edgepriv.recipe.option import BUILDING, Option
from edgepriv.recipe.section import Section

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
        """Width in bits of the weights of ``layer`` (its dotted module name): the first rule that matches."""
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


class Export(Section):
    """How the integers are laid out for the runtime, and what the file takes and returns.

    ``compute = "int8"`` lets packed layers quantize their activations to 8 bits inside the kernel: faster, and no longer
    weight-only. ``input = "uint8"`` takes a camera's bytes. ``ort`` writes a ``.ort`` file beside the .onnx as well.
    """

    profile: Annotated[
        Literal["latency", "memory", "portable"],
        Option("Layout of the integer weights: latency, memory or portable.", "Export", ("harden", "export")),
    ] = "latency"
    compute: Annotated[
        Literal["float32", "int8"],
        Option("Activations inside packed layers: float32, or int8 (faster).", "Export", ("harden", "export")),
    ] = "float32"
    input: Annotated[
        Literal["float32", "uint8"],
        Option("What the file takes: float32 in [0, 1], or uint8.", "Export", ("harden", "export")),
    ] = "float32"
    output: Annotated[
        Literal["probabilities", "logits", "label"],
        Option(
            "What the file returns: probabilities, logits or label.", "Export", ("harden", "export"), name="returns"
        ),
    ] = "probabilities"
    ort: Annotated[
        bool,
        Option("Write a .ort file too, for onnxruntime's minimal builds.", "Export", ("harden", "export")),
    ] = False
