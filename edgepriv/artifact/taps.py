"""The layers of any .onnx classifier: which node multiplies by which weight, where its output can be read, and its weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from edgepriv.artifact.emit import INTEGER_MARK
from edgepriv.artifact.operators import Unsupported
from edgepriv.artifact.operators_types import unpacked_matrix
from edgepriv.artifact.session import started

WEIGHT_AT = {
    "Conv": 1,
    "ConvTranspose": 1,
    "Gemm": 1,
    "MatMul": 1,
    "Gather": 0,
    "MatMulNBits": 1,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "QGemm": 3,
    "ConvInteger": 1,
    "MatMulInteger": 1,
}
"""Operators with weights, and where among their inputs these stand."""
_CODES = {"QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7}
"""Operators that return codes, and where the scale of these stands; the zero point is next."""
_SUMS = ("ConvInteger", "MatMulInteger")
"""Operators whose sums of integers a Cast and a Mul turn into numbers."""
_FOLLOWED = (
    "Relu",
    "Clip",
    "HardSigmoid",
    "QuantizeLinear",
    "DequantizeLinear",
    "Transpose",
    "Add",
    "BatchNormalization",
)
"""Operators behind a layer that its output is read behind: different layouts of one network have them in different places."""
_SUFFIXES = ("_quantized", "_dequantized", "_DequantizeLinear_Output", "_Q4", "_Q8", "_scale", "_zero_point")
"""What tools that quantize put behind the name of a weight."""


@dataclass(frozen=True, eq=False)
class Layer:
    """``names``: of the constants that its weight is computed from. ``node``: that multiplies. ``output``: name of the float
    value that it makes, with its bias and what cuts it off."""

    names: frozenset[str]
    node: onnx.NodeProto
    output: str


@dataclass(frozen=True)
class Tapped:
    """``model``: the graph with every ``Layer.output`` in it. ``layers``: in the order of the graph."""

    model: onnx.ModelProto
    layers: tuple[Layer, ...]


def tapped(model: onnx.ModelProto) -> Tapped:
    """Find the layers of a graph.

    Args:
        model: with all of its weights; left as it is.

    Returns:
        A copy of the graph, in which codes are turned into numbers where a layer returns codes, and its layers. A weight that
        several nodes read has the first of them; one whose product is a sum of two has one too.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    origins = _constants(graph)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    own = {output.name for output in graph.output}
    products = [node for node in graph.node if _multiplies(node, origins)]
    sums = {node.output[0]: _names(node, origins) for node in products}
    layers: dict[frozenset[str], Layer] = {}
    added = []
    for node in products:
        names = _names(node, origins)
        if names in layers:
            continue
        output = _followed(node, origins, readers, sums, own)
        if node.op_type in _CODES:
            place = _CODES[node.op_type]
            if len(node.input) > place and node.input[place]:
                output = f"{node.output[0]}{INTEGER_MARK}number"
                added.append(
                    onnx.helper.make_node(
                        "DequantizeLinear", [node.output[0], *node.input[place : place + 2]], [output]
                    )
                )
        layers[names] = Layer(names, node, output)
    graph.node.extend(added)
    return Tapped(copy, tuple(layers.values()))


