"""Quantized weights -> integers in the file and the arithmetic by which a runtime gets them back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.blocks import column, one_if_equal, spread
from edgepriv.artifact.emit import SCALE, ZERO_POINT, Emitter
from edgepriv.artifact.pack import FIELDS, split_fields
from edgepriv.training.quantization import QuantizedTensor


@dataclass(frozen=True)
class Static:
    """What computes on 8-bit codes. ``convolutions``, ``matrices``: products with integer weights that do. ``float_operators``:
    left in floating point behind the first product, with their counts. ``float_weights``: parameter whose integers multiply
    floats -> why. ``regridded``: channels whose integers were rounded to a coarser grid, for their bias to fit 32 bits.
    ``examples``: inputs that the ranges of the activations come from."""

    convolutions: int
    matrices: int
    float_operators: Mapping[str, int]
    float_weights: Mapping[str, str]
    regridded: int
    examples: int


@dataclass(frozen=True)
class Lowered:
    """``packed_linears``: MatMulNBits nodes in the graph. ``left_float``: parameter -> why its integers are not in it.
    ``dequantized``: DequantizeLinear nodes that are meant to unpack weights at every inference. ``static``: what computes on
    integers where activations are quantized statically; None where they are not."""

    packed_linears: int
    left_float: Mapping[str, str]
    dequantized: int = 0
    static: Static | None = None


@dataclass(frozen=True)
class Linear:
    """One ``activation @ weight.T + bias`` of the graph, whatever nodes say it."""

    activation: ir.Value
    bias: ir.Value | None
    output: ir.Value
    nodes: tuple[ir.Node, ...]


def weights_read(
    graph: ir.Graph, weights: Mapping[str, QuantizedTensor], left_float: dict[str, str]
) -> Iterator[tuple[str, QuantizedTensor, ir.Value]]:
    """The weights that operators of a graph read.

    Args:
        graph: exported, with float weights; what is yielded may be changed in it.
        weights: integers by name.
        left_float: gets the reason of each weight that nothing reads.

    Yields:
        Name, integers, and the float weight in the graph.
    """
    for name, tensor in weights.items():
        weight = graph.initializers.get(name)
        if weight is None or not weight.uses():
            left_float[name] = "no operator of the exported graph reads it"
            continue
        yield name, tensor, weight


def restore(emit: Emitter, name: str, tensor: QuantizedTensor) -> ir.Value:
    """A float32 weight as constant arithmetic on its packed integers: ``(integers - zero_point) * scale``.

    onnxruntime computes it once, when the session is opened with default options, and then runs the float graph.

    Args:
        emit: adds the nodes.
        name: of the weight.
        tensor: its integers.

    Returns:
        The weight, as a value of the graph.
    """
    weight = emit.node("Cast", [integers_of(emit, name, tensor)], to=ir.DataType.FLOAT)
    zero_point = one_if_equal(tensor.zero_point)
    if zero_point.any():
        stored = _zero_point(emit, name, column(zero_point, tensor), tensor.bits)
        weight = emit.node("Sub", [weight, spread(emit, stored, tensor)])
    scale = emit.named(name + SCALE, column(one_if_equal(tensor.scale), tensor))
    return emit.node("Mul", [weight, spread(emit, scale, tensor)])


def integers_of(emit: Emitter, name: str, tensor: QuantizedTensor) -> ir.Value:
    """The integers of a weight, unpacked in the graph.

    Args:
        emit: adds the nodes.
        name: of the weight.
        tensor: its integers.

    Returns:
        A uint8, uint4 or (from 9 bits) uint16 value of the weight's shape.
    """
    if tensor.bits > 8:
        return emit.named(name, tensor.integers)
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
    """The Linears that a weight is the matrix of.

    Args:
        weight: [N, K].

    Returns:
        Every use of it; None if it is used in any other way.
    """
    linears = []
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
            linears.append(match)
    return linears or None


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
