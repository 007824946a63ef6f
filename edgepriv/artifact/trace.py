"""torch -> a plain ONNX graph whose initializers still carry the parameters' own names."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from edgepriv.artifact.simplify import simplify
from edgepriv.errors import UserError
from edgepriv.models.behaviour import place_of

OPSET = 21
"""The first with 4-bit tensor types."""
IR_VERSION = 10
"""The one that came with opset 21; a newer number would only turn away older runtimes."""

INPUT, OUTPUT = "input", "probabilities"
_TAKEN = {INPUT, OUTPUT, "logits", "label"}
"""Names of inputs and outputs, which a parameter of the network may have too."""
_MARKS = (":", "/")
"""Characters by which names of ours are told from parameters'."""
_WIDE = {ir.DataType.DOUBLE: ir.DataType.FLOAT}
_NARROW = (ir.DataType.BFLOAT16, ir.DataType.FLOAT16)


def trace(classifier: nn.Module, input_shape: Sequence[int]) -> ir.Model:
    """The classifier in eval mode as an ONNX graph: ``input`` float32 [N, *input_shape] -> ``probabilities`` float32 [N, K].

    N is free, or 1 for a classifier that takes one input at a time (``Classifier.alone``). Parameters and buffers of
    ``classifier.network`` become initializers under their names in that network (a shared one once, under its first name);
    no operator on them is folded or fused. A Softmax is appended.

    Args:
        classifier: returns logits [N, K].
        input_shape: of one example.

    Returns:
        The graph, in float32.

    Raises:
        UserError: when torch cannot export the network, or it does not return one array of logits (one that ends with a
            sigmoid or softmax does not).
    """
    training = {module for module in classifier.modules() if module.training}
    classifier.eval()
    try:
        model = _export(classifier, input_shape)
    finally:
        for module in training:
            module.training = True
    _refuse_narrow(model.graph)
    _compute_in_float32(model)
    names = _first_names(classifier)
    simplify(model, opaque=set(names))
    _rename_parameters(model.graph, names)
    _append_softmax(model.graph)
    model.ir_version = IR_VERSION
    return model


def _export(classifier: nn.Module, input_shape: Sequence[int]) -> ir.Model:
    device = next((tensor.device for tensor in classifier.state_dict().values()), torch.device("cpu"))
    alone = bool(getattr(classifier, "alone", False))
    # Else two rows: torch.export takes a batch of one for a constant.
    example = torch.rand(1 if alone else 2, *input_shape, device=device)
    dynamic = None if alone else ({0: torch.export.Dim("N")},)
    with _quiet(), torch.no_grad():
        try:
            model = _exported(classifier, example, dynamic)
        except Exception as error:  # torch.export raises whatever the network's own code raises
            size = "a batch of one" if alone else "a free batch size"
            raise UserError(f"the network cannot be exported to ONNX with {size}: {_reason(error)}") from error
        if not alone and not _returns_logits(model, alone):
            # len(x) is a plain number where the forward is run; where its bytecode is read, it stays the size of the batch.
            with contextlib.suppress(Exception):
                program = torch.export.export(classifier, (example,), dynamic_shapes=dynamic, strict=True)
                model = _exported(program)
    if not _returns_logits(model, alone):
        returned = ", ".join(str(output.shape) for output in model.graph.outputs)
        any_n = "for one input" if alone else "for any N"
        raise UserError(f"the network must return one array of logits [N, K] {any_n} (it returns {returned})")
    return model


def _exported(network: nn.Module | torch.export.ExportedProgram, *arguments: Any) -> ir.Model:
    """By torch's exporter; ``arguments``: of a network, an example and the axes of it that are free."""
    example, dynamic = arguments or (None, None)
    program = torch.onnx.export(
        network,
        () if example is None else (example,),
        dynamo=True,
        dynamic_shapes=dynamic,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=["logits"],
        optimize=False,
        verbose=False,
    )
    assert program is not None
    return program.model


def _returns_logits(model: ir.Model, alone: bool) -> bool:
    """Whether the one output is [N, K], or [1, K] of a network that is asked for one input at a time."""
    shapes = [output.shape for output in model.graph.outputs]
    if len(shapes) != 1 or shapes[0] is None or len(shapes[0]) != 2:
        return False
    size = shapes[0][0]
    return size == 1 if alone else not isinstance(size, int)


