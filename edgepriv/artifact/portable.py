"""Profile ``portable``: operators of the ONNX standard only, for compilers that do not know onnxruntime's own."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.blocks import simplest
from edgepriv.artifact.emit import SCALE, TAIL, ZERO_POINT, Emitter
from edgepriv.training.quantizer import QuantizedTensor


def dequantize(emit: Emitter, name: str, tensor: QuantizedTensor) -> tuple[ir.Value, int]:
    """The float32 weight by DequantizeLinear (opset 21), and how many of these nodes it takes.

    Integers of 2 to 4 bits are stored as UINT4, of 5 to 8 as UINT8: the standard has no other widths at this opset. The
    zero point has the same type. A scale per tensor or channel lies on axis 0. Blocks are consecutive weights of a channel,
    so they are laid on axis 1 of the weight as a matrix [C, K]. Where the last block of a channel is shorter than the
    others it is dequantized apart, with a scale per channel, and appended: not every runtime reads ragged blocks (OpenVINO
    does not), all read this.
    """
    tensor = simplest(tensor)
    if tensor.block is None:
        return _linear(emit, name, tensor.integers, tensor.scale, tensor.zero_point, tensor.bits, {"axis": 0}), 1
    integers = tensor.integers.reshape(len(tensor.integers), -1)
    whole = integers.shape[1] // tensor.block
    blocked = {"axis": 1, "block_size": tensor.block}
    ends = integers[:, whole * tensor.block :]
    parts = [
        _linear(
            emit,
            name,
            integers[:, : whole * tensor.block],
            tensor.scale[:, :whole],
            tensor.zero_point[:, :whole],
            tensor.bits,
            blocked,
        )
    ]
    if ends.size:
        last = tensor.scale[:, whole], tensor.zero_point[:, whole]
        parts.append(_linear(emit, name + TAIL, ends, *last, tensor.bits, {"axis": 0}))
    matrix = parts[0] if len(parts) == 1 else emit.node("Concat", parts, axis=1)
    if tensor.integers.ndim > 2:
        matrix = emit.node("Reshape", [matrix, emit.shape(*tensor.integers.shape)])
    return matrix, len(parts)


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
