"""How the integer weights are laid out for the runtime, by name."""

from collections.abc import Callable, Mapping

import onnx_ir as ir

from edgepriv.artifact.emit import Emitter
from edgepriv.artifact.fold import drop_unused_initializers
from edgepriv.artifact.lower import Lowered, linear_uses, restore, weights_read
from edgepriv.artifact.memory import lower_for_memory
from edgepriv.artifact.packed import PACKED_BITS, pack_matrix, replace_linears
from edgepriv.artifact.portable import dequantize, dequantize_turned, turnable
from edgepriv.errors import UserError
from edgepriv.recipe import Export
from edgepriv.training.quantization import QuantizedTensor

PACKED_LINEAR_FROM = 3 * 2**20
"""Weights in a Linear from which ``latency`` multiplies with packed integers instead of restored floats.

With one row, a matrix product is as fast as its weights arrive. Packed, 1/8 of the bytes arrive but each is unpacked
on the way: slower while the float32 matrix stays in the last-level cache, faster from where it does not. Measured with
one thread on a server core (2 MiB L2, 32 MiB L3 shared), microseconds restored / packed: 2 Mi weights 169 / 208,
3 Mi 279 / 262, 4 Mi 618 / 362, 6 Mi 1477 / 527. Smaller caches only move the crossing down.
"""


Lowering = Callable[[ir.Graph, Mapping[str, QuantizedTensor], Export], Lowered]


INT8_LINEAR_FROM = 2**16
"""The same for ``compute = "int8"``, whose kernel is fast from where quantizing the activations is paid for. Measured as
above, microseconds restored / packed 4 bits / packed 8 bits with one row: 16 Ki weights 8.5 / 9.4 / 9.3, 64 Ki 11.1 / 10.4 /
10.1, 256 Ki 26 / 13 / 14, 1 Mi 58 / 19 / 22; with 32 rows: 16 Ki 18 / 24 / 23, 64 Ki 50 / 46 / 45, 1 Mi 740 / 331 / 310."""


def lower_for_latency(graph: ir.Graph, weights: Mapping[str, QuantizedTensor], settings: Export) -> Lowered:
    """A session with default options, anywhere, is as fast as float32 or faster.

    Every weight is stored at exactly its bits and restored when the session is opened; a large Linear of at most 4
    bits stays packed while it runs (kernels with float activations exist for 4 bits only). With ``compute = "int8"`` so
    do smaller Linears, and wider ones: those kernels also exist for 8 bits.

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
        linears = linear_uses(weight) if _is_faster_packed(tensor, settings) else None
        graph.initializers.pop(name)
        if linears is None:
            weight.replace_all_uses_with(restore(emit, name, tensor))
        else:
            replace_linears(emit, pack_matrix(emit, name, tensor, settings.in_kernels), linears)
    drop_unused_initializers(graph)
    return Lowered(sum(node.op_type == "MatMulNBits" for node in graph), left_float)


def _is_faster_packed(tensor: QuantizedTensor, settings: Export) -> bool:
    if tensor.integers.ndim != 2 or tensor.bits > PACKED_BITS:
        return False
    if settings.in_kernels == "int8":
        return tensor.integers.size >= INT8_LINEAR_FROM
    return tensor.bits <= 4 and tensor.integers.size >= PACKED_LINEAR_FROM


def lower_for_portable(graph: ir.Graph, weights: Mapping[str, QuantizedTensor], settings: Export) -> Lowered:
    """Standard operators only, each weight behind DequantizeLinear: what compilers for other runtimes look for.

    onnxruntime (1.29 and later) keeps the weights of Linears of at most 4 bits packed while they run; it unpacks others at
    every inference.

    Args:
        graph: changed in place.
        weights: integers by name.
        settings: of the export.

    Returns:
        What was done.

    Raises:
        UserError: for ``compute = "int8"``.
    """
    if settings.compute.startswith("int8"):
        raise UserError(
            "the profile portable cannot compute in int8: no standard ONNX operator multiplies packed weights by activations "
            "that it quantizes itself; take the profile latency or memory, or compute float32"
        )
    emit = Emitter(graph)
    left_float: dict[str, str] = {}
    dequantized = 0
    for name, tensor, weight in weights_read(graph, weights, left_float):
        turned = turnable(tensor, weight)
        graph.initializers.pop(name)
        if turned is not None:
            dequantized += dequantize_turned(emit, name, tensor, turned[0])
            continue
        restored, nodes = dequantize(emit, name, tensor, weight)
        weight.replace_all_uses_with(restored)
        dequantized += nodes
    drop_unused_initializers(graph)
    return Lowered(0, left_float, dequantized)


PROFILES: dict[str, Lowering] = {
    "latency": lower_for_latency,
    "memory": lower_for_memory,
    "portable": lower_for_portable,
}


def profile(name: str) -> Lowering:
    """The lowering of a profile.

    Args:
        name: a key of ``PROFILES``.

    Returns:
        The lowering.

    Raises:
        UserError: for another name.
    """
    if name not in PROFILES:
        raise UserError(f"unknown profile {name!r}: known are {', '.join(PROFILES)}")
    return PROFILES[name]
