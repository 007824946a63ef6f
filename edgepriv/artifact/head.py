"""A head in the graph: plain operators behind the softmax, under names by which they can be found and cut off again."""

import onnx
import onnx_ir as ir

from edgepriv.artifact.trace import OUTPUT
from edgepriv.heads.masks import Generator, Mask, Rank

HEAD = "head/"
"""What the names of a head's nodes and constants begin with."""
BEFORE = "head/input"
"""The value that feeds a head: the probabilities of the model itself."""


def append_head(graph: ir.Graph, head: Mask) -> None:
    """Put a head between the graph's probabilities and its output.

    Args:
        graph: changed in place.
        head: in eval mode.
    """
    (before,) = graph.outputs
    shape, kind = before.shape, before.type
    before.name, before.shape, before.type = BEFORE, None, None
    nodes = _ranking(graph, head, before) if isinstance(head, Rank) else _generating(graph, head, before)
    for position, node in enumerate(nodes):
        node.name = f"{HEAD}{position}"
        for output in node.outputs:
            output.name = f"{HEAD}{position}/{output.index()}"
    graph.extend(nodes)
    after = nodes[-1].outputs[0]
    after.name, after.shape, after.type = OUTPUT, shape, kind
    graph.outputs[0] = after


def _ranking(graph: ir.Graph, head: Rank, before: ir.Value) -> list[ir.Node]:
    """TopK puts the lower of two equal classes first, as argmax does."""
    classes = len(head.values)
    values = _constant(graph, "values", ir.tensor(head.values.detach().numpy()[None]))
    every = _constant(graph, "classes", ir.tensor([classes], dtype=ir.DataType.INT64))
    order = ir.node("TopK", [before, every], {"axis": -1, "largest": 1, "sorted": 1}, num_outputs=2)
    size = ir.node("Shape", [before])
    spread = ir.node("Expand", [values, size.outputs[0]])
    placed = ir.node("ScatterElements", [before, order.outputs[1], spread.outputs[0]], {"axis": 1})
    return [order, size, spread, placed]


def _generating(graph: ir.Graph, head: Generator, before: ir.Value) -> list[ir.Node]:
    nodes: list[ir.Node] = []
    value, layers = before, head.layers
    for position, layer in enumerate(layers):
        constants = [
            _constant(graph, f"{name}{position}", ir.tensor(parameter.detach().numpy()))
            for name, parameter in (("weight", layer.weight), ("bias", layer.bias))
        ]
        nodes.append(ir.node("Gemm", [value, *constants], {"transB": 1}))
        last = position == len(layers) - 1
        nodes.append(
            ir.node("Softmax", nodes[-1].outputs, {"axis": -1}) if last else ir.node("Relu", nodes[-1].outputs)
        )
        value = nodes[-1].outputs[0]
    return nodes


def _constant(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    value = ir.Value(name=HEAD + name, const_value=tensor)
    graph.register_initializer(value)
    return value


def head_of(model: onnx.ModelProto) -> str | None:
    """What kind of head a file has, by its own names for it.

    Args:
        model: the graph.

    Returns:
        The name of its method; None without one.
    """
    if not any(BEFORE in node.output for node in model.graph.node):
        return None
    told = {entry.key: entry.value for entry in model.metadata_props}
    name: str | None = told.get("head", "unnamed")
    return name


def without_head(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its head cut off: anyone who holds it can do this.

    Args:
        model: left as it is.

    Returns:
        The graph; itself where it has no head.
    """
    return model if head_of(model) is None else _headless(model)


def _headless(model: onnx.ModelProto) -> onnx.ModelProto:
    model = _copied(model)
    graph = model.graph
    inside = [node for node in graph.node if node.name.startswith(HEAD)]
    outside = [node for node in graph.node if not node.name.startswith(HEAD)]
    read = {name for node in outside for name in node.input} | {value.name for value in graph.output}
    after = next(name for node in inside for name in node.output if name in read)
    del graph.node[:]
    graph.node.extend(outside)
    for node in graph.node:
        node.output[:] = [after if name == BEFORE else name for name in node.output]
    _drop_constants(model)
    return model


def cut_open(model: onnx.ModelProto) -> onnx.ModelProto:
    """What anyone who holds a file can make of it by removing its end.

    Args:
        model: with a head, or that returns the label; left as it is.

    Returns:
        The graph up to the model's own probabilities, or to its logits where it returns labels and has no head.
    """
    # Without a head, the label is chosen by the logits.
    told = "logits" if head_of(model) is None else "probabilities"
    model = _copied(model) if head_of(model) is None else _headless(model)
    graph = model.graph
    if graph.output[0].name != OUTPUT:
        last = next(node for node in graph.node if graph.output[0].name in node.output)
        graph.node.remove(last)
        classes = onnx.helper.make_tensor_value_info(last.input[0], onnx.TensorProto.FLOAT, ["N", None])
        del graph.output[:]
        graph.output.append(classes)
        next(entry for entry in model.metadata_props if entry.key == "output").value = told
    return model


def bytes_of(model: onnx.ModelProto) -> bytes:
    """The graph as a file holds it: equal graphs are equal bytes.

    Args:
        model: any.

    Returns:
        The bytes.
    """
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _drop_constants(model: onnx.ModelProto) -> None:
    kept = [tensor for tensor in model.graph.initializer if not tensor.name.startswith(HEAD)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    told = [entry for entry in model.metadata_props if entry.key != "head"]
    del model.metadata_props[:]
    model.metadata_props.extend(told)
