"""Small networks: packed layouts cost them time and save no memory, so their weights are restored when a session is opened."""

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from edgepriv.artifact.emit import Emitter
from edgepriv.artifact.fold import drop_unused_initializers
from edgepriv.artifact.lower import Lowered, restore, weights_read
from edgepriv.artifact.profiles import Lowering, lower_for_latency, profile
from edgepriv.recipe import Export
from edgepriv.training.quantization import QuantizedTensor

SMALL = 2**20
"""Integer weights of a network up to which it is small: its float weights take 4 MiB at most."""


def fitted(settings: Export, weights: Mapping[str, QuantizedTensor]) -> tuple[Lowering, str | None]:
    """The lowering of a profile, or for a small network the one that is as fast as float.

    It goes by size alone, so the same network gets the same bytes on every machine.

    Args:
        settings: of the export.
        weights: integers by name.

    Returns:
        The lowering, and a sentence where it is another than the profile's own.

    Raises:
        UserError: for a profile that there is not.
    """
    own = profile(settings.profile)
    count = sum(tensor.integers.size for tensor in weights.values())
    if settings.keep_packed or settings.profile == "latency" or settings.compute != "float32" or not 0 < count <= SMALL:
        return own, None
    note = (
        f"profile {settings.profile}: the weights are restored when a session is opened, since packed ones would make a "
        f"network of {count:,} weights slower than float and save {4 * count / 2**20:.1f} MiB at most; --keep-packed keeps "
        "them packed"
    )
    return lower_for_latency if settings.profile == "memory" else restore_plainly, note


def restore_plainly(graph: ir.Graph, weights: Mapping[str, QuantizedTensor], settings: Export) -> Lowered:
    """Every weight as Cast, Sub and Mul of integers in the standard's own types: what any runtime computes once.

    Args:
        graph: changed in place.
        weights: integers by name.
        settings: of the export.

    Returns:
        What was done.
    """
    emit = Emitter(graph)
    left_float: dict[str, str] = {}
    for name, tensor, weight in weights_read(graph, weights, left_float):
        graph.initializers.pop(name)
        # Without planes of bits: only 4, 8 and 16 have a type.
        container = 4 if tensor.bits <= 4 else max(8, tensor.bits)
        weight.replace_all_uses_with(restore(emit, name, replace(tensor, bits=container)))
    drop_unused_initializers(graph)
    return Lowered(0, left_float)
