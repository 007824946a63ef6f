"""Rounded weights, and with some quantizers rounded activations, while a network trains."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgepriv.models.lsq_steps import steps_of
from edgepriv.recipe import Quantize
from edgepriv.training.quantization import fake_quantize, widths
from edgepriv.training.quantizers import quantizer_of
from edgepriv.training.stacked import Stacked


@dataclass(frozen=True)
class Rounded:
    """A weight that is rounded in training. ``step``: its learned scales, None without."""

    parameter: nn.Parameter
    bits: int
    step: nn.Parameter | None


@dataclass(frozen=True)
class Simulation:
    """How a network is computed while it trains to be quantized by ``rule``.

    Which weight has how many bits is looked up once, by ``simulation_of``: walking through the modules and matching their names
    against the rules took longer than the rounding of a small network's weights. It holds for as long as the network keeps its
    modules and parameters, whose values may change.
    """

    network: nn.Module
    rule: Quantize
    rounded: Mapping[str, Rounded]

    def weights(self) -> dict[str, Tensor]:
        """Fake-quantized weights by parameter name, for ``torch.func.functional_call``; of a stack, each model's by itself."""
        if isinstance(self.network, Stacked):
            return {name: self._each_by_itself(own) for name, own in self.rounded.items()}
        return {name: fake_quantize(own.parameter, own.bits, self.rule, own.step) for name, own in self.rounded.items()}

    def _each_by_itself(self, own: Rounded) -> Tensor:
        return torch.vmap(lambda weight: fake_quantize(weight, own.bits, self.rule))(own.parameter)

    @contextmanager
    def activations(self) -> Iterator[None]:
        """While this lasts, the inputs of every quantized convolution and Linear but the first are rounded to the layer's bits,
        if the quantizer simulates that (DoReFa). For training steps: the file that ships keeps activations in float.

        Levels lie evenly over [0, largest of the batch], or from the smallest where it is below 0; gradients straight through.
        """
        if not quantizer_of(self.rule).activations:
            yield
            return
        layers = {name.removesuffix(".weight"): own.bits for name, own in self.rounded.items()}
        hooks = [
            module.register_forward_pre_hook(_rounding(layers[name]))
            for name, module in self.network.named_modules()
            if name in layers and name != next(iter(layers)) and not isinstance(module, nn.MultiheadAttention)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def simulation_of(network: nn.Module, rule: Quantize) -> Simulation:
    """The simulation of a rule.

    Args:
        network: learned steps must be attached before (see ``attach_steps``).
        rule: of the recipe.

    Returns:
        The simulation.
    """
    parameters, steps = dict(network.named_parameters()), steps_of(network)
    rounded = {name: Rounded(parameters[name], bits, steps.get(name)) for name, bits in widths(network, rule).items()}
    return Simulation(network, rule, rounded)


def _rounding(bits: int) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (round_activations(inputs[0], bits), *inputs[1:])

    return hook


def round_activations(x: Tensor, bits: int) -> Tensor:
    """Activations on even levels over the range of the batch; the gradient passes straight through.

    Args:
        x: any shape.
        bits: 2^bits levels over [min(0, smallest), largest].

    Returns:
        Shape of ``x``.
    """
    with torch.no_grad():
        wide = x.float()
        low, high = wide.amin().clamp(max=0), wide.amax().clamp(min=0)
        scale = ((high - low) / (2**bits - 1)).clamp(min=torch.finfo(torch.float32).tiny)
        rounded = (((wide - low) / scale).round() * scale + low).to(x.dtype)
    straight_through: Tensor = x + (rounded - x).detach()
    return straight_through
