"""Profile ``portable``: operators of the ONNX standard only, for compilers that do not know onnxruntime's own."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.blocks import simplest
from edgepriv.artifact.emit import SCALE, TAIL, ZERO_POINT, Emitter
from edgepriv.training.quantization import QuantizedTensor


def dequantize(emit: Emitter, name: str, tensor: QuantizedTensor, weight: ir.Value) -> tuple[ir.Value, int]:
    """What replaces a weight by the standard's own operators: float32 by DequantizeLinear (opset 21).

    Integers of 2 to 4 bits are stored as UINT4, of 5 to 8 as UINT8, wider as UINT16: the standard has no other widths here. The
    zero point has the same type. A scale per tensor or channel lies on axis 0. Blocks are consecutive weights of a channel,
    so they are laid on the last axis of the weight as a matrix [C, K]. Where the last block of a channel is shorter than the
    others it is dequantized apart, with a scale per channel, and appended: not every runtime reads ragged blocks (OpenVINO
    does not), all read this.

    onnxruntime fuses DequantizeLinear and a MatMul behind it to a kernel that quantizes activations to 8 bits. A weight of
    such a product is therefore given its shape by a Reshape, past which that fusion does not look.

    Args:
        emit: adds nodes and constants to the graph.
        name: of the parameter, under which its integers are stored.
        tensor: its integers, scales and zero points.
        weight: what is replaced; nothing is done to it here.

    Returns:
        The restored weight, and how many DequantizeLinear nodes it takes.
    """
    tensor = simplest(tensor)
    rows = len(tensor.integers)
    opaque = any(node.op_type not in ("Conv", "Gemm") for node, _ in weight.uses())
    scale, zero_point = tensor.scale, tensor.zero_point
    if tensor.block is None:
        stored = tensor.integers[:, None] if opaque else tensor.integers
        if opaque and scale.size == 1:  # onnxruntime moves a DequantizeLinear with one scale past the Reshape
            scale, zero_point = scale.repeat(rows), zero_point.repeat(rows)
        parts = [_linear(emit, name, stored, scale, zero_point, tensor.bits, {"axis": 0})]
    else:
        stored = tensor.integers.reshape(rows, *[1] * opaque, -1)
        if opaque:
            scale, zero_point = scale[:, None], zero_point[:, None]
        whole = stored.shape[-1] // tensor.block
        end = whole * tensor.block
        blocked = {"axis": stored.ndim - 1, "block_size": tensor.block}
        blocks = stored[..., :end], scale[..., :whole], zero_point[..., :whole]
        parts = [_linear(emit, name, *blocks, tensor.bits, blocked)]
        if end < stored.shape[-1]:
            last = stored[..., end:], scale[..., whole].reshape(rows), zero_point[..., whole].reshape(rows)
            parts.append(_linear(emit, name + TAIL, *last, tensor.bits, {"axis": 0}))
    restored = parts[0] if len(parts) == 1 else emit.node("Concat", parts, axis=stored.ndim - 1)
    if stored.shape != tensor.integers.shape:
        restored = emit.node("Reshape", [restored, emit.shape(*tensor.integers.shape)])
    return restored, len(parts)


def _linear(
    emit: Emitter,
    name: str,
    integers: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray,
    bits: int,
    attributes: Mapping[str, int],
) -> ir.Value:
    if scale.size == 1:  # one scale for the tensor is a scalar
        scale, zero_point, attributes = scale.reshape(()), zero_point.reshape(()), {}
    store = emit.nibbles if bits <= 4 else emit.named
    inputs = [store(name, integers), emit.named(name + SCALE, scale), store(name + ZERO_POINT, zero_point)]
    return emit.node("DequantizeLinear", inputs, **attributes)
