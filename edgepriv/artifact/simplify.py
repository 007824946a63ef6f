"""A traced graph without what does nothing."""

import onnx_ir as ir
from onnxscript import optimizer

from edgepriv.artifact.emit import INTEGER_MARK

_ALMOST = 1e-4
"""Ten times as far from 0 and 1 as onnxscript looks for them."""


def simplify(model: ir.Model, opaque: set[str]) -> None:
    """Fold shape arithmetic and drop what does nothing, with the parameters out of the optimizer's reach.

    onnxscript's optimizer also fuses BatchNormalization and transposes small weights, which would put an end to
    the parameters as such; as graph inputs they are opaque to it. So are numbers close to 0 and 1: it takes them for these, and
    what adds 1e-8 for one that does nothing.

    Args:
        model: changed in place.
        opaque: names of the parameters.
    """
    graph = model.graph
    hidden = {}
    for name in [name for name in graph.initializers if name in opaque]:
        value = graph.initializers.pop(name)
        hidden[value] = value.const_value
        value.const_value = None
        graph.inputs.append(value)
    optimizer.inline(model)
    optimizer.fold_constants(model)
    hidden |= _hide_almost_idle(graph)
    optimizer.optimize_ir(model, onnx_shape_inference=False)
    for value, tensor in hidden.items():
        graph.inputs.remove(value)
        if value.uses():
            value.const_value = tensor
            graph.register_initializer(value)
    _drop_idle_casts(graph)
    _pool_globally(graph)


def _hide_almost_idle(graph: ir.Graph) -> dict[ir.Value, ir.TensorProtocol | None]:
    """Numbers that are almost 0 or 1 as inputs of the graph, and what they are."""
    hidden: dict[ir.Value, ir.TensorProtocol | None] = {}
    constants = [node.outputs[0] for node in graph if node.op_type == "Constant"]
    for value in [*constants, *graph.initializers.values()]:
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is None or tensor.size != 1 or not tensor.dtype.is_floating_point():
            continue
        number = float(tensor.numpy().reshape(()))
        if number in (0, 1) or min(abs(number), abs(number - 1)) > _ALMOST:
            continue
        entering = ir.val(f"almost{len(hidden)}{INTEGER_MARK}", tensor.dtype, tensor.shape.numpy())
        value.replace_all_uses_with(entering, replace_graph_outputs=True)
        graph.inputs.append(entering)
        hidden[entering] = ir.tensor(tensor.numpy(), dtype=tensor.dtype, name=entering.name)
    return hidden


def _drop_idle_casts(graph: ir.Graph) -> None:
    """Attention casts its float32 scale "like" a float32 value, which onnxruntime would do at every inference."""
    for node in graph:
        if node.op_type == "CastLike":
            x, like = node.inputs
            if x is not None and x.dtype is not None and x.dtype == _dtype_of(like):
                node.outputs[0].replace_all_uses_with(x, replace_graph_outputs=True)
                graph.remove(node, safe=True)


def _dtype_of(value: ir.Value | None) -> ir.DataType | None:
    """The type of a value, that of what it is a view of where the exporter does not say."""
    while value is not None and value.dtype is None:
        producer = value.producer()
        views = producer is not None and producer.op_type in ("Reshape", "Transpose", "Squeeze", "Unsqueeze")
        value = producer.inputs[0] if producer is not None and views else None
    return None if value is None else value.dtype


def _pool_globally(graph: ir.Graph) -> None:
    """The mean over height and width as GlobalAveragePool: onnxruntime keeps its blocked image layout across that one."""
    for node in graph:
        x, axes = node.inputs if node.op_type == "ReduceMean" and len(node.inputs) == 2 else (None, None)
        if x is None or x.shape is None or len(x.shape) != 4 or axes is None or axes.const_value is None:
            continue
        keeps = "keepdims" not in node.attributes or node.attributes["keepdims"].value == 1
        if keeps and sorted(axis % 4 for axis in axes.const_value.numpy().reshape(-1)) == [2, 3]:
            pool = ir.node("GlobalAveragePool", [x])
            pool.outputs[0].shape, pool.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
            graph.insert_before(node, pool)
            node.outputs[0].replace_all_uses_with(pool.outputs[0], replace_graph_outputs=True)
            graph.remove(node, safe=True)
