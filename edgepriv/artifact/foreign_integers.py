"""The integers of the weights of a foreign graph, by the same rules and quantizers as those of a network in torch."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch

from edgepriv.artifact.foreign_graph import Weight
from edgepriv.errors import UserError
from edgepriv.recipe import FULL_WIDTH, Quantize, bit_rules
from edgepriv.training.quantization import QuantizedTensor, quantized_tensor
from edgepriv.training.quantizers import quantizer_of, refuse_unfit

_SHOWN = 12


def widths_of(weights: Mapping[str, Weight], rule: Quantize) -> dict[str, int]:
    """Bits of each weight to quantize.

    Args:
        weights: of the graph, in its order.
        rule: bits by the name of a weight; ``first_last`` and ``last_k`` go by that order.

    Returns:
        Name -> bits below 32.

    Raises:
        UserError: for a rule that matches no weight, or asks for more of them than there are.
    """
    layers = {name: weight.layer for name, weight in weights.items()}
    listed = ", ".join([*layers.values()][:_SHOWN]) + (", ..." if len(layers) > _SHOWN else "")
    for pattern, _ in bit_rules(rule.bits):
        if pattern != "*" and not any(fnmatchcase(layer, pattern) for layer in layers.values()):
            raise UserError(f"bits {rule.bits!r}: {pattern} matches no layer: the model's are {listed or 'none'}")
    bits = {name: rule.bits_of(layer) for name, layer in layers.items()}
    bits = {name: width for name, width in bits.items() if width < FULL_WIDTH}
    if rule.last_k is not None:
        if rule.last_k > len(layers):
            raise UserError(f"--last-k {rule.last_k}: the model has {len(layers)} layers that can be quantized")
        bits = dict(list(bits.items())[-rule.last_k :])
    if rule.first_last is not None and bits:
        bits |= dict.fromkeys((next(iter(bits)), next(reversed(bits))), rule.first_last)
    return {name: width for name, width in bits.items() if width < FULL_WIDTH}


def integers_of_weights(weights: Mapping[str, Weight], rule: Quantize) -> dict[str, QuantizedTensor]:
    """Weights of a graph rounded to the grid that a rule lays over them.

    Args:
        weights: of the graph.
        rule: quantizer, bits and granularity.

    Returns:
        Name -> integers, rows first; empty for 32 bits.

    Raises:
        UserError: for a quantizer that works in training alone, or cannot do what the rule asks.
    """
    refuse_unfit(rule)
    bits = widths_of(weights, rule)
    if bits and quantizer_of(rule).learned:
        raise UserError(
            f"--quantizer {rule.quantizer} learns its scales in training, and a file from elsewhere is rounded as it is: take "
            "minmax or famili"
        )
    return {name: quantized_tensor(torch.tensor(weights[name].rows), width, rule) for name, width in bits.items()}
