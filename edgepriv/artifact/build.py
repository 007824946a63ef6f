"""A classifier and its integer weights -> the graph that ships."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import nn

from edgepriv.artifact.blocks import simplest
from edgepriv.artifact.calibration import TrainedRanges
from edgepriv.artifact.fold import drop_zero_biases, fold_batch_norms
from edgepriv.artifact.graph_io import apply_io_options
from edgepriv.artifact.head import append_head
from edgepriv.artifact.left_float import weights_left_float
from edgepriv.artifact.lower import Static
from edgepriv.artifact.profiles import Lowering
from edgepriv.artifact.profiles import profile as lowering_of
from edgepriv.artifact.static import lower_statically
from edgepriv.artifact.strip import strip
from edgepriv.artifact.trace import graph_names, network_of, trace
from edgepriv.device.table import KIND
from edgepriv.errors import UserError
from edgepriv.heads.masks import Mask
from edgepriv.recipe import FULL_WIDTH, Export
from edgepriv.training.quantization import QuantizedTensor

_LARGEST_FILE = 2**31 - 1
"""Bytes of a protobuf message."""
_TOLD = ("compute", "input", "output")
"""Settings that a device is told in the metadata, where they are not the default."""


@dataclass(frozen=True)
class Built:
    """``content``: the bytes of the .onnx. ``packed_linears``: MatMulNBits nodes that must run. ``left_float``: parameter ->
    why it is not in the file as integers. ``dequantized``: DequantizeLinear nodes that run on weights. ``static``: as in
    ``lower.Lowered``."""

    content: bytes
    packed_linears: int
    left_float: Mapping[str, str]
    dequantized: int = 0
    static: Static | None = None


# The network with its integers, and all that a file may carry.
def build_graph(
    classifier: nn.Module,
    weights: Mapping[str, QuantizedTensor],
    *,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    settings: Export = Export(),  # noqa: B008 - frozen
    head: Mask | None = None,
    table: Mapping[str, Any] | None = None,
    traced: ir.Model | None = None,
    calibration: np.ndarray | TrainedRanges | None = None,
    lowering: Lowering | None = None,
) -> Built:
    """Build the graph of a file: trace, fold, pack, lower to the profile, strip.

    The input is ``input`` float32 [N, *input_shape] and the output ``probabilities`` float32 [N, K], unless ``settings`` ask
    for others.

    Args:
        classifier: in eval mode.
        weights: integers by parameter name in ``classifier.network``, used instead of the parameters; empty for the float
            twin, which is the same graph with float32 weights.
        input_shape: of one example.
        class_names: by class.
        settings: profile, input, output and compute.
        head: a mask behind the softmax, in the same plain operators for every profile; None for none.
        table: how the rows of a table become inputs, which goes into the metadata; None for inputs that are not such rows.
        traced: what ``trace`` made of this classifier, which is changed here; None traces it.
        calibration: what the ranges of activations come from where ``settings`` quantize them statically: float32
            [n >= 1, *input_shape] in [0, 1], nobody's training data; or those that the network was trained with.
        lowering: in place of the profile's own.

    Returns:
        The bytes of the file, and what is in it.

    Raises:
        UserError: when the network cannot be traced, a weight does not fit its parameter, or the file would pass the 2 GB of
            the format.
    """
    lower = lowering or lowering_of(settings.profile)
    model = traced if traced is not None else trace(classifier, input_shape)
    names = graph_names(classifier)
    _check_classes(model.graph, class_names)
    weights = {names[name]: simplest(tensor) for name, tensor in weights.items()}
    _check_weights(model.graph, weights)
    bits = _describe_bits(model.graph, weights)
    drop_zero_biases(model.graph)
    left_float = weights_left_float(model.graph, network_of(classifier), weights, names)
    folded = fold_batch_norms(model.graph, weights)
    if settings.compute == "int8-static":
        assert calibration is not None, "a caller that asks for fixed grids passes what they come from"
        lowered = lower_statically(model, folded, calibration)
    else:
        lowered = lower(model.graph, folded, settings)
    if head is not None:
        append_head(model.graph, head)
    apply_io_options(model.graph, settings)
    if lowered.packed_linears:
        model.opset_imports["com.microsoft"] = 1
    strip(model)
    model.metadata_props.update(
        edgepriv_version=version("edgepriv"),
        class_names=json.dumps(list(class_names), ensure_ascii=False, separators=(",", ":")),
        bits=bits,
        profile=settings.profile,
        **({"head": head.kind} if head is not None else {}),
        **({KIND: json.dumps(table, ensure_ascii=False, separators=(",", ":"))} if table is not None else {}),
        **{name: getattr(settings, name) for name in _TOLD if getattr(settings, name) != getattr(Export(), name)},
    )
    return Built(
        serialized(model),
        lowered.packed_linears,
        {**left_float, **lowered.left_float},
        lowered.dequantized,
        lowered.static,
    )


def _check_weights(graph: ir.Graph, weights: Mapping[str, QuantizedTensor]) -> None:
    for name, tensor in weights.items():
        value = graph.initializers.get(name)
        if value is not None and value.const_value is not None:
            shape = tuple(value.const_value.shape)
            if shape != tensor.integers.shape:
                raise UserError(
                    f"the integers of {name} have shape {list(tensor.integers.shape)}, but the network's parameter has "
                    f"{list(shape)}: quantize this very network"
                )


def _check_classes(graph: ir.Graph, class_names: Sequence[str]) -> None:
    shape = graph.outputs[0].shape
    if shape is not None and isinstance(shape[1], int) and shape[1] != len(class_names):
        raise UserError(f"the network returns {shape[1]} logits, but there are {len(class_names)} class names")


def _describe_bits(graph: ir.Graph, weights: Mapping[str, QuantizedTensor]) -> str:
    """``"4"``; ``"4,8,32"`` when the weights of convolutions and Linears have several widths."""
    widths = {tensor.bits for name, tensor in weights.items() if name in graph.initializers}
    for node in graph:
        weight = node.inputs[1] if node.op_type in ("Conv", "Gemm") else None
        if weight is not None and weight.name in graph.initializers and weight.name not in weights:
            widths.add(FULL_WIDTH)
    return ",".join(str(width) for width in sorted(widths or {FULL_WIDTH}))


def serialized(model: ir.Model) -> bytes:
    """The bytes of a file, the same ones for the same graph.

    Args:
        model: with its weights.

    Returns:
        The content of the .onnx.

    Raises:
        UserError: for more weights than one file holds.
    """
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    if size >= _LARGEST_FILE:
        raise UserError(f"the weights take {size / 2**30:.1f} GiB, but an .onnx file holds 2 at most: use fewer bits")
    content: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return content
