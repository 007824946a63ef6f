"""The section of what ships: the layout of the file."""

from typing import Annotated, Literal

from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section


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
