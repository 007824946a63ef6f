"""Adding constants and constant arithmetic to the front of a graph."""

from typing import Any

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.pack import mask_of, pack_nibbles, pack_planes, shifts_of

INTEGER_MARK, SCALE, ZERO_POINT, TAIL = ":", ":scale", ":zero_point", ":tail"
"""``conv1.weight:2`` holds 2-bit fields of ``conv1.weight`` in bytes; ``conv1.weight`` itself is a tensor of the
container type (uint4, uint8 or uint16). No parameter of a torch module has a colon in its name."""


class Emitter:
    """Inserts nodes before all others of ``graph``, in the order of the calls; equal small constants are stored once."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._last: ir.Node | None = None
        self._shared: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def node(self, op: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
        """Append one node with one output to the arithmetic at the front.

        Args:
            op: its type.
            inputs: of the node.
            attributes: of the node.

        Returns:
            Its output.
        """
        node = ir.node(op, inputs, attributes)
        if self._last is None:
            self.graph.insert_before(self.graph[0], node)
        else:
            self.graph.insert_after(self._last, node)
        self._last = node
        return node.outputs[0]

    def named(self, name: str, tensor: np.ndarray | ir.TensorProtocol) -> ir.Value:
        """A constant under its own name.

        Args:
            name: of the initializer.
            tensor: its value.

        Returns:
            The value of the graph.
        """
        stored = ir.tensor(np.asarray(tensor, order="C")) if isinstance(tensor, np.ndarray) else tensor
        value = ir.Value(
            name=name, shape=ir.Shape(stored.shape.numpy()), type=ir.TensorType(stored.dtype), const_value=stored
        )
        self.graph.register_initializer(value)
        return value

    def constant(self, array: np.ndarray) -> ir.Value:
        """A small constant that any number of nodes may share.

        Args:
            array: its value.

        Returns:
            The value of the graph.
        """
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = self.named(f"{INTEGER_MARK}{len(self._shared)}", array)
        return self._shared[key]

    def shape(self, *sizes: int) -> ir.Value:
        """A shape, axis or bound: int64 [len(sizes)]."""
        return self.constant(np.array(sizes, np.int64))

    def nibbles(self, name: str, values: np.ndarray) -> ir.Value:
        """Numbers as 4-bit integers, two in a byte.

        Args:
            name: of the initializer.
            values: uint8 < 16.

        Returns:
            A uint4 value of the same shape.
        """
        return self.named(name, uint4_tensor(values))

    def planes(self, name: str, values: np.ndarray, width: int, cell: int = 8) -> ir.Value:
        """Numbers packed by ``pack_planes`` and restored by shift and mask.

        Args:
            name: of the initializer.
            values: uint8, any shape, below 2^width.
            width: bits of each.
            cell: bits that they are packed into.

        Returns:
            The same numbers, as a value of the graph that is computed when a session is opened.
        """
        packed = pack_planes(values.reshape(-1), width, cell)
        stored = self.named(f"{name}{INTEGER_MARK}{width}", packed)
        shifted = self.node("BitShift", [stored, self.constant(shifts_of(width, cell))], direction="RIGHT")
        flat = self.node("BitwiseAnd", [shifted, self.constant(np.array(mask_of(width, cell), np.uint8))])
        if packed.size * (cell // width) != values.size:
            flat = self.node("Reshape", [flat, self.shape(-1)])
            flat = self.node("Slice", [flat, self.shape(0), self.shape(values.size)])
        return self.node("Reshape", [flat, self.shape(*values.shape)])

    def joined(self, fields: list[tuple[ir.Value, int]]) -> ir.Value:
        """Integers of several fields.

        Args:
            fields: uint8 values and the bit at which each begins.

        Returns:
            The integers, as a value of the graph.
        """
        (total, _), *others = fields
        for field, offset in others:
            shifted = self.node("BitShift", [field, self.constant(np.array(offset, np.uint8))], direction="LEFT")
            total = self.node("BitwiseOr", [total, shifted])
        return total


def uint4_tensor(values: np.ndarray) -> ir.PackedTensor[Any]:
    """Numbers as a packed 4-bit tensor.

    Args:
        values: uint8 < 16.

    Returns:
        A tensor of the same shape.
    """
    return ir.PackedTensor(pack_nibbles(values.reshape(-1)), ir.DataType.UINT4, shape=values.shape)