def exposed(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """A graph that returns more values than before.

    Args:
        model: left as it is.
        names: of values in it.

    Returns:
        A copy.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in present)
    return copy


def rows_of(tap: Tapped, feed: Mapping[str, np.ndarray]) -> dict[Layer, np.ndarray]:
    """The numbers that the weights of layers stand for.

    Args:
        tap: of a graph.
        feed: any input of it; what weights are computed from are constants.

    Returns:
        Layer -> float32 weight as the operator reads it, a matrix with its output channels first; without layers whose weights
        cannot be read.
    """
    stored = {tensor.name: tensor for tensor in tap.model.graph.initializer}
    wanted = [name for layer in tap.layers for name in _weight_inputs(layer.node) if name and name not in stored]
    values: dict[str, np.ndarray] = {}
    if wanted:
        names = list(dict.fromkeys(wanted))
        session = started(exposed(tap.model, names).SerializeToString(), "the model")
        values = dict(zip(names, session.run(names, dict(feed)), strict=True))

    def value(name: str) -> np.ndarray:
        if name not in values:
            values[name] = onnx.numpy_helper.to_array(stored[name])
        return values[name]

    rows = {}
    for layer in tap.layers:
        array = _rows(layer.node, [value(name) if name else None for name in _weight_inputs(layer.node)])
        if array is not None:
            rows[layer] = array
    return rows


def _rows(node: onnx.NodeProto, values: list[np.ndarray | None]) -> np.ndarray | None:
    weight = values[0]
    assert weight is not None
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type in _SUMS:
        return None
    if node.op_type == "MatMulNBits":
        try:
            unpacked = unpacked_matrix(attributes, *(None if one is None else torch.tensor(one) for one in values))  # type: ignore[arg-type]
        except Unsupported:
            return None
        return np.asarray(unpacked.numpy(), np.float32)
    if node.op_type in _CODES:
        scale, zero_point = values[1], values[2]
        assert scale is not None
        offset = weight.astype(np.float32) - (0 if zero_point is None else _along(zero_point, weight, node))
        weight = offset * _along(scale, weight, node)
    array = weight.astype(np.float32)
    lies_last = node.op_type in ("MatMul", "QLinearMatMul") or (
        node.op_type in ("Gemm", "QGemm") and not attributes.get("transB", 0)
    )
    return np.ascontiguousarray(array.T) if lies_last and array.ndim == 2 else array


def _along(numbers: np.ndarray, weight: np.ndarray, node: onnx.NodeProto) -> np.ndarray:
    """One number, or one for each output channel, in a shape that goes with the weight."""
    if numbers.size == 1:
        return numbers.astype(np.float32).reshape(())
    turned = any(entry.name == "transB" and entry.i for entry in node.attribute)
    axis = 0 if node.op_type == "QLinearConv" or turned else weight.ndim - 1
    return numbers.astype(np.float32).reshape([-1 if place == axis else 1 for place in range(weight.ndim)])


def _weight_inputs(node: onnx.NodeProto) -> list[str]:
    """The weight, and where it is of integers its scales and zero points."""
    place = WEIGHT_AT[node.op_type]
    count = 3 if node.op_type in ("MatMulNBits", *_CODES) else 1
    return [node.input[at] if at < len(node.input) else "" for at in range(place, place + count)]


def _constants(graph: onnx.GraphProto) -> dict[str, frozenset[str]]:
    """Every value that depends on no input -> the names of the stored tensors that it is computed from."""
    origins = {tensor.name: frozenset([tensor.name]) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            origins[node.output[0]] = frozenset([node.output[0]])
        elif node.input and all(not name or name in origins for name in node.input):
            own: frozenset[str] = frozenset().union(*(origins[name] for name in node.input if name))
            origins.update(dict.fromkeys(node.output, own))
    return origins


def _multiplies(node: onnx.NodeProto, origins: Mapping[str, frozenset[str]]) -> bool:
    place = WEIGHT_AT.get(node.op_type)
    if place is None or len(node.input) <= place or node.input[place] not in origins:
        return False
    return any(name and name not in origins for name in node.input)


def _names(node: onnx.NodeProto, origins: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """What the weight may be called: the stored tensors under it, without what marks integers of it."""
    names = set()
    for name in origins[node.input[WEIGHT_AT[node.op_type]]]:
        if name.startswith(INTEGER_MARK):
            continue  # a constant of the arithmetic, which layers share
        for base in (name.partition(INTEGER_MARK)[0], name.replace(INTEGER_MARK, "_")):
            names.add(base)
            names.update(base.removesuffix(suffix) for suffix in _SUFFIXES)
    return frozenset(names)


def _followed(
    node: onnx.NodeProto,
    origins: Mapping[str, frozenset[str]],
    readers: Mapping[str, list[onnx.NodeProto]],
    sums: Mapping[str, frozenset[str]],
    own: set[str],
) -> str:
    """The value behind bias, saturation and codes."""
    name, names, scaled = str(node.output[0]), sums[node.output[0]], node.op_type not in _SUMS
    while name not in own:
        following = readers.get(name, [])
        coded = following and following[0].op_type == "DequantizeLinear"
        if len(following) != 1 and not coded:
            break
        reader = following[0]
        others = [other for other in reader.input if other and other != name]
        fits = reader.op_type in _FOLLOWED and all(
            other in origins or (reader.op_type == "Add" and sums.get(other) == names) for other in others
        )
        if not scaled and reader.op_type in ("Cast", "Mul"):
            fits, scaled = True, reader.op_type == "Mul"
        if not fits:
            break
        name = str(reader.output[0])
    return name


def matched(layers: tuple[Layer, ...], names: list[str]) -> dict[str, Layer] | None:
    """The layers of a file by the names that another file has for their weights.

    Args:
        layers: of the file.
        names: of the other's weights, in the order of its graph.

    Returns:
        Name -> layer; where names tell nothing, by their order; None where there is not one for each.
    """
    by_name = dict(_by_name(layers, names))
    if len(by_name) == len(names):
        return by_name
    if len(layers) == len(names) and not by_name:
        return dict(zip(names, layers, strict=True))
    return None


def _by_name(layers: tuple[Layer, ...], names: list[str]) -> Iterator[tuple[str, Layer]]:
    for name in names:
        layer = next((layer for layer in layers if name in layer.names), None)
        if layer is not None:
            yield name, layer
