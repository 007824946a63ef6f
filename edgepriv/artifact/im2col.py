"""Convolution as a matrix product over windows (im2col), channels last."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.emit import Emitter


@dataclass(frozen=True)
class Windows:
    """What each output position of a convolution reads.

    ``table``: int64 [positions, taps of the kernel], where in the flattened input; the number of input positions stands for
    padding. ``input_sizes``, ``output_sizes``: spatial.
    """

    table: np.ndarray
    input_sizes: tuple[int, ...]
    output_sizes: tuple[int, ...]

    @property
    def padding(self) -> int:
        """The index that stands for padding."""
        return math.prod(self.input_sizes)

    @property
    def met(self) -> set[int]:
        """The taps that meet the input at any position; the others read padding only."""
        return set(np.flatnonzero((self.table != self.padding).any(axis=0)).tolist())


def windows_of(node: ir.Node) -> Windows | None:
    """The windows of a convolution.

    Args:
        node: a Conv.

    Returns:
        The windows; None for one in groups or with free sizes.
    """
    x, weight = node.inputs[0], node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    kernel = list(weight.const_value.numpy().shape[2:])
    if x is None or x.shape is None or _attribute(node, "group", 1) != 1:
        return None
    sizes = [size for size in x.shape[2:] if isinstance(size, int)]
    auto_pad = _attribute(node, "auto_pad", "NOTSET")
    if len(sizes) != len(kernel) or auto_pad not in ("NOTSET", "VALID"):
        return None
    pads = _attribute(node, "pads", [0] * 2 * len(kernel))
    along = [
        _along(*axis)
        for axis in zip(
            sizes,
            kernel,
            _attribute(node, "strides", [1] * len(kernel)),
            _attribute(node, "dilations", [1] * len(kernel)),
            pads[: len(kernel)],
            pads[len(kernel) :],
            strict=True,
        )
    ]
    output_sizes = tuple(len(positions) for positions in along)
    padding = math.prod(sizes)
    # [outputs of axis 0, outputs of axis 1, ..., taps of axis 0, taps of axis 1, ...]
    indices = np.zeros((1,) * 2 * len(kernel), np.int64)
    outside = np.zeros((1,) * 2 * len(kernel), bool)
    for axis, positions in enumerate(along):
        shape = [1] * 2 * len(kernel)
        shape[axis], shape[len(kernel) + axis] = positions.shape
        positions = positions.reshape(shape)
        indices = indices * sizes[axis] + positions
        outside = outside | (positions < 0) | (positions >= sizes[axis])
    table = np.where(outside, padding, indices).reshape(math.prod(output_sizes), -1)
    return Windows(table, tuple(sizes), output_sizes)


def _along(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> np.ndarray:
    """int64 [outputs, kernel]: the positions of one axis that each output reads, outside 0..size-1 where padded."""
    outputs = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
    return np.arange(outputs)[:, None] * stride - before + np.arange(kernel)[None, :] * dilation


def _attribute(node: ir.Node, name: str, default: Any) -> Any:
    return node.attributes[name].value if name in node.attributes else default


def window_matrix(
    emit: Emitter, before: ir.Node, x: ir.Value, windows: Windows, channels: int, taps: list[int], *, by_channel: bool
) -> ir.Value:
    """The windows of inputs, as rows of a matrix.

    One Gather copies each window's rows of channels; padding is one row of zeros behind the input.

    Args:
        emit: adds the constants.
        before: the node before which it is computed.
        x: [N, *input sizes, channels].
        windows: of the convolution.
        channels: of ``x``.
        taps: places in the kernel that are wanted.
        by_channel: a column is (channel, tap), the order of the convolution's own weight, rather than (tap, channel).

    Returns:
        [N, *output sizes, taps * channels].
    """

    def add(op: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
        node = ir.node(op, inputs, attributes)
        emit.graph.insert_before(before, node)
        return node.outputs[0]

    table = windows.table[:, taps]
    if np.array_equal(table, np.arange(windows.padding)[:, None]):
        return x
    x = add("Reshape", [x, emit.shape(0, windows.padding, channels)])
    if (table == windows.padding).any():
        x = add("Pad", [x, emit.shape(0, 0, 0, 0, 1, 0)])
    x = add("Gather", [x, _indices(emit, table, windows.padding)], axis=1)
    if by_channel and len(taps) > 1:
        x = add("Transpose", [x], perm=[0, 1, 3, 2])
    columns = len(taps) * channels
    return add("Reshape", [x, emit.shape(0, *windows.output_sizes, columns)])


def _indices(emit: Emitter, table: np.ndarray, padding: int) -> ir.Value:
    """int32 [positions, taps]. Without padding it is the sum of a column and a row, in the smallest type otherwise."""
    column, row = table[:, :1], table[:1] - table[0, 0]
    if np.array_equal(column + row, table) and table.size > sum(table.shape):
        return emit.node("Add", [emit.constant(column.astype(np.int32)), emit.constant(row.astype(np.int32))])
    dtype = next(dtype for dtype in (np.uint8, np.int16, np.int32) if padding <= np.iinfo(dtype).max)
    stored = emit.constant(table.astype(dtype))
    return stored if dtype is np.int32 else emit.node("Cast", [stored], to=ir.DataType.INT32)
