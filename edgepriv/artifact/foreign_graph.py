"""An ONNX graph from anywhere, made ready for packing: the operators of one opset, its weights as plain initializers with one
row for each output channel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import inliner, version_converter
from onnx_ir.passes import common

from edgepriv.artifact.emit import INTEGER_MARK
from edgepriv.errors import UserError

OPSET = 21
"""The least that knows integers of 4 bits."""
_QUANTIZED = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DequantizeLinear", "MatMulNBits")
_MULTIPLIERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather")
_FEWEST = 2
"""Dimensions of a weight; vectors are biases, and numbers of batch norms."""
_RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Weight:
    """A weight of the graph. ``rows``: float32, output channels (or the rows of a table that is looked up) on axis 0.
    ``turned``: whether it is a matrix [K, N] in the file, of which ``rows`` is the transpose. ``op``: what reads it. ``of``:
    the layer of a network in torch that it is of."""

    name: str
    rows: np.ndarray
    turned: bool
    op: str
    of: str | None = None

    @property
    def layer(self) -> str:
        """The name that rules of bits are matched with."""
        return self.name.removesuffix(".weight") if self.of is None else self.of


def at_one_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in an opset that knows 4-bit integers, its local functions inlined, its shapes inferred.

    Args:
        model: with all of its weights; left as it is.

    Returns:
        A copy.

    Raises:
        UserError: for a graph that is quantized already, and one that cannot be converted.
    """
    for node in model.graph.node:
        if node.op_type in _QUANTIZED:
            raise UserError(
                f"the model is quantized already ({node.op_type}): give the float model that it was made from"
            )
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    try:
        converted = inliner.inline_local_functions(model) if model.functions else model
        if opset < OPSET:
            converted = version_converter.convert_version(converted, OPSET)
    except Exception as error:  # onnx's own exceptions
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(f"the graph (opset {opset}) cannot be brought to opset {OPSET}: {reason[:200]}") from error
    copy = onnx.ModelProto()
    copy.CopyFrom(converted)
    copy.ir_version = max(copy.ir_version, 10)
    try:
        return onnx.shape_inference.infer_shapes(copy)
    except Exception:  # shapes help the layout for memory, and nothing else
        return copy


def readied(model: onnx.ModelProto) -> ir.Model:
    """The graph with its constants as initializers, each under a name of its own without a colon.

    Args:
        model: of ``at_one_opset``.

    Returns:
        A graph that may be changed.
    """
    parsed = ir.from_proto(model)
    common.RemoveInitializersFromInputsPass()(parsed)
    common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)(parsed)
    common.IdentityEliminationPass()(parsed)
    common.RemoveUnusedNodesPass()(parsed)
    taken = {*parsed.graph.initializers}
    for name in [name for name in taken if INTEGER_MARK in name]:
        value = parsed.graph.initializers.pop(name)
        value.name = _free(name.replace(INTEGER_MARK, "_"), taken)
        taken.add(value.name)
        parsed.graph.register_initializer(value)
    for value in parsed.graph.initializers.values():
        if value.const_value is not None and isinstance(value.const_value, ir.TensorProtoTensor):
            value.const_value = ir.tensor(value.const_value.numpy(), dtype=value.const_value.dtype, name=value.name)
    return parsed


def weights_of(graph: ir.Graph) -> tuple[dict[str, Weight], dict[str, str]]:
    """The weights that can be packed, and those that cannot with the reason.

    Args:
        graph: of ``readied``.

    Returns:
        Name -> weight, in the order of their first use; name -> reason.
    """
    weights: dict[str, Weight] = {}
    left: dict[str, str] = {}
    for node in graph:
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is None or not value.is_initializer() or value.name is None:
                continue
            shape = value.const_value.shape.numpy()
            if (
                len(shape) < _FEWEST
                or value.const_value.size <= max(shape)
                or value.name in weights
                or value.name in left
            ):
                continue
            if value.const_value.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE):
                continue
            reason = _why_not(node, index, value)
            if reason is not None:
                left[value.name] = reason
                continue
            turned = _turned(node, index)
            array = value.const_value.numpy()
            rows = np.ascontiguousarray(array.T if turned else array)
            weights[value.name] = Weight(value.name, rows, turned, node.op_type)
    return weights, left


