"""Profile ``portable``: operators of the ONNX standard only, for compilers that do not know onnxruntime's own."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.blocks import simplest
from edgepriv.artifact.emit import SCALE, TAIL, ZERO_POINT, Emitter
from edgepriv.artifact.lower import Linear, linear_uses
from edgepriv.training.quantization import QuantizedTensor


def dequantize(emit: Emitter, name: str, tensor: QuantizedTensor, weight: ir.Value) -> tuple[ir.Value, int]:
    """What replaces a weight by the standard's own operators: float32 by DequantizeLinear (opset 21).

    Integers of 2 to 4 bits are stored as UINT4, of 5 to 8 as UINT8, wider as UINT16: the standard has no other widths here. The
    zero point has the same type. A scale per tensor or channel lies on axis 0. Blocks are consecutive weights of a channel,
    so they are laid on the last axis of the weight as a matrix [C, K]. Where the last block of a channel is shorter than the
    others it is dequantized apart, with a scale per channel, and appended: not every runtime reads ragged blocks (OpenVINO
    does not), all read this.

    onnxruntime fuses DequantizeLinear and a matrix product behind it to one kernel, which is fast for the weights of
    ``turnable`` only. Other weights of a MatMul are given their shape by a Reshape, past which that fusion does not look.

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


def turnable(tensor: QuantizedTensor, weight: ir.Value) -> list[Linear] | None:
    """The Linears of a weight that onnxruntime (1.29 and later) keeps packed while they run, if its integers lie as [K, N].

    Its kernel with float activations has 4 bits; a DequantizeLinear is fused into its only reader; blocks of a whole number to
    a row are read by every runtime.

    Args:
        tensor: its integers.
        weight: before it is replaced.

    Returns:
        The one Linear; None for weights of more bits, of several readers, or with a rest behind the last block.
    """
    if tensor.bits > 4 or tensor.integers.ndim != 2:
        return None
    block = simplest(tensor).block
    if block is not None and tensor.integers.shape[1] % block:
        return None
    linears = linear_uses(weight)
    return linears if linears is not None and len(linears) == 1 else None


def dequantize_turned(emit: Emitter, name: str, tensor: QuantizedTensor, linear: Linear) -> int:
    """``dequantize`` of a weight that is ``turnable``, with its integers as [K, N], and the Linear that reads it so.

    onnxruntime fuses both to MatMulNBits, whose accuracy level is the session's: by default 4, which rounds activations to
    8 bits; the device kit sets ``session.qdq_matmulnbits_accuracy_level`` to 1, float32. Other runtimes know no such thing.

    Args:
        emit: adds nodes and constants to the graph.
        name: of the parameter.
        tensor: its integers.
        linear: what reads it.

    Returns:
        How many DequantizeLinear nodes it takes.
    """
    tensor = simplest(tensor)
    turned = np.ascontiguousarray(tensor.integers.T)
    scale, zero_point, attributes = tensor.scale, tensor.zero_point, {"axis": 1}
    if tensor.block is not None:
        attributes = {"axis": 0, "block_size": tensor.block}
        scale, zero_point = (np.ascontiguousarray(numbers.T) for numbers in (scale, zero_point))
    restored = _linear(emit, name, turned, scale, zero_point, tensor.bits, attributes)
    multiplying = next(node for node in linear.nodes if node.op_type in ("Gemm", "MatMul"))
    multiplying.replace_input_with(1, restored)
    if multiplying.op_type == "Gemm":
        multiplying.attributes["transB"] = ir.AttrInt64("transB", 0)
    for node in linear.nodes:
        if node.op_type == "Transpose" and not node.outputs[0].uses():
            emit.graph.remove(node, safe=True)
    _bend(emit.graph, linear.output)
    return 1


def _bend(graph: ir.Graph, output: ir.Value) -> None:
    """A Relu behind a Linear as a leaky one of slope 0: onnxruntime takes the other for a part of some quantized product, and
    leaves the Linear in front of it unfused."""
    readers = [use.node for use in output.uses()]
    if len(readers) == 1 and readers[0].op_type == "Relu" and not output.is_graph_output():
        relu = readers[0]
        bent = ir.node("LeakyRelu", [output], {"alpha": 0.0})
        bent.outputs[0].shape, bent.outputs[0].type = relu.outputs[0].shape, relu.outputs[0].type
        graph.insert_before(relu, bent)
        relu.outputs[0].replace_all_uses_with(bent.outputs[0], replace_graph_outputs=True)
        graph.remove(relu, safe=True)


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
