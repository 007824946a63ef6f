"""Quantized weights -> integers in the file and the arithmetic by which a runtime gets them back."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.emit import INTEGER_MARK, SCALE, ZERO_POINT, Emitter
from edgepriv.artifact.pack import FIELDS, pack_nibbles, split_fields
from edgepriv.training.quantizer import QuantizedTensor

_LARGEST_BLOCK, _SMALLEST_BLOCK = 256, 16
"""Of MatMulNBits. The largest is the fastest, and costs no byte here: what is repeated per block is not stored."""


@dataclass(frozen=True)
class Linear:
    """One ``activation @ weight.T + bias`` of the graph, whatever nodes say it."""

    activation: ir.Value
    bias: ir.Value | None
    output: ir.Value
    nodes: tuple[ir.Node, ...]


def restore(emit: Emitter, name: str, tensor: QuantizedTensor) -> ir.Value:
    """The float32 weight as constant arithmetic on its packed integers: ``(integers - zero_point) * scale``.

    onnxruntime computes it once, when the session is opened with default options, and then runs the float graph.
    """
    weight = emit.node("Cast", [_integers(emit, name, tensor)], to=ir.DataType.FLOAT)
    rows = (-1,) + (1,) * (tensor.integers.ndim - 1)
    zero_point = _one_if_equal(tensor.zero_point)
    if zero_point.any():
        weight = emit.node("Sub", [weight, _zero_point(emit, name, zero_point.reshape(rows), tensor.bits)])
    scale = emit.named(name + SCALE, _one_if_equal(tensor.scale).reshape(rows))
    return emit.node("Mul", [weight, scale])


def _integers(emit: Emitter, name: str, tensor: QuantizedTensor) -> ir.Value:
    """A uint8 or uint4 value of the weight's shape."""
    values = []
    offset = 0
    widths = FIELDS[tensor.bits]
    for width, field in zip(widths, split_fields(tensor.integers, tensor.bits), strict=True):
        if width == 8:
            value = emit.named(name, field)
        elif width == 4:
            value = emit.nibbles(name, field)
            if len(widths) > 1:
                value = emit.node("Cast", [value], to=ir.DataType.UINT8)
        else:
            value = emit.planes(name, field, width)
        values.append((value, offset))
        offset += width
    return emit.joined(values)


def _zero_point(emit: Emitter, name: str, zero_point: np.ndarray, bits: int) -> ir.Value:
    if zero_point.size == 1:
        return emit.constant(zero_point.astype(np.float32))
    store = emit.nibbles if bits <= 4 else emit.named
    return emit.node("Cast", [store(name + ZERO_POINT, zero_point)], to=ir.DataType.FLOAT)


def linear_uses(weight: ir.Value) -> list[Linear] | None:
    """Every use of ``weight`` [N, K] as the matrix of a Linear; None if it is used in any other way."""
    found = []
    for node, index in weight.uses():
        if node.op_type == "Gemm" and index == 1 and _is_plain_gemm(node):
            bias = node.inputs[2] if len(node.inputs) > 2 else None
            matches: list[Linear | None] = [Linear(_input(node, 0), bias, node.outputs[0], (node,))]
        elif node.op_type == "Transpose" and not node.outputs[0].is_graph_output():
            matches = [_matmul(node, use.node, use.idx) for use in node.outputs[0].uses()]
        else:
            return None
        for match in matches:
            if match is None or not _is_row(match.bias, weight):
                return None
            found.append(match)
    return found or None


