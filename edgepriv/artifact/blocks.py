"""One number for each group of weights -> values that broadcast over the weight: per tensor, channel or block."""

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.emit import Emitter
from edgepriv.training.quantization import QuantizedTensor


def simplest(tensor: QuantizedTensor) -> QuantizedTensor:
    """The same weight with one scale for each channel where a channel is no longer than a block.

    Args:
        tensor: of any granularity.

    Returns:
        The same integers.
    """
    if tensor.block is None or tensor.scale.shape[1] > 1:
        return tensor
    return replace(tensor, scale=tensor.scale[:, 0], zero_point=tensor.zero_point[:, 0], block=None)


def one_if_equal(groups: np.ndarray) -> np.ndarray:
    """One number instead of one for each group, when all agree.

    Args:
        groups: any shape.

    Returns:
        [1] or [1, 1]; else ``groups``.
    """
    first = groups[(slice(1),) * groups.ndim]
    return first if (groups == first).all() else groups


def column(groups: np.ndarray, tensor: QuantizedTensor) -> np.ndarray:
    """Numbers of groups with the axes that the weight has behind them.

    Args:
        groups: shape of the scale.
        tensor: the weight.

    Returns:
        [C, 1, ...], or [C, blocks, 1].
    """
    if groups.size > 1 and tensor.block is not None:
        return groups[..., None]
    return groups.reshape((-1,) + (1,) * (tensor.integers.ndim - 1))


def spread(emit: Emitter, values: ir.Value, tensor: QuantizedTensor) -> ir.Value:
    """Numbers of groups such that they broadcast over the weight.

    Numbers of blocks are stored once and repeated when the session is opened.

    Args:
        emit: adds the nodes.
        values: of the shape of ``column``.
        tensor: the weight.

    Returns:
        A value of the graph.
    """
    if tensor.block is None or (values.shape is not None and math.prod(values.shape.numpy()) == 1):
        return values
    rows, blocks = tensor.scale.shape
    columns = tensor.integers[0].size
    expanded = emit.node("Expand", [values, emit.shape(rows, blocks, tensor.block)])
    if blocks * tensor.block != columns:
        expanded = emit.node("Reshape", [expanded, emit.shape(rows, -1)])
        expanded = emit.node("Slice", [expanded, emit.shape(0), emit.shape(columns), emit.shape(1)])
    return emit.node("Reshape", [expanded, emit.shape(*tensor.integers.shape)])
