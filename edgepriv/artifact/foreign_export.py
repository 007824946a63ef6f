"""Any float ONNX classifier -> the same graph with integer weights, proven before it appears."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgepriv.artifact.blocks import simplest
from edgepriv.artifact.build import serialized
from edgepriv.artifact.contract import Contract
from edgepriv.artifact.export import prove_kernels
from edgepriv.artifact.fold import drop_unused_initializers, fold_batch_norms
from edgepriv.artifact.foreign_graph import Weight, at_one_opset, readied, turn, weights_of, with_values
from edgepriv.artifact.foreign_integers import integers_of_weights
from edgepriv.artifact.parity import Parity, compare, in_time, tolerance_of
from edgepriv.artifact.session import agree_on, answers, optimized_graph, predict, started
from edgepriv.artifact.small import fitted
from edgepriv.artifact.strip import strip
from edgepriv.errors import UserError
from edgepriv.recipe import Export, Quantize
from edgepriv.training.quantization import QuantizedTensor

PACKED_BY = "edgepriv_packed"
"""Metadata of a foreign file that edgepriv packed: it is still read as a foreign one, which does not say what it returns."""


@dataclass(frozen=True)
class Packed:
    """``content``: the bytes of the .onnx. ``weights``: all that could be packed. ``integers``: of those that are.
    ``left_float``: weight -> why it is not. ``packed_linears``, ``dequantized``: as in ``build.Built``. ``layout``: a sentence
    where the weights are not laid out as the profile says."""

    content: bytes
    weights: Mapping[str, Weight]
    integers: Mapping[str, QuantizedTensor]
    left_float: Mapping[str, str]
    packed_linears: int
    dequantized: int
    layout: str | None = None


def pack_graph(model: onnx.ModelProto, rule: Quantize, settings: Export) -> Packed:
    """Keep a graph and replace the weights of its convolutions, Linears and embeddings by packed integers.

    Args:
        model: the float graph with all of its weights; left as it is.
        rule: bits, quantizer and granularity.
        settings: of which the profile counts.

    Returns:
        The file, and what is in it.

    Raises:
        UserError: for a graph that is quantized already or has no float weight, and for a rule that does not fit it.
    """
    parsed = readied(at_one_opset(model))
    graph = parsed.graph
    weights, left_float = weights_of(graph)
    if not weights:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(left_float.items())[:3])
        raise UserError(
            f"the model has no float32 weights of convolutions, Linears or embeddings ({why or 'none at all'})"
        )
    integers = integers_of_weights(weights, rule)
    turn(graph, {name: weights[name] for name in integers})
    kept = {entry.key: entry.value for entry in model.metadata_props}
    folded = fold_batch_norms(graph, {name: simplest(tensor) for name, tensor in integers.items()})
    outputs = [(value.name, value.shape, value.type) for value in graph.outputs]
    lower, layout = fitted(settings, integers)
    lowered = lower(graph, folded, settings)
    for value, (name, shape, kind) in zip(graph.outputs, outputs, strict=True):
        value.name, value.shape, value.type = name, shape, kind  # a packed Linear at the end has an output of its own
    drop_unused_initializers(graph)
    if lowered.packed_linears:
        parsed.opset_imports["com.microsoft"] = 1
    if not any(attribute.type in _GRAPHS for node in graph for attribute in node.attributes.values()):
        strip(parsed)  # a branch or a loop may have names of its own that the short ones would hide
    widths = sorted({tensor.bits for tensor in integers.values()} or {32})
    parsed.metadata_props.update(
        kept | {PACKED_BY: version("edgepriv"), "profile": settings.profile, "bits": ",".join(map(str, widths))}
    )
    by_recipe = {name: "the recipe leaves it at 32 bits" for name in weights if integers and name not in integers}
    return Packed(
        serialized(parsed),
        weights,
        integers,
        {**left_float, **by_recipe, **lowered.left_float},
        lowered.packed_linears,
        lowered.dequantized,
        layout,
    )


_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def unpacked(model: onnx.ModelProto, packed: Packed) -> onnx.ModelProto:
    """The user's own graph with the float numbers that the integers stand for, in its own opset and with its batch norms.

    Args:
        model: the float graph.
        packed: what was made of it.

    Returns:
        A copy, against which the packed file is proven.
    """
    rounded = {name: tensor.dequantize() for name, tensor in packed.integers.items()}
    weights = packed.weights
    in_place = {name: array.T if weights[name].turned else array for name, array in rounded.items()}
    return with_values(model, in_place)


def prove_packed(
    model: onnx.ModelProto, packed: Packed, contract: Contract, x: np.ndarray
) -> tuple[Parity, ort.InferenceSession]:
    """Compare the packed bytes with the user's own graph on the numbers that the integers stand for, both in onnxruntime.

    Args:
        model: the float graph.
        packed: what was made of it.
        contract: how both are read.
        x: float32 [n, ...], as ``predict`` takes them.

    Returns:
        How far they are apart, and the session of the packed file.

    Raises:
        UserError: when a probability differs by more than the rounding of float32 allows, or a label changes; when weights
            would be unpacked at inference though the profile restores them at load.
    """
    own = started(packed.content, "the packed model")
    expected = started(unpacked(model, packed).SerializeToString(), "the model")
    for session in (own, expected):
        agree_on(session, contract)
    pairs = [(answers(expected, part), predict(expected, part), predict(own, part)) for part in in_time(x)]
    scores, wanted, actual = (np.concatenate(side) for side in zip(*pairs, strict=True))
    tolerance = tolerance_of(scores) if contract.returns == "logits" else tolerance_of(wanted)
    parity = replace(compare(wanted, actual), tolerance=tolerance)
    if parity.labels_changed or parity.max_difference is None or not parity.max_difference <= tolerance:
        raise UserError(
            f"the packed file does not compute what its integers stand for: on {parity.n} inputs probabilities differ by up to "
            f"{parity.max_difference:.2g} (at most {tolerance:.2g} is allowed) and {parity.labels_changed} labels change"
        )
    prove_kernels(optimized_graph(packed.content), packed.packed_linears, packed.dequantized)
    return parity, own
