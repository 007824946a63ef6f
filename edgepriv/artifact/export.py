"""A trained classifier -> model.onnx, proven before it appears."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from torch import nn

from edgepriv.artifact.build import Built, build_graph
from edgepriv.artifact.computing import FLOAT, STATIC, Calibration, Candidate, choices_of, compared, in_order, record_of
from edgepriv.artifact.contract import source_of
from edgepriv.artifact.head import bytes_of, cut_open, without_head
from edgepriv.artifact.layers import LayerSummary, layers
from edgepriv.artifact.lower import Static
from edgepriv.artifact.ort_format import to_ort
from edgepriv.artifact.parity import Parity, TooFar, measure_int8, prove_head, prove_parity, prove_rounded
from edgepriv.artifact.session import histogram, open_session, optimized_graph
from edgepriv.artifact.small import fitted
from edgepriv.artifact.trace import network_of, trace
from edgepriv.errors import UserError
from edgepriv.files import write_bytes, written_aside
from edgepriv.heads.masks import Mask
from edgepriv.models.rounded_activations import exact_activations, ranges_of
from edgepriv.recipe import Export
from edgepriv.training.quantization import QuantizedTensor

_PACKED = (
    TensorProto.UINT4,
    TensorProto.INT4,
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.UINT16,
    TensorProto.INT16,
)


@dataclass(frozen=True)
class Exported:
    """What was written and what was proven about it. ``ops``: operators of the optimized graph with their counts.
    ``left_float``: parameter of a quantized file -> why it is not in it as integers. ``ort``: name, sha256 and size of the
    .ort file, if one was asked for. ``batch``: the only number of inputs that the file takes at a time, None for any.
    ``compute``: as ``computing.record_of`` returns it, None for a file that was asked for with float activations.
    ``layout``: a sentence where the weights are not laid out as the profile says."""

    path: Path
    size_bytes: int
    sha256: str
    parity: Parity
    ops: dict[str, int]
    layers: list[LayerSummary]
    left_float: dict[str, str]
    ort: dict[str, Any] | None = None
    batch: int | None = None
    compute: dict[str, Any] | None = None
    layout: str | None = None


# The network with its integers, and all that a file may carry, or is proven on, beside it.
def export(
    classifier: nn.Module,
    weights: Mapping[str, QuantizedTensor],
    *,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    x: np.ndarray,
    path: Path,
    settings: Export = Export(),  # noqa: B008 - frozen
    head: Mask | None = None,
    table: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
) -> Exported:
    """Write a proven .onnx file, or nothing.

    Two proofs are made on the bytes that ship. First, torch and onnxruntime agree (``parity.prove_parity``). Second, in the
    graph that onnxruntime executes, weights are unpacked at inference only where the profile means them to be, every
    packed Linear runs as MatMulNBits, and what is meant to compute on integers does. Where activations are rounded the first
    proof is made on what the same integers give with float activations, and the difference of the shipped bytes is measured;
    of a network that was trained with rounded activations they must compute what it does with these
    (``parity.prove_rounded``).
    With a ``head`` the first proof is made on the file without it, and one more shows that the whole file answers what the head
    makes of those answers.

    Args:
        classifier: in eval mode, with the weights that ship.
        weights: integers by parameter name in ``classifier.network``; empty for the float twin.
        input_shape: of one example.
        class_names: by class, at least two.
        x: real inputs float32 [n, *input_shape] in [0, 1], 1,000 or all there are.
        path: an existing file is replaced; a .ort file that ``settings`` ask for is written beside it.
        settings: profile, input, output and compute.
        head: a mask behind the softmax, None for none.
        table: how the rows of a table become inputs, for the metadata; None for inputs that are not such rows.
        calibration: what the ranges of activations come from; None for none, and no fixed grids.

    Returns:
        What was written, and the proofs.

    Raises:
        UserError: when a proof fails, or the network cannot be exported.
    """
    with exact_activations(network_of(classifier)):
        traced = trace(classifier, input_shape)
    choices = choices_of(settings, weights, calibration)

    def build(compute: str) -> Built:
        own = settings.model_copy(update={"compute": compute})
        return build_graph(
            classifier,
            weights,
            input_shape=input_shape,
            class_names=class_names,
            settings=own,
            head=head,
            table=table,
            traced=traced.clone(),
            calibration=None if calibration is None else calibration.source,
            lowering=fitted(own, weights)[0],
        )

    taken, parity, compute = _chosen(classifier, weights, build, choices, x, settings.compute, calibration)
    built = taken.built
    with written_aside(path) as aside:
        aside.write_bytes(built.content)
        graph = onnx.load_from_string(built.content)
        whole = open_session(built.content)
        if head is not None:
            before = open_session(bytes_of(cut_open(graph)))
            parity = replace(parity, head=prove_head(head, before, whole, x))
        optimized = prove_runs(built)
        ort = to_ort(aside, x, settings.profile) if settings.ort else None
    facts = None
    if ort is not None:
        ort_path = path.with_suffix(".ort")
        write_bytes(ort_path, ort)
        facts = {"file": ort_path.name, "sha256": hashlib.sha256(ort).hexdigest(), "size_bytes": len(ort)}
    return Exported(
        path,
        len(built.content),
        hashlib.sha256(built.content).hexdigest(),
        parity,
        histogram(optimized),
        layers(graph),
        dict(built.left_float),
        facts,
        source_of(whole).fixed_batch,
        compute,
        fitted(settings.model_copy(update={"compute": taken.compute}), weights)[1],
    )


# What the export is of, how it is built, and what may be chosen.
def _chosen(
    classifier: nn.Module,
    weights: Mapping[str, QuantizedTensor],
    build: Callable[[str], Built],
    choices: list[str],
    x: np.ndarray,
    asked: str,
    calibration: Calibration | None,
) -> tuple[Candidate, Parity, dict[str, Any] | None]:
    """The form that ships, proven, and the record of the choice."""
    if len(choices) == 1:
        candidate = Candidate(choices[0], build(choices[0]))
        parity = _proven(classifier, weights, build, candidate, x)
        return candidate, parity, None if asked == FLOAT else record_of(asked, candidate, [], {}, calibration)
    refused: dict[str, str] = {}
    built: dict[str, Built] = {}
    for name in choices:
        own = build(name)
        try:
            prove_runs(own)
            built[name] = own
        except UserError as error:
            if name == FLOAT:
                raise
            refused[name] = str(error)
    timed = compared(built, x)
    for candidate in in_order(timed, asked):
        try:
            parity = _proven(classifier, weights, build, candidate, x)
        except TooFar as error:
            refused[candidate.compute] = str(error)
            continue
        if candidate.compute == FLOAT and asked == "int8" and refused:
            break
        return candidate, parity, record_of(asked, candidate, timed, refused, calibration)
    raise UserError("; ".join(refused.values()))


def _proven(
    classifier: nn.Module,
    weights: Mapping[str, QuantizedTensor],
    build: Callable[[str], Built],
    candidate: Candidate,
    x: np.ndarray,
) -> Parity:
    """Parity of a form with torch, or with what it computes on float activations and by how much those make a difference."""
    open_session(candidate.built.content)  # what no runtime opens is refused in its words
    bare = without_head(onnx.load_from_string(candidate.built.content))
    session = open_session(bytes_of(bare))
    trained = candidate.compute == STATIC and ranges_of(network_of(classifier)) is not None
    with exact_activations(network_of(classifier)):
        if not candidate.compute.startswith("int8"):
            return prove_parity(classifier, weights, session, x)
        if candidate.compute == STATIC:
            exact = bytes_of(without_head(onnx.load_from_string(build(FLOAT).content)))
        else:
            exact = with_float_activations(bare)
        parity = prove_parity(classifier, weights, open_session(exact), x)
        parity = replace(parity, int8=measure_int8(classifier, weights, session, x))
    return replace(parity, trained=prove_rounded(classifier, weights, session, x)) if trained else parity


def with_float_activations(model: onnx.ModelProto) -> bytes:
    """The same graph and integers, with packed layers that compute with float32 activations (accuracy_level 1).

    Args:
        model: left as it is.

    Returns:
        The file.
    """
    exact = onnx.ModelProto()
    exact.CopyFrom(model)
    for node in exact.graph.node:
        for attribute in node.attribute:
            if node.op_type == "MatMulNBits" and attribute.name == "accuracy_level":
                attribute.i = 1
    return bytes_of(exact)


def prove_runs(built: Built) -> onnx.ModelProto:
    """Refuse a file of which onnxruntime runs something else than its layout means.

    Args:
        built: the file.

    Returns:
        The graph that onnxruntime executes.

    Raises:
        UserError: where it would unpack weights at every inference, or compute in float what is laid out for integers.
    """
    optimized = optimized_graph(built.content)
    if built.static is None:
        prove_kernels(optimized, built.packed_linears, built.dequantized)
    else:
        prove_integers(optimized, built.static)
    return optimized


def prove_integers(optimized: onnx.ModelProto, static: Static) -> None:
    """Refuse a file on fixed grids whose products would run in float.

    Args:
        optimized: the graph that onnxruntime executes.
        static: what was laid out for integers.

    Raises:
        UserError: where fewer products run on integers.
    """
    running = Counter(node.op_type for node in optimized.graph.node)
    for op_types, meant, called in (
        (("QLinearConv",), static.convolutions, "convolutions"),
        (("QGemm", "QLinearMatMul", "MatMulIntegerToFloat"), static.matrices, "matrix products"),
    ):
        on_integers = sum(running[op_type] for op_type in op_types)
        if on_integers < meant:
            raise UserError(
                f"onnxruntime would run {on_integers} of {meant} {called} on integers: export with --compute int8-dynamic or "
                "float32, or with a tested version of onnxruntime"
            )


def prove_kernels(optimized: onnx.ModelProto, packed_linears: int, dequantized: int = 0) -> None:
    """Refuse a file whose weights would be unpacked where they should not be.

    onnxruntime may fuse a DequantizeLinear and the MatMul behind it to one more MatMulNBits, and repeat one for each of its
    readers.

    Args:
        optimized: the graph that onnxruntime executes.
        packed_linears: MatMulNBits that read packed integers.
        dequantized: DequantizeLinear that do.

    Raises:
        UserError: unless these and no others read them.
    """
    packed = {tensor.name for tensor in optimized.graph.initializer if tensor.data_type in _PACKED}
    readers = Counter(node.op_type for node in optimized.graph.node if packed & {*node.input})
    running = sum(node.op_type == "MatMulNBits" for node in optimized.graph.node)
    unpacked = {node.input[0] for node in optimized.graph.node if node.op_type == "DequantizeLinear"} & packed
    fused = running - packed_linears if dequantized else 0
    if readers.keys() - {"MatMulNBits", "DequantizeLinear"} or len(unpacked) + max(fused, 0) != dequantized:
        readers.pop("MatMulNBits", None)
        raise UserError(
            f"onnxruntime would unpack weights at every inference (by {', '.join(sorted(readers)) or 'nothing'}), where "
            f"{dequantized} DequantizeLinear were meant to: export with a tested version of onnxruntime"
        )
    if running < packed_linears or (running > packed_linears and not dequantized):
        raise UserError(
            f"{packed_linears} layers were packed, but onnxruntime runs {running} as MatMulNBits: "
            "export with a tested version of onnxruntime"
        )
