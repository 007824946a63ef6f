"""How the integer weights are laid out for the runtime, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from edgepriv.artifact.emit import Emitter
from edgepriv.artifact.fold import drop_unused_initializers
from edgepriv.artifact.lower import linear_uses, restore
from edgepriv.artifact.packed import pack_matrix, replace_linears
from edgepriv.errors import UserError
from edgepriv.recipe import Export
from edgepriv.training.quantizer import QuantizedTensor

PACKED_LINEAR_FROM = 3 * 2**20
"""Weights in a Linear from which ``latency`` multiplies with packed integers instead of restored floats.

With one row, a matrix product is as fast as its weights arrive. Packed, 1/8 of the bytes arrive but each is unpacked
on the way: slower while the float32 matrix stays in the last-level cache, faster from where it does not. Measured with
one thread on a server core (2 MiB L2, 32 MiB L3 shared), microseconds restored / packed: 2 Mi weights 169 / 208,
3 Mi 279 / 262, 4 Mi 618 / 362, 6 Mi 1477 / 527. Smaller caches only move the crossing down.
"""


@dataclass(frozen=True)
class Lowered:
    """``packed_linears``: MatMulNBits nodes in the graph. ``left_float``: parameter -> why its integers are not in it.
    ``dequantized``: DequantizeLinear nodes that are meant to unpack weights at every inference."""

    packed_linears: int
    left_float: Mapping[str, str]
    dequantized: int = 0


Lowering = Callable[[ir.Graph, Mapping[str, QuantizedTensor], Export], Lowered]


def lower_for_latency(graph: ir.Graph, weights: Mapping[str, QuantizedTensor], settings: Export) -> Lowered:
    """A session with default options, anywhere, is as fast as float32 or faster.

    Every weight is stored at exactly its bits and restored when the session is opened; a large Linear of at most 4
    bits stays packed while it runs (kernels with float activations exist for 4 bits only).
    """
    emit = Emitter(graph)
    left_float: dict[str, str] = {}
    for name, tensor in weights.items():
        weight = graph.initializers.get(name)
        if weight is None or not weight.uses():
            left_float[name] = "no operator of the exported graph reads it"
            continue
        large = tensor.bits <= 4 and tensor.integers.ndim == 2 and tensor.integers.size >= PACKED_LINEAR_FROM
        linears = linear_uses(weight) if large else None
        graph.initializers.pop(name)
        if linears is None:
            weight.replace_all_uses_with(restore(emit, name, tensor))
        else:
            replace_linears(emit, pack_matrix(emit, name, tensor, settings.compute), linears)
    drop_unused_initializers(graph)
    return Lowered(sum(node.op_type == "MatMulNBits" for node in graph), left_float)


PROFILES: dict[str, Lowering] = {"latency": lower_for_latency}


def profile(name: str) -> Lowering:
    """The lowering called ``name``. Raises UserError with the known names."""
    if name not in PROFILES:
        raise UserError(f"unknown profile {name!r}: known are {', '.join(PROFILES)}")
    return PROFILES[name]
