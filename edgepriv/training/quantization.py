"""Weight quantizers: the grid of each tensor, fake quantization for training, integers for the artifact."""

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.models.bake import computed_weights
from edgepriv.models.features import fixed_layers
from edgepriv.models.lsq_steps import attach_step, drop_steps, steps_of
from edgepriv.recipe import FULL_WIDTH, Quantize, bit_rules
from edgepriv.training.quantizers import Grid, lsq_highest, quantizer_of, refuse_unfit
from edgepriv.training.stacked import StackedLinear

_FIXED, _FIXED_BITS = Quantize(), 8
"""How the filters of fixed features are rounded, and to how many bits."""
_MULTIPLIERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, StackedLinear)
"""Layers that multiply with a weight whose output channels lie on its first axis."""


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight as it ships: ``weight = (integers - zero_point) * scale``, each group of weights with its own pair.

    ``integers``: uint8 (uint16 from 9 bits), the weight's shape, 0..2^bits - 1. ``scale``: float32 > 0, [C] along axis 0,
    [1], or [C, ceil(K / block)] for blocks of ``block`` consecutive weights out of the K of a channel (the last one may be
    shorter). ``zero_point``: type of ``integers``, shape of ``scale``. ``bits``: 2 to 16.
    """

    integers: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    bits: int
    block: int | None = None

    def dequantize(self) -> np.ndarray:
        """float32 weight that the integers stand for."""
        offset = self.integers.astype(np.float32) - self.spread(self.zero_point.astype(np.float32))
        weight: np.ndarray = offset * self.spread(self.scale)
        return weight

    def spread(self, values: np.ndarray) -> np.ndarray:
        """One number for each group, spread over the weight.

        Args:
            values: shape of ``scale``.

        Returns:
            An array that broadcasts over the weight.
        """
        if self.block is None:
            return values.reshape((-1,) + (1,) * (self.integers.ndim - 1))
        columns = self.integers[0].size
        return np.repeat(values, self.block, axis=1)[:, :columns].reshape(self.integers.shape)


def grid_of(weight: Tensor, bits: int, rule: Quantize, step: Tensor | None = None) -> Grid:
    """The grid that a rule lays over a weight, group by group.

    Args:
        weight: of a layer, output channels first.
        bits: of its integers.
        rule: quantizer and granularity.
        step: learned scales [G], which win over the quantizer's own.

    Returns:
        Scale and zero point of each group.

    Raises:
        UserError: for an unknown quantizer.
    """
    scale, zero_point = quantizer_of(rule).grid(_groups(weight, rule), bits)
    return (scale if step is None else step.detach()), zero_point


def attach_steps(network: nn.Module, rule: Quantize | None) -> dict[int, list[nn.Parameter]]:
    """What a quantizer that learns its scales needs to be trained: a step beside each weight.

    Args:
        network: changed in place: it gets the first value where there is none yet; by a rule that learns none, and by None, it
            has none afterwards.
        rule: by which it is trained.

    Returns:
        Width in bits -> steps.
    """
    if rule is None or not quantizer_of(rule).learned:
        drop_steps(network)
        return {}
    parameters, present = dict(network.named_parameters()), steps_of(network)
    by_width: dict[int, list[nn.Parameter]] = {}
    for name, bits in widths(network, rule).items():
        step = present.get(name)
        if step is None:
            step = attach_step(network, name, grid_of(parameters[name].detach(), bits, rule)[0])
        by_width.setdefault(bits, []).append(step)
    return by_width


def _groups(weight: Tensor, rule: Quantize) -> Tensor:
    """[G, n]: the weights that share a scale. The end of a channel is filled up with its last weight."""
    if rule.granularity == "tensor":
        return weight.reshape(1, -1)
    rows = weight.flatten(1)
    if rule.block is None:
        return rows
    missing = -rows.shape[1] % rule.block
    return torch.cat([rows, rows[:, -1:].expand(-1, missing)], dim=1).reshape(-1, rule.block)


def _spread(values: Tensor, weight: Tensor, rule: Quantize) -> Tensor:
    """One number for each group, [G] -> a tensor that broadcasts over ``weight``."""
    if rule.block is None:
        return values.view((-1,) + (1,) * (weight.ndim - 1))
    rows = values.view(len(weight), -1).repeat_interleave(rule.block, dim=1)
    return rows[:, : weight[0].numel()].view(weight.shape)


def fake_quantize(weight: Tensor, bits: int, rule: Quantize, step: Tensor | None = None) -> Tensor:
    """A weight rounded to its grid; the gradient passes straight through.

    Args:
        weight: of a layer, output channels first.
        bits: of its integers.
        rule: quantizer and granularity.
        step: see ``_on_learned_grid``.

    Returns:
        Shape of ``weight``.
    """
    quantizer = quantizer_of(rule)
    weight = quantizer.prepared(weight)
    if quantizer.learned:
        return _on_learned_grid(weight, grid_of(weight.detach(), bits, rule)[0] if step is None else step, bits, rule)
    with torch.no_grad():
        scale, zero_point = (_spread(values, weight, rule) for values in grid_of(weight, bits, rule))
        integers = ((weight / scale).round() + zero_point).clamp(0, quantizer.top(bits))
        rounded = integers.sub(zero_point).mul(scale)
    return weight + (rounded - weight).detach()


def _on_learned_grid(weight: Tensor, step: Tensor, bits: int, rule: Quantize) -> Tensor:
    """round(clamp(w/s, -2^(b-1), Qp)) s for ``step`` s [G], one for each of the groups (Esser et al. 2020, eq. 1-2).

    The rounding passes gradients straight through, the clamp passes none to the weights beyond it (eq. 5), and the step's
    are those of eq. 3 times g = 1 / sqrt(n Qp), n weights in a group (section 2.2).
    """
    highest = lsq_highest(bits)
    scaled = step / math.sqrt(weight.numel() / len(step) * highest)
    scale = _spread(step.detach() + (scaled - scaled.detach()), weight, rule)
    levels = weight / scale
    inside = (levels > -highest - 1) & (levels < highest)
    levels = torch.where(inside, levels, levels.detach().clamp(-highest - 1, highest))
    return (levels + (levels.round() - levels).detach()) * scale


def widths(network: nn.Module, rule: Quantize) -> dict[str, int]:
    """Bits of each weight to quantize.

    Every Conv, Linear and attention projection that the rule gives fewer than 32 bits; with ``last_k``, the last so many of
    these. A parameter shared by several layers is listed once, under its first name.

    Args:
        network: any.
        rule: bits by layer.

    Returns:
        Parameter name -> bits, in the network's order.
    """
    parameters = dict(network.named_parameters())
    bits_by_name: dict[str, int] = {}
    for layer, module in network.named_modules():
        names = []
        if isinstance(module, _MULTIPLIERS):
            names = ["weight"]
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            names = ["in_proj_weight"]
        bits = rule.bits_of(layer)
        for name in names:
            full_name = f"{layer}.{name}" if layer else name
            if bits < FULL_WIDTH and full_name in parameters:
                bits_by_name[full_name] = bits
    bits_by_name = dict(list(bits_by_name.items())[-(rule.last_k or len(bits_by_name)) :])
    if rule.first_last is not None and bits_by_name:
        bits_by_name |= dict.fromkeys((next(iter(bits_by_name)), next(reversed(bits_by_name))), rule.first_last)
    return {name: bits for name, bits in bits_by_name.items() if bits < FULL_WIDTH}


def fixed_widths(network: nn.Module, rule: Quantize) -> dict[str, int]:
    """Bits of the filters of fixed features, which are rounded as the file is written, by the min-max quantizer.

    They are few, and everything behind them was trained on what they compute: they have 8 bits, or as many as the rule gives
    every layer, if those are more; fewer only where a pattern names them.

    Args:
        network: any.
        rule: bits by layer.

    Returns:
        Parameter name -> bits below 32, in the network's order; empty where nothing is quantized.
    """
    if not rule.active:
        return {}
    named = tuple((pattern, bits) for pattern, bits in bit_rules(rule.bits) if pattern != "*")
    bits_by_name = {}
    for layer in sorted(fixed_layers(network)):
        own = next((bits for pattern, bits in named if fnmatchcase(layer, pattern)), None)
        bits_by_name[f"{layer}.weight"] = max(_FIXED_BITS, rule.bits_of(layer)) if own is None else own
    return {name: bits for name, bits in bits_by_name.items() if bits < FULL_WIDTH}


def refuse_unmatched(network: nn.Module, rule: Quantize) -> None:
    """Refuse a rule that does not fit a network.

    Args:
        network: any.
        rule: bits by layer.

    Raises:
        UserError: when it names layers, or asks for more of them, than the network has.
    """
    computed = computed_weights(network)
    layers = [
        layer
        for layer, module in network.named_modules()
        if f"{layer}.weight".lstrip(".") in computed and isinstance(module, _MULTIPLIERS)
    ]
    every = Quantize(bits=8)
    layers += [name.rpartition(".")[0] for name in (*fixed_widths(network, every), *widths(network, every))]
    for pattern, _ in bit_rules(rule.bits):
        if pattern != "*" and not any(fnmatchcase(layer, pattern) for layer in layers):
            raise UserError(
                f"bits {rule.bits!r}: {pattern} matches no layer: the model's are {', '.join(layers) or 'none'}"
            )
    trained = len(layers) - len(fixed_layers(network))
    if rule.last_k is not None and rule.last_k > trained:
        raise UserError(f"--last-k {rule.last_k}: the model has {trained} layers that can be quantized")


@torch.no_grad()
def quantize_weights(network: nn.Module, rule: Quantize) -> dict[str, QuantizedTensor]:
    """The integers that ship.

    Args:
        network: with the float weights, and learned steps if any.
        rule: quantizer, bits and granularity.

    Returns:
        Parameter name -> integers; empty when the rule asks for 32 bits everywhere.

    Raises:
        UserError: for a quantizer that cannot do what the rule asks.
    """
    parameters, steps = dict(network.named_parameters()), steps_of(network)
    refuse_unfit(rule)
    quantized = {}
    for name, bits in fixed_widths(network, rule).items():
        quantized[name] = quantized_tensor(parameters[name], bits, _FIXED, None)
    for name, bits in widths(network, rule).items():
        quantized[name] = quantized_tensor(parameters[name], bits, rule, steps.get(name))
    return quantized


def quantized_tensor(parameter: Tensor, bits: int, rule: Quantize, step: Tensor | None = None) -> QuantizedTensor:
    """The integers of one weight.

    Args:
        parameter: of a layer, output channels first.
        bits: of its integers, 2 to 16.
        rule: quantizer and granularity.
        step: learned scales [G], which win over the quantizer's own.

    Returns:
        Its integers, scales and zero points.
    """
    quantizer = quantizer_of(rule)
    weight = quantizer.prepared(parameter.detach().float())
    stored = quantizer.stored(bits)
    scale, zero_point = grid_of(weight, bits, rule, step)
    integers = ((weight / _spread(scale, weight, rule)).round() + _spread(zero_point, weight, rule)).clamp(
        0, quantizer.top(bits)
    )
    shape = (-1,) if rule.block is None else (len(weight), -1)
    container = np.uint8 if stored <= 8 else np.uint16
    return QuantizedTensor(
        integers.numpy().astype(container),
        scale.view(shape).numpy(),
        zero_point.view(shape).numpy().astype(container),
        stored,
        rule.block,
    )


def load_quantized(network: nn.Module, weights: dict[str, QuantizedTensor]) -> None:
    """Overwrite a network's weights by the values that the integers stand for.

    Learned steps have then done their work and are dropped.

    Args:
        network: changed in place.
        weights: by parameter name.
    """
    drop_steps(network)
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, tensor in weights.items():
            parameters[name].copy_(torch.from_numpy(tensor.dequantize()))
