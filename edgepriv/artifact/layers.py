"""The weights in a graph by layer: of how many bits they are stored, and how their scales are laid out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto
from onnx.numpy_helper import to_array

from edgepriv.artifact.emit import INTEGER_MARK, SCALE, TAIL
from edgepriv.recipe import FULL_WIDTH

Granularity = Literal["none", "tensor", "channel", "block"]

_WEIGHTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "Conv": ((1,), ()),
    "ConvTranspose": ((1,), ()),
    "ConvInteger": ((1,), (3,)),
    "Gather": ((0,), ()),
    "Gemm": ((1, 0), ()),
    "MatMul": ((1, 0), ()),
    "MatMulInteger": ((1,), (3,)),
    "MatMulNBits": ((1,), (2, 3)),
    "QLinearConv": ((3,), (4, 5)),
    "QLinearMatMul": ((3,), (4, 5)),
    "DynamicQuantizeMatMul": ((1,), (2, 3)),
}
"""Operators with weights: where among their inputs these may stand, and where their scales and zero points."""

_BITS: dict[int, int] = {
    TensorProto.FLOAT: 32,
    TensorProto.DOUBLE: 64,
    TensorProto.FLOAT16: 16,
    TensorProto.BFLOAT16: 16,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
}
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_INTEGERS = (
    TensorProto.UINT16,
    TensorProto.INT16,
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.UINT4,
    TensorProto.INT4,
)


@dataclass(frozen=True)
class LayerSummary:
    """``name``: of the weight. ``op``: that reads it. ``bits``: of one stored weight. ``parameters``: weights in it.
    ``stored_bytes``: of the weight with its scales and zero points. ``granularity``: of the scales."""

    name: str
    op: str
    bits: int
    parameters: int
    stored_bytes: int
    granularity: Granularity


def layers(model: onnx.ModelProto) -> list[LayerSummary]:
    """The weights of convolutions and matrix products, and embeddings that edgepriv packed.

    Args:
        model: the graph.

    Returns:
        A summary of each, in the order of their first use; a shared one once.
    """
    constants = stored_tensors(model)
    producers = {output: node for node in model.graph.node for output in node.output}
    summaries: dict[str, LayerSummary] = {}
    for node in model.graph.node:
        places, companions = _WEIGHTS.get(node.op_type, ((), ()))
        for place in places:
            origins = _origins([node.input[place]], constants, producers)
            if not origins or (node.op_type == "Gather" and not any(name.endswith(SCALE) for name in origins)):
                continue  # a table of shapes or positions is no weight, and of a float one nobody can tell
            beside = _origins(
                [node.input[index] for index in companions if index < len(node.input)], constants, producers
            )
            summary = _summary(node, node.input[place], origins | (beside or {}), producers)
            summaries.setdefault(summary.name, summary)
            break
    return list(summaries.values())


def stored_tensors(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Initializers and Constant nodes that hold tensors.

    Args:
        model: the graph.

    Returns:
        Name -> tensor.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                tensor = TensorProto()
                tensor.CopyFrom(attribute.t)
                tensor.name = node.output[0]
                tensors[tensor.name] = tensor
    return tensors


def _origins(
    names: Sequence[str], constants: Mapping[str, TensorProto], producers: Mapping[str, onnx.NodeProto]
) -> dict[str, TensorProto] | None:
    """The constants that values are computed from; None when they depend on an input."""
    pending, origins, seen = list(names), {}, {""}
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in constants:
            origins[name] = constants[name]
        elif name in producers:
            pending.extend(producers[name].input)
        else:
            return None
    return origins


def _summary(
    node: onnx.NodeProto, name: str, tensors: Mapping[str, TensorProto], producers: Mapping[str, onnx.NodeProto]
) -> LayerSummary:
    if any(name.endswith(SCALE) for name in tensors):
        return _own_summary(node, name, tensors, producers)
    stored = [tensor for tensor in tensors.values() if tensor.data_type in _BITS]
    integers = [tensor for tensor in stored if tensor.data_type in _INTEGERS]
    weight = max(integers or stored, key=_stored_bytes, default=None)
    if weight is None:
        return LayerSummary(node.input[1], node.op_type, FULL_WIDTH, 0, 0, "none")
    scales = [tensor for tensor in stored if tensor is not weight]
    attributes = _integer_attributes(node)
    if node.op_type == "MatMulNBits":
        bits, count = attributes["bits"], attributes["N"] * attributes["K"]
    else:
        bits, count = _BITS[weight.data_type], _count(weight)
    granularity: Granularity = "none"
    if integers:
        sizes = max((_count(scale) for scale in scales), default=1)
        rows = [attributes["N"]] if node.op_type == "MatMulNBits" else list(weight.dims)
        granularity = "tensor" if sizes == 1 else "channel" if sizes in rows else "block"
    total = _stored_bytes(weight) + (sum(_stored_bytes(scale) for scale in scales) if integers else 0)
    return LayerSummary(weight.name, node.op_type, bits, count, total, granularity)


def _own_summary(
    node: onnx.NodeProto, weight: str, tensors: Mapping[str, TensorProto], producers: Mapping[str, onnx.NodeProto]
) -> LayerSummary:
    """Of a weight laid out by a profile: the names tell which tensor is what."""
    name = next(name for name in tensors if name.endswith(SCALE)).partition(INTEGER_MARK)[0]
    own = {other: tensor for other, tensor in tensors.items() if other.partition(INTEGER_MARK)[0] == name}
    parts = {other.removeprefix(name): tensor for other, tensor in own.items()}
    # ``name`` itself is of the container type, ``name:4`` holds fields of 4 bits; what else there is has a word for a name.
    widths = [
        _BITS[tensor.data_type] if not part else int(part[1:])
        for part, tensor in parts.items()
        if not part or part[1:].isdigit()
    ]
    if node.op_type == "MatMulNBits":
        attributes = _integer_attributes(node)
        count = attributes["N"] * attributes["K"]
    else:
        count = _restored_count(weight, tensors, producers)
    scale = parts[SCALE]
    blocks = TAIL + SCALE in parts or sum(size > 1 for size in scale.dims) > 1
    granularity: Granularity = "tensor" if _count(scale) == 1 else "block" if blocks else "channel"
    return LayerSummary(
        name, node.op_type, sum(widths), count, sum(_stored_bytes(tensor) for tensor in own.values()), granularity
    )


def _restored_count(name: str, tensors: Mapping[str, TensorProto], producers: Mapping[str, onnx.NodeProto]) -> int:
    """Weights behind ``name``: of the integers at the end of the first inputs, or of the shape that they are given."""
    while name not in tensors:
        node = producers[name]
        if node.op_type == "Reshape":
            shape = [int(size) for size in to_array(tensors[node.input[1]])]
            if min(shape) > 0:
                return int(np.prod(shape))
        if node.op_type == "Concat":
            return sum(_restored_count(part, tensors, producers) for part in node.input)
        name = node.input[0]
    return _count(tensors[name])


def _integer_attributes(node: onnx.NodeProto) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute if attribute.type == AttributeProto.INT}


def _count(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims))


def _stored_bytes(tensor: TensorProto) -> int:
    return -(-_count(tensor) * _BITS[tensor.data_type] // 8)
