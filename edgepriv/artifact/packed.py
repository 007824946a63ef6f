"""Matrix products on integers that stay packed while they run: com.microsoft.MatMulNBits.

https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits: B is uint8
[N, blocks, block * bits / 8], low bits first along K; scales float32 [N, blocks]; zero points uint8, packed like B along
the blocks, 2^(bits - 1) when left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.blocks import one_if_equal
from edgepriv.artifact.emit import INTEGER_MARK, SCALE, ZERO_POINT, Emitter
from edgepriv.artifact.lower import Linear, integers_of
from edgepriv.artifact.pack import FIELDS, pack_nibbles, split_fields
from edgepriv.training.quantization import QuantizedTensor

PACKED_BITS = 8
"""The widest integers that the kernel reads."""
BLOCKS = (16, 32, 64, 128, 256)
"""Sizes that MatMulNBits knows."""
_PADDING = 1 / 16
"""Share of a row by which the file may grow so that the kernel reads the rows as they are stored. Padded when the session
is opened, a matrix is in memory twice while it is copied, and the heap keeps both places."""

Compute = Literal["float32", "int8"]
_LEVELS: dict[Compute, int] = {"float32": 1, "int8": 4}
"""accuracy_level of the kernel. Why more than 4 bits are two products in float32, measured with one thread on a server core,
time / float32 Gemm for 512 x 4608 weights with 1, 4, 16, 64 rows: two of 4 bits 2.2, 4.4, 2.9, 2.0; DequantizeLinear + Gemm
3.2, 4.2, 1.8, 1.4 with the float32 matrix in memory meanwhile; one of 8 bits 26, 19, 6, 2.2. For 1024 x 6170 weights and
one row: 0.73, 2.3 and 10. At level 4, 8 bits take 0.3 to 0.6."""


@dataclass(frozen=True)
class Part:
    """One MatMulNBits: the values that it reads besides the activation and the bias."""

    matrix: ir.Value
    scales: ir.Value
    zero_points: ir.Value | None


@dataclass(frozen=True)
class PackedMatrix:
    """The sum of ``parts`` is the matrix [rows, columns]."""

    rows: int
    columns: int
    block: int
    bits: int
    accuracy_level: int
    parts: tuple[Part, ...]

    def multiply(self, graph: ir.Graph, before: ir.Node, x: ir.Value, bias: ir.Value | None) -> ir.Value:
        """``x @ matrix.T + bias``.

        Args:
            graph: to which it is added.
            before: the node before which it is computed.
            x: [..., columns].
            bias: [rows]; None for none.

        Returns:
            [..., rows].
        """
        attributes = {
            "K": self.columns,
            "N": self.rows,
            "bits": self.bits,
            "block_size": self.block,
            "accuracy_level": self.accuracy_level,
        }
        total: ir.Value | None = None
        for part in self.parts:
            inputs = [x, part.matrix, part.scales, part.zero_points, None, bias if total is None else None]
            product = ir.node("MatMulNBits", inputs, attributes, domain="com.microsoft")
            graph.insert_before(before, product)
            if total is None:
                total = product.outputs[0]
            else:
                both = ir.node("Add", [total, product.outputs[0]])
                graph.insert_before(before, both)
                total = both.outputs[0]
        assert total is not None
        return total


def pack_matrix(
    emit: Emitter,
    name: str,
    tensor: QuantizedTensor,
    compute: Compute,
    taps: Sequence[int] = (0,),
    of: int = 1,
) -> PackedMatrix:
    """Integers [N, K] in the kernel's layout.

    ``compute = "float32"``, accuracy_level 1: activations stay float32, so the layer computes what was trained. That
    kernel exists for 4 bits only. Narrower integers are widened when the session is opened; wider ones become two
    matrices of 4 bits, q - z = 16 (q_high - z_high) + (q_low - z_low), with the same sum. ``"int8"``, accuracy_level 4:
    the kernel quantizes each row of activations to 8 bits, and has 4 and 8 bits.

    Scales and zero points are wanted for every block of columns, and rows of whole blocks: they are expanded and padded when
    the session is opened.

    Args:
        emit: adds nodes and constants to the graph.
        name: of the parameter, under which its integers are stored.
        tensor: integers of up to 8 bits, as a matrix [N, K].
        compute: "float32" or "int8".
        taps: in [0, ``of``), which the product takes; the others are left out.
        of: into how many taps of K / ``of`` channels each the columns are divided.

    Returns:
        The matrix [N, K / ``of`` * number of ``taps``], of one part or of two.
    """
    rows, columns = tensor.integers.shape
    narrow = tensor.bits <= 4
    cells = 2 if narrow else 1  # values in a byte
    chosen = columns // of * len(taps)
    block = tensor.block or block_for(chosen)
    padding = -chosen % block
    if tensor.bits == 4 and chosen == columns and padding <= columns * _PADDING:
        tensor = replace(tensor, integers=np.pad(tensor.integers, ((0, 0), (0, padding))))
    stored = _nibble_pairs(emit, name, tensor) if narrow else integers_of(emit, name, tensor)
    width = -(-tensor.integers.shape[1] // cells)
    if chosen < columns:
        stored = emit.node("Reshape", [stored, emit.shape(rows, of, -1)])
        stored = emit.node("Gather", [stored, emit.shape(*taps)], axis=1)
        stored = emit.node("Reshape", [stored, emit.shape(rows, -1)])
        width = chosen // cells
    blocks = -(-chosen // block)
    missing = blocks * block // cells - width
    if missing:
        stored = emit.node("Pad", [stored, emit.shape(0, 0, 0, missing)])
    scales = _scales(emit, name, tensor, (rows, blocks))
    if not narrow and compute == "float32":
        lows, highs = _halves(emit, *_even_and_odd(emit, stored, blocks * block))
        low_zeros, high_zeros = _halved_zero_points(emit, name, tensor, rows, blocks)
        sixteenfold = emit.node("Mul", [scales, emit.constant(np.array(16, np.float32))])
        matrices: list[tuple[ir.Value, ir.Value, ir.Value | None]] = [
            (lows, scales, low_zeros),
            (highs, sixteenfold, high_zeros),
        ]
    else:
        matrices = [(stored, scales, _zero_points(emit, name, tensor, rows, blocks))]
    bits = 8 if not narrow and compute == "int8" else 4
    shape = (rows, blocks, block * bits // 8)
    parts = [Part(_shaped(emit, matrix, shape), scale, zeros) for matrix, scale, zeros in matrices]
    return PackedMatrix(rows, chosen, block, bits, _LEVELS[compute], tuple(parts))


def replace_linears(emit: Emitter, matrix: PackedMatrix, linears: list[Linear]) -> None:
    """Compute the Linears that share one weight by the packed matrix.

    Args:
        emit: of the graph, which is changed in place.
        matrix: the weight.
        linears: its uses.
    """
    for linear in linears:
        product = matrix.multiply(emit.graph, linear.nodes[0], linear.activation, linear.bias)
        linear.output.replace_all_uses_with(product, replace_graph_outputs=True)
        for old in linear.nodes:
            if not any(output.uses() for output in old.outputs):
                emit.graph.remove(old, safe=True)


def block_for(columns: int) -> int:
    """Block size of MatMulNBits that takes the fewest bytes for a row of 4-bit values.

    The row is counted in the file and in memory, and for each block a float scale and half a byte of zero point in memory.

    Args:
        columns: of the matrix.

    Returns:
        One of ``BLOCKS``.
    """
    return min(reversed(BLOCKS), key=lambda block: -(-columns // block) * (block + 4.5))


def _nibble_pairs(emit: Emitter, name: str, tensor: QuantizedTensor) -> ir.Value:
    """uint8 [N, ceil(K / 2)] with two values in a byte. Narrower weights are widened when the session is opened."""
    if tensor.bits == 4:
        return emit.named(f"{name}{INTEGER_MARK}4", pack_nibbles(tensor.integers))
    widths = FIELDS[tensor.bits]
    fields = [
        emit.planes(name, pack_nibbles(field), width, cell=4)
        for width, field in zip(widths, split_fields(tensor.integers, tensor.bits), strict=True)
    ]
    offsets = np.cumsum([0, *widths[:-1]]).tolist()
    return emit.joined(list(zip(fields, offsets, strict=True)))


def _scales(emit: Emitter, name: str, tensor: QuantizedTensor, shape: tuple[int, int]) -> ir.Value:
    if tensor.block:
        return emit.named(name + SCALE, tensor.scale)
    return _expanded(emit, emit.named(name + SCALE, one_if_equal(tensor.scale)[:, None]), shape)


def _zero_points(emit: Emitter, name: str, tensor: QuantizedTensor, rows: int, blocks: int) -> ir.Value | None:
    """As the kernel reads them; None where they are its default."""
    narrow = tensor.bits <= 4
    if (tensor.zero_point == (8 if narrow else 128)).all():
        return None
    if tensor.block:
        return emit.named(name + ZERO_POINT, pack_nibbles(tensor.zero_point) if narrow else tensor.zero_point)
    column = one_if_equal(tensor.zero_point)[:, None]
    stored = emit.named(name + ZERO_POINT, column * np.uint8(0x11) if narrow else column)
    return _expanded(emit, stored, (rows, -(-blocks // 2) if narrow else blocks))


def _halved_zero_points(
    emit: Emitter, name: str, tensor: QuantizedTensor, rows: int, blocks: int
) -> tuple[ir.Value, ir.Value]:
    if tensor.block:
        columns = blocks + blocks % 2
        padded = np.pad(tensor.zero_point, ((0, 0), (0, columns - blocks)))
        even, odd = _even_and_odd(emit, emit.named(name + ZERO_POINT, padded), columns)
    else:
        even = odd = emit.named(name + ZERO_POINT, one_if_equal(tensor.zero_point)[:, None])
    low, high = _halves(emit, even, odd)
    shape = (rows, -(-blocks // 2))
    return _expanded(emit, low, shape), _expanded(emit, high, shape)


def _even_and_odd(emit: Emitter, value: ir.Value, columns: int) -> tuple[ir.Value, ir.Value]:
    """Every other column of [N, columns], ``columns`` even."""
    end, axis, step = emit.shape(columns), emit.shape(1), emit.shape(2)
    even, odd = (emit.node("Slice", [value, emit.shape(start), end, axis, step]) for start in (0, 1))
    return even, odd


def _halves(emit: Emitter, even: ir.Value, odd: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Pairs of bytes -> bytes of their two low halves, and bytes of their two high halves."""
    four, low_mask, high_mask = (emit.constant(np.array(value, np.uint8)) for value in (4, 0x0F, 0xF0))
    low_even = emit.node("BitwiseAnd", [even, low_mask])
    low_odd = emit.node("BitShift", [odd, four], direction="LEFT")
    high_even = emit.node("BitShift", [even, four], direction="RIGHT")
    high_odd = emit.node("BitwiseAnd", [odd, high_mask])
    return emit.node("BitwiseOr", [low_even, low_odd]), emit.node("BitwiseOr", [high_even, high_odd])


def _shaped(emit: Emitter, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
    stored = value.const_value
    if stored is None:
        return emit.node("Reshape", [value, emit.shape(*shape)])
    # Nothing was padded: the bytes are already in order.
    value.const_value = ir.tensor(stored.numpy().reshape(shape), name=value.name)
    value.shape = ir.Shape(shape)
    return value


def _expanded(emit: Emitter, value: ir.Value, shape: tuple[int, int]) -> ir.Value:
    if value.shape is not None and tuple(value.shape) == shape:
        return value
    return emit.node("Expand", [value, emit.shape(*shape)])