def _reason(error: BaseException) -> str:
    """Why torch cannot export a network, and where in its code, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    place = place_of(error)
    if isinstance(error, GuardOnDataDependentSymNode):
        return f"its forward branches on the values of its input, and a graph has one way for all inputs{place}"
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")[:300] + place


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns about itself on every call, and prints the graph that it gave up on; its errors arrive as
    exceptions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx", "torch._dynamo", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def network_of(classifier: nn.Module) -> nn.Module:
    """The network behind the normalisation.

    Args:
        classifier: any.

    Returns:
        The network; the classifier itself if it has none.
    """
    network = getattr(classifier, "network", None)
    return network if isinstance(network, nn.Module) else classifier


def prefix_of(classifier: nn.Module) -> str:
    """What the names of the network's parameters begin with in a classifier.

    Args:
        classifier: any.

    Returns:
        "network.", or nothing where the classifier is the network.
    """
    return "" if network_of(classifier) is classifier else "network."


def _first_names(classifier: nn.Module) -> dict[str, str]:
    """Every name of a tensor of the network in the classifier -> the first name that the network itself has for it."""
    network, prefix = network_of(classifier), prefix_of(classifier)
    named = [
        *network.named_parameters(remove_duplicate=False),
        *network.named_buffers(remove_duplicate=False),
    ]
    first: dict[int, str] = {}
    own = graph_names(classifier)
    return {prefix + name: own[first.setdefault(id(tensor), name)] for name, tensor in named}


def graph_names(classifier: nn.Module) -> dict[str, str]:
    """What the tensors of a network are called in its graph: the same, unless a name is that of an input or output, or
    has characters that mark names of ours.

    Args:
        classifier: a Classifier, or a network.

    Returns:
        Every name of a parameter or buffer in the network, a shared one under each of its names -> its name in the graph.
    """
    network = network_of(classifier)
    named = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    names: dict[str, str] = {}
    for name, _ in sorted(named, key=lambda entry: _is_marked(entry[0])):
        own = name
        for mark in _MARKS:
            own = own.replace(mark, "_")
        while own in _TAKEN or own in names.values():
            own += "_"
        names[name] = own
    return names


def _is_marked(name: str) -> bool:
    return name in _TAKEN or any(mark in name for mark in _MARKS)


def _refuse_narrow(graph: ir.Graph) -> None:
    """Raise UserError where the network computes in 16 bits: the file does not, so torch would round where it would not."""
    for node in graph.all_nodes():
        if any(output.dtype in _NARROW for output in node.outputs):
            raise UserError(
                "the network computes in 16-bit floats inside (torch.autocast, .half() or .bfloat16() in its forward), and the "
                "file computes in float32: take it out of the forward; edgepriv trains in bfloat16 by itself (--precision)"
            )


def _compute_in_float32(model: ir.Model) -> None:
    """What the network computes in float64 the file computes in float32, in which onnxruntime has every operator."""
    for value in list(model.graph.initializers.values()):
        if value.const_value is not None and value.const_value.dtype in _WIDE:
            value.const_value = ir.tensor(value.const_value.numpy().astype("float32"), name=value.name)
            value.dtype = ir.DataType.FLOAT
    for node in model.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in _WIDE:
                narrow = ir.tensor(attribute.as_tensor().numpy().astype("float32"))
                node.attributes[name] = ir.AttrTensor(name, narrow)
            elif name in ("to", "dtype") and attribute.type == ir.AttributeType.INT:
                wanted = ir.DataType(attribute.as_int())
                node.attributes[name] = ir.AttrInt64(name, int(_WIDE.get(wanted, wanted)))
        for output in node.outputs:
            if output.dtype in _WIDE:
                output.dtype = ir.DataType.FLOAT


def _rename_parameters(graph: ir.Graph, names: dict[str, str]) -> None:
    """``network.fc.weight`` -> ``fc.weight``; torch.onnx keeps a shared tensor under whichever name it saw last."""
    parameters = {name: graph.initializers.pop(name) for name in list(graph.initializers) if name in names}
    taken = set(names.values())
    for name in [name for name in graph.initializers if name in taken]:
        graph.initializers[name].name = f"constant.{name}"
    for name, value in parameters.items():
        value.name = names[name]
        if names[name] in graph.initializers:
            value.replace_all_uses_with(graph.initializers[names[name]])
        else:
            graph.register_initializer(value)


def _append_softmax(graph: ir.Graph) -> None:
    logits = graph.outputs[0]
    if logits.dtype not in (None, ir.DataType.FLOAT):
        cast = ir.node("Cast", [logits], {"to": ir.DataType.FLOAT})
        cast.outputs[0].shape, cast.outputs[0].type = logits.shape, ir.TensorType(ir.DataType.FLOAT)
        graph.append(cast)
        logits = cast.outputs[0]
    last = logits.producer()
    if last is not None and last.op_type in ("Sigmoid", "Softmax"):
        raise UserError(
            f"the network ends with a {last.op_type.lower()}, and the file gets a softmax of its own: remove it from the "
            "network, which must return logits"
        )
    softmax = ir.node("Softmax", [logits], {"axis": -1})
    graph.append(softmax)
    output = softmax.outputs[0]
    output.name, output.shape, output.type = OUTPUT, logits.shape, logits.type
    graph.outputs[0] = output
