"""What a file takes and returns: the first and the last operators of its graph."""

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.emit import INTEGER_MARK
from edgepriv.errors import UserError
from edgepriv.recipe import Export

BYTE = 255.0


def apply_io_options(graph: ir.Graph, settings: Export) -> None:
    """Turn ``input`` float32 in [0, 1] -> ``probabilities`` into what the settings ask for.

    ``input = "uint8"``: bytes, divided by 255 in the graph. ``output = "logits"``: float32 [N, K] without the Softmax;
    ``"label"``: int64 [N], the class with the largest logit. The output is named like its form.

    Args:
        graph: changed in place.
        settings: of the export.

    Raises:
        UserError: for logits of a graph that does not end with a Softmax.
    """
    if settings.input == "uint8":
        _take_bytes(graph)
    if settings.output != "probabilities":
        _return_as(graph, settings.output)


def _take_bytes(graph: ir.Graph) -> None:
    (source,) = graph.inputs
    cast = ir.node("Cast", [source], {"to": ir.DataType.FLOAT})
    top = ir.Value(name=f"{INTEGER_MARK}255", const_value=ir.tensor(np.array(BYTE, np.float32)))
    scaled = ir.node("Div", [cast.outputs[0], top])
    source.replace_all_uses_with(scaled.outputs[0])
    cast.replace_input_with(0, source)
    graph.register_initializer(top)
    graph.insert_before(graph[0], [cast, scaled])
    source.type = ir.TensorType(ir.DataType.UINT8)


def _return_as(graph: ir.Graph, output_kind: str) -> None:
    (output,) = graph.outputs
    softmax = output.producer()
    ends_with_softmax = softmax is not None and softmax.op_type == "Softmax" and not output.uses()
    if output_kind == "logits" and not ends_with_softmax:
        raise UserError(
            "this model does not end with a softmax, so it has no logits: export it with --returns probabilities"
        )
    scores = output
    if ends_with_softmax:
        assert softmax is not None
        scores = softmax.inputs[0] or output
    shape, kind = output.shape, output.type
    if output_kind == "label":
        last = ir.node("ArgMax", [scores], {"axis": -1, "keepdims": 0})
        graph.append(last)
        graph.outputs[0] = last.outputs[0]
        shape, kind = ir.Shape(list(shape)[:1]) if shape is not None else None, ir.TensorType(ir.DataType.INT64)
    else:
        graph.outputs[0] = scores
    if softmax is not None and scores is not output:
        graph.remove(softmax, safe=True)
    else:
        output.name, output.shape, output.type = None, None, None
    final = graph.outputs[0]
    final.name, final.shape, final.type = output_kind, shape, kind