def _is_plain_gemm(node: ir.Node) -> bool:
    defaults = {"transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0}
    values = {name: node.attributes[name].value if name in node.attributes else defaults[name] for name in defaults}
    return values == {"transA": 0, "transB": 1, "alpha": 1.0, "beta": 1.0}


def _matmul(transpose: ir.Node, node: ir.Node, index: int) -> Linear | None:
    """MatMul(x, Transpose(weight)), with the Add of a bias behind it if there is one."""
    if node.op_type != "MatMul" or index != 1:
        return None
    product = node.outputs[0]
    adds = [use.node for use in product.uses() if use.node.op_type == "Add"]
    if len(product.uses()) == 1 and adds and not product.is_graph_output():
        other = next(value for value in adds[0].inputs if value is not product)
        if other is not None and other.const_value is not None and len(other.const_value.shape) == 1:
            return Linear(_input(node, 0), other, adds[0].outputs[0], (adds[0], node, transpose))
    return Linear(_input(node, 0), None, product, (node, transpose))


def _is_row(bias: ir.Value | None, weight: ir.Value) -> bool:
    if bias is None:
        return True
    assert weight.const_value is not None
    return bias.const_value is not None and tuple(bias.const_value.shape) == (weight.const_value.shape[0],)


def _input(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


def to_matmul_nbits(emit: Emitter, name: str, tensor: QuantizedTensor, linears: list[Linear]) -> None:
    """Replace Linears of one weight of 2 to 4 bits by com.microsoft.MatMulNBits, which keeps it packed while running.

    accuracy_level 1: activations stay float32, so the layer computes what was trained. The kernel wants scales and zero
    points for every block of columns, and rows of whole blocks: they are expanded and padded when the session is opened.
    """
    rows, columns = tensor.integers.shape
    block = block_for(columns)
    blocks = -(-columns // block)
    inputs = [
        _blocks(emit, name, tensor, block),
        _per_block(emit, emit.named(name + SCALE, _one_if_equal(tensor.scale)[:, None]), (rows, blocks)),
        None,
        None,
    ]
    if (tensor.zero_point != 8).any():  # 8 is the kernel's default
        pairs = _one_if_equal(tensor.zero_point)[:, None] * np.uint8(0x11)
        inputs[2] = _per_block(emit, emit.named(name + ZERO_POINT, pairs), (rows, -(-blocks // 2)))
    for linear in linears:
        node = ir.node(
            "MatMulNBits",
            [linear.activation, *inputs, linear.bias],
            {"K": columns, "N": rows, "bits": 4, "block_size": block, "accuracy_level": 1},
            domain="com.microsoft",
        )
        graph = emit.graph
        graph.insert_before(linear.nodes[0], node)
        linear.output.replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)
        for old in linear.nodes:
            if not any(output.uses() for output in old.outputs):
                graph.remove(old, safe=True)


def block_for(columns: int) -> int:
    """Block size of MatMulNBits: the largest that a row fills."""
    block = _LARGEST_BLOCK
    while block > max(columns, _SMALLEST_BLOCK):
        block //= 2
    return block


def _blocks(emit: Emitter, name: str, tensor: QuantizedTensor, block: int) -> ir.Value:
    """uint8 [N, blocks, block / 2] with two values in a byte. Narrower weights are widened when the session is opened."""
    rows, columns = tensor.integers.shape
    whole = (rows, -(-columns // block), block // 2)
    if tensor.bits == 4:
        pairs = pack_nibbles(tensor.integers)
        full = pairs.size == np.prod(whole)
        stored = emit.named(f"{name}{INTEGER_MARK}4", pairs.reshape(whole) if full else pairs)
        if full:
            return stored
    else:
        fields = split_fields(tensor.integers, tensor.bits)
        offsets = np.cumsum([0, *FIELDS[tensor.bits]])
        stored = emit.joined(
            [
                (emit.planes(name, pack_nibbles(field), width, cell=4), int(offset))
                for field, width, offset in zip(fields, FIELDS[tensor.bits], offsets, strict=False)
            ]
        )
    missing = whole[1] * whole[2] - (columns + 1) // 2
    if missing:
        stored = emit.node("Pad", [stored, emit.shape(0, 0, 0, missing)])
    return emit.node("Reshape", [stored, emit.shape(*whole)])


def _per_block(emit: Emitter, value: ir.Value, shape: tuple[int, int]) -> ir.Value:
    if value.shape is not None and tuple(value.shape) == shape:
        return value
    return emit.node("Expand", [value, emit.shape(*shape)])


def _one_if_equal(vector: np.ndarray) -> np.ndarray:
    """[1] instead of [C] when all channels agree."""
    return vector[:1] if (vector == vector[0]).all() else vector
