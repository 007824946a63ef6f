"""Which weights stay float in a quantized file, and why: none is left out in silence."""

from collections.abc import Iterator, Mapping

import onnx_ir as ir
from torch import nn

from edgepriv.recipe import Quantize
from edgepriv.training.quantization import QuantizedTensor, widths

BY_RECIPE = "the recipe leaves it at 32 bits"
_REASONS = {
    "ConvTranspose": "a transposed convolution, whose output channels do not lie on the axis that scales are laid along",
    "Gather": "an embedding, a table that is looked up and not multiplied with",
}


def weights_left_float(
    graph: ir.Graph, network: nn.Module, weights: Mapping[str, QuantizedTensor], names: Mapping[str, str]
) -> dict[str, str]:
    """The weights that have no integers, and why.

    Vectors are not listed: biases, batch norms and other numbers for each channel.

    Args:
        graph: of the network.
        network: whose parameters they are.
        weights: integers by their name in the graph.
        names: name in the network -> name in the graph.

    Returns:
        Parameter -> reason; empty where nothing is quantized.
    """
    if not weights:
        return {}
    quantizable = widths(network, Quantize(bits=8))
    reasons = {}
    for name, parameter in network.named_parameters():
        value = graph.initializers.get(names[name])
        if value is None or names[name] in weights or parameter.numel() <= max(parameter.shape, default=1):
            continue
        readers = sorted({node.op_type for node in _readers(value)})
        if not readers:
            continue
        if name in quantizable:
            reasons[name] = BY_RECIPE
        else:
            why = next((_REASONS[op] for op in readers if op in _REASONS), None)
            if isinstance(network.get_submodule(name.rpartition(".")[0]), nn.RNNBase):
                why = "a recurrent layer, whose weights one operator reads in its own layout"
            reasons[name] = (
                why or f"not the weight of a convolution, Linear or attention (read by {', '.join(readers)})"
            )
    return reasons


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes that compute with a value, behind those that only turn it."""
    for node, _ in value.uses():
        if node.op_type in ("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Cast", "Identity"):
            yield from _readers(node.outputs[0])
        else:
            yield node
