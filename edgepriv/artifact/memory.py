"""Profile ``memory``: weights stay packed while they are used, and activations of convolutions have channels last."""

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from edgepriv.artifact.emit import Emitter
from edgepriv.artifact.fold import drop_unused_initializers
from edgepriv.artifact.im2col import Windows, window_matrix, windows_of
from edgepriv.artifact.lower import Lowered, linear_uses, restore, weights_read
from edgepriv.artifact.packed import PACKED_BITS, Compute, pack_matrix, replace_linears
from edgepriv.artifact.portable import dequantize
from edgepriv.recipe import Export
from edgepriv.training.quantization import QuantizedTensor

PACKED_FROM = 2**13
"""Weights of a layer from which it stays packed: below, its float32 copy takes less than 32 KiB."""
WINDOWS_PER_WEIGHT = 2
"""A convolution is a packed matrix product while the matrix of its windows, for one example, has at most so many numbers for
each weight: positions of the output <= 2 * channels of the output. Otherwise the windows would take more memory than the
restored weights, which are few there. Measured on ResNet-18 for 32 x 32 pixels (peak / float, p50 / float): none packed but
the last stages (ratio 1) 0.18, 1.02; ratio 2 0.155, 1.02; all packed 0.17, 1.14."""
DEQUANTIZED_FROM = 2**16
"""Weights of a convolution in groups, which is no single matrix product, from which DequantizeLinear unpacks them at every
inference. Such a convolution is computed without onnxruntime's blocked layout, so smaller ones are restored at load."""


def lower_for_memory(graph: ir.Graph, weights: Mapping[str, QuantizedTensor], settings: Export) -> Lowered:
    """As little memory as default options allow, at about the speed of float32.

    Linears and dense convolutions become MatMulNBits; large weights of convolutions in groups are unpacked at inference;
    what would save nothing packed is restored at load, as in ``latency``, and so are weights of more than 8 bits, which no
    kernel multiplies by. The transposes around each convolution are left
    to onnxruntime, which cancels those between two of them.

    Args:
        graph: changed in place; its initializers under the names in ``weights`` are replaced.
        weights: integers by the name of their parameter.
        settings: of which ``compute`` is used.

    Returns:
        How many linears are packed, which parameters stayed float and why, and how many nodes unpack at every inference.
    """
    emit = Emitter(graph)
    left_float: dict[str, str] = {}
    channels_last: dict[ir.Value, ir.Value] = {}
    dequantized = 0
    for name, tensor, weight in weights_read(graph, weights, left_float):
        large = tensor.integers.size >= PACKED_FROM and tensor.bits <= PACKED_BITS
        linears = linear_uses(weight) if large and tensor.integers.ndim == 2 else None
        convolutions = _packable_convolutions(weight, tensor) if large else None
        in_groups = all(node.op_type == "Conv" and _groups(node) > 1 for node, _ in weight.uses())
        graph.initializers.pop(name)
        if linears is not None:
            replace_linears(emit, pack_matrix(emit, name, tensor, settings.in_kernels), linears)
        elif convolutions is not None:
            _replace_convolutions(emit, name, tensor, convolutions, settings.in_kernels, channels_last)
        elif in_groups and large and tensor.integers.size >= DEQUANTIZED_FROM:
            restored, nodes = dequantize(emit, name, tensor, weight)
            weight.replace_all_uses_with(restored)
            dequantized += nodes
        else:
            weight.replace_all_uses_with(restore(emit, name, tensor))
    drop_unused_initializers(graph)
    return Lowered(sum(node.op_type == "MatMulNBits" for node in graph), left_float, dequantized)


def _groups(node: ir.Node) -> int:
    return node.attributes["group"].as_int() if "group" in node.attributes else 1


def _packable_convolutions(weight: ir.Value, tensor: QuantizedTensor) -> list[tuple[ir.Node, Windows]] | None:
    """Every use of a weight, if all are dense convolutions that the cost rules want packed."""
    if tensor.integers.ndim < 3:
        return None
    convolutions = []
    for node, index in weight.uses():
        windows = windows_of(node) if node.op_type == "Conv" and index == 1 else None
        if windows is None or len(windows.table) > WINDOWS_PER_WEIGHT * len(tensor.integers):
            return None
        convolutions.append((node, windows))
    return convolutions


def _replace_convolutions(
    emit: Emitter,
    name: str,
    tensor: QuantizedTensor,
    convolutions: list[tuple[ir.Node, Windows]],
    compute: Compute,
    channels_last: dict[ir.Value, ir.Value],
) -> None:
    """Compute the convolutions that share one weight by one packed matrix. ``channels_last``: values already transposed."""
    rows, channels, *kernel = tensor.integers.shape
    by_channel = tensor.block is not None
    integers = tensor.integers.reshape(rows, channels, -1)
    taps = list(range(integers.shape[2]))
    if not by_channel:
        # Small images reach only the middle of a kernel: the other taps stay in the file, but are not loaded.
        met = set().union(*(windows.met for _, windows in convolutions))
        taps = sorted(met) if channels % 2 == 0 else taps
        integers = integers.transpose(0, 2, 1)
    matrix = pack_matrix(
        emit, name, replace(tensor, integers=integers.reshape(rows, -1)), compute, taps, of=integers[0].size // channels
    )
    last, first = [0, *range(2, len(kernel) + 2), 1], [0, len(kernel) + 1, *range(1, len(kernel) + 1)]
    for node, windows in convolutions:
        x, old = node.inputs[0], node.outputs[0]
        assert x is not None
        if x not in channels_last:
            channels_last[x] = _transposed(emit.graph, _first_reader(emit.graph, x), x, last)
        columns = window_matrix(emit, node, channels_last[x], windows, channels, taps, by_channel=by_channel)
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        product = matrix.multiply(emit.graph, node, columns, bias)
        output = _transposed(emit.graph, node, product, first)
        output.shape, output.type = old.shape, old.type
        old.replace_all_uses_with(output, replace_graph_outputs=True)
        emit.graph.remove(node, safe=True)


def _first_reader(graph: ir.Graph, x: ir.Value) -> ir.Node:
    readers = {node for node, _ in x.uses()}
    return next(node for node in graph if node in readers)


def _transposed(graph: ir.Graph, before: ir.Node, x: ir.Value, perm: list[int]) -> ir.Value:
    node = ir.node("Transpose", [x], {"perm": perm})
    graph.insert_before(before, node)
    return node.outputs[0]
