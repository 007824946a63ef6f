"""Weight quantizers: the grid of each tensor, fake quantization for training, integers for the artifact."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.recipe import FULL_WIDTH, Quantize

Grid = tuple[Tensor, Tensor]
"""scale (float32, > 0) and zero_point (float32 whole numbers), both [C, 1, ...] or [1, 1, ...]."""


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight as it ships: ``weight = (integers - zero_point) * scale`` along axis 0.

    ``integers``: uint8, the weight's own shape, 0..2^bits - 1. ``scale``: float32 [C] or [1], > 0.
    ``zero_point``: uint8, shape of ``scale``. ``bits``: 2 to 8.
    """

    integers: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    bits: int

    def dequantize(self) -> np.ndarray:
        """float32 weight that the integers stand for."""
        along_rows = (-1,) + (1,) * (self.integers.ndim - 1)
        offset = self.integers.astype(np.float32) - self.zero_point.astype(np.float32).reshape(along_rows)
        return offset * self.scale.reshape(along_rows)


def minmax(weight: Tensor, bits: int, granularity: str) -> Grid:
    """Min-max uniform grid (Drif & Berrabah 2025, eq. 5-6), made into a real integer zero_point.

    The range is widened to contain 0 and r_min is nudged to a multiple of the scale, z = round(-r_min / s), so that
    W_Q = s * (clamp(round(W/s) + z, 0, 2^b - 1) - z). The nudge shifts the grid by less than s/2.
    """
    rows = weight.reshape(1, -1) if granularity == "tensor" else weight.flatten(1)
    low = rows.amin(dim=1).clamp(max=0)
    high = rows.amax(dim=1).clamp(min=0)
    steps = 2**bits - 1
    scale = (high / steps - low / steps).clamp(min=torch.finfo(torch.float32).tiny)
    scale = torch.where(high > low, scale, torch.ones_like(scale))
    zero_point = (-low / scale).round().clamp(0, steps)
    along_rows = (-1,) + (1,) * (weight.ndim - 1)
    return scale.view(along_rows), zero_point.view(along_rows)


QUANTIZERS: dict[str, Callable[[Tensor, int, str], Grid]] = {"minmax": minmax}


def grid_of(weight: Tensor, bits: int, rule: Quantize) -> Grid:
    """The grid that ``rule`` lays over ``weight``. Raises UserError for an unknown quantizer."""
    if rule.quantizer not in QUANTIZERS:
        raise UserError(f"unknown quantizer {rule.quantizer!r}: known are {', '.join(QUANTIZERS)}")
    return QUANTIZERS[rule.quantizer](weight, bits, rule.granularity)


def fake_quantize(weight: Tensor, bits: int, rule: Quantize) -> Tensor:
    """``weight`` rounded to its grid; the gradient passes straight through."""
    with torch.no_grad():
        scale, zero_point = grid_of(weight, bits, rule)
        rounded = ((weight / scale).round() + zero_point).clamp(0, 2**bits - 1).sub(zero_point).mul(scale)
    return weight + (rounded - weight).detach()


def widths(network: nn.Module, rule: Quantize) -> dict[str, int]:
    """Bits of each weight to quantize, by parameter name: every Conv, Linear and attention projection that the rule
    gives fewer than 32 bits. A parameter shared by several layers is listed once, under its first name."""
    parameters = dict(network.named_parameters())
    found: dict[str, int] = {}
    for layer, module in network.named_modules():
        names = []
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            names = ["weight"]
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            names = ["in_proj_weight"]
        bits = rule.bits_of(layer)
        for name in names:
            full_name = f"{layer}.{name}" if layer else name
            if bits < FULL_WIDTH and full_name in parameters:
                found[full_name] = bits
    return found


def fake_quantized(network: nn.Module, rule: Quantize) -> dict[str, Tensor]:
    """Fake-quantized weights by parameter name, for ``torch.func.functional_call``."""
    parameters = dict(network.named_parameters())
    return {name: fake_quantize(parameters[name], bits, rule) for name, bits in widths(network, rule).items()}


@torch.no_grad()
def quantize_weights(network: nn.Module, rule: Quantize) -> dict[str, QuantizedTensor]:
    """The integers that ship, by parameter name in ``network``; empty when the rule asks for 32 bits everywhere."""
    parameters = dict(network.named_parameters())
    quantized = {}
    for name, bits in widths(network, rule).items():
        weight = parameters[name].detach().float()
        scale, zero_point = grid_of(weight, bits, rule)
        integers = ((weight / scale).round() + zero_point).clamp(0, 2**bits - 1)
        quantized[name] = QuantizedTensor(
            integers.to(torch.uint8).numpy(),
            scale.flatten().numpy(),
            zero_point.flatten().to(torch.uint8).numpy(),
            bits,
        )
    return quantized


def load_quantized(network: nn.Module, weights: dict[str, QuantizedTensor]) -> None:
    """Overwrite the network's weights, in place, by the values that the integers stand for."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[name].copy_(torch.from_numpy(tensor.dequantize()))