def turn(graph: ir.Graph, weights: Mapping[str, Weight]) -> None:
    """Store every matrix [K, N] as its transpose: a Gemm reads it so, before others stands a Transpose that a runtime computes
    when it opens the file.

    Args:
        graph: changed in place.
        weights: of it.
    """
    for weight in weights.values():
        value = graph.initializers[weight.name]
        if not weight.turned:
            continue
        stored = ir.val(weight.name, const_value=ir.tensor(weight.rows, name=weight.name))
        stored.shape = ir.Shape(weight.rows.shape)
        stored.type = ir.TensorType(ir.DataType.FLOAT)
        graph.initializers.pop(weight.name)
        value.name = None
        graph.register_initializer(stored)
        if all(node.op_type == "Gemm" for node, _ in value.uses()):
            for node, _ in list(value.uses()):
                node.attributes["transB"] = ir.AttrInt64("transB", 1)
            value.replace_all_uses_with(stored)
            continue
        back = ir.node("Transpose", [stored], {"perm": [1, 0]})
        graph.insert_before(graph[0], back)
        value.replace_all_uses_with(back.outputs[0])


def with_values(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A graph with other numbers in some of its initializers and Constant nodes.

    Args:
        model: left as it is.
        arrays: new numbers of the same shape, by the name of the initializer, or of the output of the Constant; colons may
            stand as underscores in them.

    Returns:
        A copy.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor, name in _stored(copy):
        array = arrays.get(name, arrays.get(name.replace(INTEGER_MARK, "_")))
        if array is not None:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(array.astype(onnx.numpy_helper.to_array(tensor).dtype), tensor.name)
            )
    return copy


def _stored(model: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, str]]:
    for tensor in model.graph.initializer:
        yield tensor, tensor.name
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield attribute.t, node.output[0]


def _why_not(node: ir.Node, index: int, value: ir.Value) -> str | None:
    """Why a constant is no weight that can be packed; None where it can."""
    assert value.const_value is not None
    if value.is_graph_output():
        return "the graph returns it"
    if node.op_type in _RECURRENT:
        return "a recurrent layer, whose weights one operator reads in its own layout"
    if node.op_type not in _MULTIPLIERS or not _is_weight(node, index):
        return f"read by {node.op_type}, which is no convolution, Linear or embedding"
    if value.const_value.dtype != ir.DataType.FLOAT:
        return f"its numbers are {value.const_value.dtype.name.lower()}, not float32"
    if not np.isfinite(value.const_value.numpy()).all():
        return "it holds numbers that are not finite"
    turned = _turned(node, index)
    for user, place in value.uses():
        if user.graph is not node.graph:
            return "a branch or a loop reads it"
        if user.op_type not in _MULTIPLIERS or not _is_weight(user, place) or _turned(user, place) != turned:
            return f"it is read in two ways, by {node.op_type} and {user.op_type}"
    return None


def _is_weight(node: ir.Node, index: int) -> bool:
    value = node.inputs[index]
    dimensions = 0 if value is None or value.const_value is None else len(value.const_value.shape)
    if node.op_type == "Gather":
        return index == 0 and _attribute(node, "axis", 0) == 0
    if node.op_type == "Gemm":
        return index == 1
    if node.op_type == "MatMul":
        return dimensions == 2
    return index == 1


def _turned(node: ir.Node, index: int) -> bool:
    """Whether the output channels of a weight lie on its last axis."""
    if node.op_type == "MatMul":
        return index == 1
    return node.op_type == "Gemm" and not _attribute(node, "transB", 0)


def _attribute(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _free(name: str, taken: Sequence[str] | set[str]) -> str:
    while name in taken:
        name += "_"
    return name
