"""The quantizers by name: which grid each lays over a group of weights.

A grid is a scale and a whole zero point for each group, so that ``W_Q = scale * (q - zero_point)`` with q whole in 0..top.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgepriv.errors import UserError, nearest
from edgepriv.recipe import FULL_WIDTH, Quantize, bit_rules

WIDEST = 16
"""Bits of the largest integers that are stored."""

Grid = tuple[Tensor, Tensor]
"""scale (float32, > 0) and zero_point (float32 whole numbers) of each group of weights, both [G]."""


@dataclass(frozen=True)
class Quantizer:
    """``grid``: of groups of weights [G, n] at a width in bits. ``prepared``: what is done to the weight (any shape) before it
    is rounded; gradients pass through it, and straight through the rounding.

    ``extra_levels``: levels beyond the 2^bits that the width holds; ``extra_bits``: what storing them takes.
    ``activations``: training simulates quantized activations too. ``learned``: training learns the scales, from those of
    ``grid``; the zero point is the middle integer.
    """

    grid: Callable[[Tensor, int], Grid]
    prepared: Callable[[Tensor], Tensor] = lambda weight: weight
    extra_levels: int = 0
    extra_bits: int = 0
    activations: bool = False
    learned: bool = False

    def top(self, bits: int) -> int:
        """The largest integer.

        Args:
            bits: that are asked for.

        Returns:
            2^bits - 1, or more where the quantizer uses more levels.
        """
        largest: int = 2**bits - 1 + self.extra_levels
        return largest

    def stored(self, bits: int) -> int:
        """Bits of an integer as it is stored.

        Args:
            bits: that are asked for.

        Returns:
            The same, or one size up.
        """
        return bits + self.extra_bits


def minmax(groups: Tensor, bits: int) -> Grid:
    """Min-max uniform grid (Drif & Berrabah 2025, eq. 5-6), made into a real integer zero_point.

    The range is widened to contain 0 and r_min is nudged to a multiple of the scale, z = round(-r_min / s), so that
    W_Q = s * (clamp(round(W/s) + z, 0, 2^b - 1) - z). The nudge shifts the grid by less than s/2.

    Args:
        groups: weights [G, n].
        bits: b.

    Returns:
        Scale and zero point of each group, [G].
    """
    low = groups.amin(dim=1).clamp(max=0)
    high = groups.amax(dim=1).clamp(min=0)
    levels = 2**bits - 1
    scale = (high / levels - low / levels).clamp(min=torch.finfo(torch.float32).tiny)
    scale = torch.where(high > low, scale, torch.ones_like(scale))
    return scale, (-low / scale).round().clamp(0, levels)


FAMILI_ZERO_POINT = 2


def famili(groups: Tensor, bits: int) -> Grid:
    """Grid of Famili & Lao 2023 (Algorithm 1, eq. 3): s = (r1 - r0) / 2^b between the smallest and the largest weight, z = 2.

    W_Q = s * (clamp(round(W/s) + 2, 0, nbins) - 2): weights below -2s all become -2s, which is how it forgets. nbins is
    2^b - 1 here, as in the paper's text, so that b bits hold it; the algorithm as printed has 2^b + 1 (``famili-printed``).
    A group of equal weights has no range; its scale is their magnitude, which gives them exactly, or 1 for zeros.

    Args:
        groups: weights [G, n].
        bits: b.

    Returns:
        Scale and zero point of each group, [G].
    """
    low, high = groups.amin(dim=1), groups.amax(dim=1)
    scale = (high / 2**bits - low / 2**bits).clamp(min=torch.finfo(torch.float32).tiny)
    level = high.abs().clamp(min=torch.finfo(torch.float32).tiny)
    alike = torch.where(high == 0, torch.ones_like(level), level)
    scale = torch.where(high > low, scale, alike)
    return scale, torch.full_like(scale, FAMILI_ZERO_POINT)


def tanh_limited(weight: Tensor) -> Tensor:
    """tanh(w) / max |tanh(w)|, the maximum over the tensor (Zhou et al. 2016, eq. 9); zeros stay zeros.

    Args:
        weight: any shape.

    Returns:
        The same shape, in [-1, 1].
    """
    limited = weight.tanh()
    largest = limited.abs().amax()
    return limited / torch.where(largest >= torch.finfo(torch.float32).tiny, largest, torch.ones_like(largest))


def dorefa(groups: Tensor, bits: int) -> Grid:
    """Grid of DoReFa-Net's weights (Zhou et al. 2016, eq. 9), over [-1, 1] whatever the group: s = 2 / (2^b - 1).

    The paper's zero point is (2^b - 1) / 2, between two integers; it is nudged by half a step to 2^(b - 1), so that
    integers of b bits and whole zero points deploy it: W_Q is within s of the paper's, 0 stays 0, and the lowest integer is
    left to -1 alone. The weights are ``tanh_limited`` over the tensor first, so all granularities are one.

    The largest weight of every layer becomes 1: a network must be trained with it, and one that no batch normalization
    scales back does badly when trained weights are only rounded.

    Args:
        groups: weights [G, n], limited.
        bits: b.

    Returns:
        Scale and zero point of each group, [G].
    """
    scale = torch.full_like(groups[:, 0], 2 / (2**bits - 1))
    return scale, torch.full_like(scale, 2 ** (bits - 1))


SMALLEST_STEP = 1e-8
"""Learned steps are kept at or above it: a step of 0 divides by zero, and a negative one swaps the ends of the range."""


def lsq(groups: Tensor, bits: int) -> Grid:
    """The grid that LSQ (Esser et al. 2020, section 2.1) starts from: s = 2 mean |w| / sqrt(Qp), over -2^(b-1)..Qp.

    Qp = 2^(b-1) - 1. Integers are stored from 0, so the zero point is 2^(b-1). A group of zeros has no magnitude; its
    scale is 1.

    Args:
        groups: weights [G, n].
        bits: b.

    Returns:
        Scale and zero point of each group, [G].
    """
    magnitude = (groups.abs() / groups.shape[1]).sum(dim=1)
    scale = magnitude * (2 / math.sqrt(lsq_highest(bits)))
    scale = torch.where(magnitude > 0, scale, torch.ones_like(scale))
    scale = scale.clamp(SMALLEST_STEP, torch.finfo(torch.float32).max)
    return scale, torch.full_like(scale, 2 ** (bits - 1))


def lsq_highest(bits: int) -> int:
    """Qp, the largest signed integer.

    Args:
        bits: that it has.

    Returns:
        2^(bits - 1) - 1.
    """
    highest: int = 2 ** (bits - 1) - 1
    return highest


QUANTIZERS: dict[str, Quantizer] = {
    "minmax": Quantizer(minmax),
    "famili": Quantizer(famili),
    "famili-printed": Quantizer(famili, extra_levels=2, extra_bits=1),
    "dorefa": Quantizer(dorefa, prepared=tanh_limited, activations=True),
    "lsq": Quantizer(lsq, learned=True),
}


def quantizer_of(rule: Quantize) -> Quantizer:
    """The quantizer that a rule names.

    Args:
        rule: of the recipe.

    Returns:
        The quantizer.

    Raises:
        UserError: when it is unknown.
    """
    if rule.quantizer not in QUANTIZERS:
        raise UserError(
            f"unknown quantizer {rule.quantizer!r}: known are {', '.join(QUANTIZERS)}{nearest(rule.quantizer, QUANTIZERS)}"
        )
    return QUANTIZERS[rule.quantizer]


def notes_of(rule: Quantize) -> list[str]:
    """What there is to say about files of a rule that their widths alone do not tell.

    Args:
        rule: of the recipe.

    Returns:
        Sentences.
    """
    quantizer = quantizer_of(rule)
    if not rule.active or not quantizer.extra_bits:
        return []
    return [f"{rule.quantizer}: more levels than the bits asked for hold, so {rule.bits} bits are stored one size up"]


def refuse_unfit(rule: Quantize) -> None:
    """Refuse a rule that its quantizer cannot follow.

    Args:
        rule: of the recipe.

    Raises:
        UserError: when the quantizer is unknown, or does not have the widths that are asked for.
    """
    quantizer = quantizer_of(rule)
    if quantizer.learned and rule.block is not None:
        raise UserError(
            f"{rule.quantizer} learns one step for each tensor or channel, not for {rule.granularity}: "
            "use granularity channel"
        )
    widths = [bits for _, bits in bit_rules(rule.bits)] + [rule.first_last or FULL_WIDTH]
    widest = max((bits for bits in widths if bits < FULL_WIDTH), default=0)
    if quantizer.stored(widest) > WIDEST:
        raise UserError(
            f"{rule.quantizer} stores integers of {widest} bits as {quantizer.stored(widest)}, and a file holds {WIDEST} at "
            f"most: ask for {WIDEST - quantizer.extra_bits} bits at most"
        )
