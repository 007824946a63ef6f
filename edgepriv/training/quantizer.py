"""Weight quantizers: the grid of each tensor, fake quantization for training, integers for the artifact."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepriv.errors import UserError
from edgepriv.recipe import FULL_WIDTH, Quantize
from edgepriv.training.stacked import StackedLinear, StackedMLP

Grid = tuple[Tensor, Tensor]
"""scale (float32, > 0) and zero_point (float32 whole numbers) of each group of weights, both [G]."""


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight as it ships: ``weight = (integers - zero_point) * scale``, each group of weights with its own pair.

    ``integers``: uint8, the weight's own shape, 0..2^bits - 1. ``scale``: float32 > 0, [C] along axis 0, [1], or
    [C, ceil(K / block)] for blocks of ``block`` consecutive weights out of the K of a channel (the last one may be
    shorter). ``zero_point``: uint8, shape of ``scale``. ``bits``: 2 to 8.
    """

    integers: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    bits: int
    block: int | None = None

    def dequantize(self) -> np.ndarray:
        """float32 weight that the integers stand for."""
        offset = self.integers.astype(np.float32) - self.spread(self.zero_point.astype(np.float32))
        return offset * self.spread(self.scale)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """One number for each group (shape of ``scale``) -> an array that broadcasts over the weight."""
        if self.block is None:
            return values.reshape((-1,) + (1,) * (self.integers.ndim - 1))
        columns = self.integers[0].size
        return np.repeat(values, self.block, axis=1)[:, :columns].reshape(self.integers.shape)


def minmax(groups: Tensor, bits: int) -> Grid:
    """Min-max uniform grid of ``groups`` [G, n] (Drif & Berrabah 2025, eq. 5-6), made into a real integer zero_point.

    The range is widened to contain 0 and r_min is nudged to a multiple of the scale, z = round(-r_min / s), so that
    W_Q = s * (clamp(round(W/s) + z, 0, 2^b - 1) - z). The nudge shifts the grid by less than s/2.
    """
    low = groups.amin(dim=1).clamp(max=0)
    high = groups.amax(dim=1).clamp(min=0)
    steps = 2**bits - 1
    scale = (high / steps - low / steps).clamp(min=torch.finfo(torch.float32).tiny)
    scale = torch.where(high > low, scale, torch.ones_like(scale))
    return scale, (-low / scale).round().clamp(0, steps)


QUANTIZERS: dict[str, Callable[[Tensor, int], Grid]] = {"minmax": minmax}


def grid_of(weight: Tensor, bits: int, rule: Quantize) -> Grid:
    """The grid that ``rule`` lays over ``weight``, group by group. Raises UserError for an unknown quantizer."""
    if rule.quantizer not in QUANTIZERS:
        raise UserError(f"unknown quantizer {rule.quantizer!r}: known are {', '.join(QUANTIZERS)}")
    return QUANTIZERS[rule.quantizer](_groups(weight, rule), bits)


def _groups(weight: Tensor, rule: Quantize) -> Tensor:
    """[G, n]: the weights that share a scale. The end of a channel is filled up with zeros, which every range holds."""
    if rule.granularity == "tensor":
        return weight.reshape(1, -1)
    rows = weight.flatten(1)
    if rule.block is None:
        return rows
    missing = -rows.shape[1] % rule.block
    return functional.pad(rows, (0, missing)).reshape(-1, rule.block)


def _spread(values: Tensor, weight: Tensor, rule: Quantize) -> Tensor:
    """One number for each group, [G] -> a tensor that broadcasts over ``weight``."""
    if rule.block is None:
        return values.view((-1,) + (1,) * (weight.ndim - 1))
    rows = values.view(len(weight), -1).repeat_interleave(rule.block, dim=1)
    return rows[:, : weight[0].numel()].view(weight.shape)


def fake_quantize(weight: Tensor, bits: int, rule: Quantize) -> Tensor:
    """``weight`` rounded to its grid; the gradient passes straight through."""
    with torch.no_grad():
        scale, zero_point = (_spread(values, weight, rule) for values in grid_of(weight, bits, rule))
        rounded = ((weight / scale).round() + zero_point).clamp(0, 2**bits - 1).sub(zero_point).mul(scale)
    return weight + (rounded - weight).detach()


def widths(network: nn.Module, rule: Quantize) -> dict[str, int]:
    """Bits of each weight to quantize, by parameter name: every Conv, Linear and attention projection that the rule
    gives fewer than 32 bits, in the network's order. A parameter shared by several layers is listed once, under its
    first name."""
    parameters = dict(network.named_parameters())
    found: dict[str, int] = {}
    for layer, module in network.named_modules():
        names = []
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear | StackedLinear):
            names = ["weight"]
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            names = ["in_proj_weight"]
        bits = rule.bits_of(layer)
        for name in names:
            full_name = f"{layer}.{name}" if layer else name
            if bits < FULL_WIDTH and full_name in parameters:
                found[full_name] = bits
    if rule.first_last is not None and found:
        found |= dict.fromkeys((next(iter(found)), next(reversed(found))), rule.first_last)
    return {name: bits for name, bits in found.items() if bits < FULL_WIDTH}


def fake_quantized(network: nn.Module, rule: Quantize) -> dict[str, Tensor]:
    """Fake-quantized weights by parameter name, for ``torch.func.functional_call``; of a stack, each model's by itself."""
    parameters = dict(network.named_parameters())
    rounded = _each_by_itself if isinstance(network, StackedMLP) else fake_quantize
    return {name: rounded(parameters[name], bits, rule) for name, bits in widths(network, rule).items()}


def _each_by_itself(weights: Tensor, bits: int, rule: Quantize) -> Tensor:
    return torch.vmap(lambda weight: fake_quantize(weight, bits, rule))(weights)


@torch.no_grad()
def quantize_weights(network: nn.Module, rule: Quantize) -> dict[str, QuantizedTensor]:
    """The integers that ship, by parameter name in ``network``; empty when the rule asks for 32 bits everywhere."""
    parameters = dict(network.named_parameters())
    quantized = {}
    for name, bits in widths(network, rule).items():
        weight = parameters[name].detach().float()
        scale, zero_point = grid_of(weight, bits, rule)
        integers = ((weight / _spread(scale, weight, rule)).round() + _spread(zero_point, weight, rule)).clamp(
            0, 2**bits - 1
        )
        shape = (-1,) if rule.block is None else (len(weight), -1)
        quantized[name] = QuantizedTensor(
            integers.to(torch.uint8).numpy(),
            scale.view(shape).numpy(),
            zero_point.view(shape).to(torch.uint8).numpy(),
            bits,
            rule.block,
        )
    return quantized


def load_quantized(network: nn.Module, weights: dict[str, QuantizedTensor]) -> None:
    """Overwrite the network's weights, in place, by the values that the integers stand for."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[name].copy_(torch.from_numpy(tensor.dequantize()))
