"""The section of what ships: the layout of the file."""

from typing import Annotated, Literal

from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section


class Export(Section):
    """How the integers are laid out for the runtime, and what the file takes and returns.

    ``compute``: ``float32`` keeps activations in floating point. ``int8-static`` quantizes them to 8 bits on fixed grids, so
    that whole stretches of the network compute on integers (profile latency); ``int8-dynamic`` lets packed layers quantize
    theirs inside the kernel. ``int8`` takes the faster of the two, and ``auto`` either of them only where it is faster than
    ``float32``, by a measurement on this machine. Of these only ``float32`` is weight-only. ``input = "uint8"`` takes a
    camera's bytes. ``keep_packed`` keeps the weights of a network of up to 2^20 of them packed in ``memory`` and ``portable``,
    where it is slower than float. ``ort`` writes a ``.ort`` file beside the .onnx as well.
    """

    profile: Annotated[
        Literal["latency", "memory", "portable"],
        Option("Layout of the integer weights: latency, memory or portable.", "Export", ("harden", "export")),
    ] = "latency"
    keep_packed: Annotated[
        bool,
        Option(
            "Lay a small network out as its profile says, even where that is slower than float.",
            "Export",
            ("harden", "export"),
        ),
    ] = False
    compute: Annotated[
        Literal["float32", "int8", "int8-static", "int8-dynamic", "auto"],
        Option(
            "Activations: float32, int8 (the faster of int8-static and int8-dynamic), or auto (the fastest, by measuring).",
            "Export",
            ("harden", "export"),
        ),
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

    @property
    def in_kernels(self) -> Literal["float32", "int8"]:
        """What packed layers make of their activations inside the kernel."""
        return "int8" if self.compute in ("int8", "int8-dynamic") else "float32"
