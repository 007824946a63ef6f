"""Shapley values by their definition, for a handful of features."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def exact_shapley_values(value: Callable[[Tensor], Tensor], x: Tensor, baselines: Tensor) -> Tensor:
    """[d] for one example ``x`` [d], over all 2^d subsets of its features. ``value``: [M, d] -> [M]; that of a subset is its
    mean over ``baselines`` [B, d], which stand in for the features left out."""
    d = len(x)
    inside = (torch.arange(2**d)[:, None] >> torch.arange(d)) & 1 == 1  # [2^d, d]
    mixed = torch.where(inside[:, None], x, baselines)  # [2^d, B, d]
    values = value(mixed.flatten(0, 1)).view(2**d, len(baselines)).mean(1)
    phi = torch.zeros(d)
    for i in range(d):
        for subset in (~inside[:, i]).nonzero().flatten().tolist():
            size = int(inside[subset].sum())
            weight = math.factorial(size) * math.factorial(d - size - 1) / math.factorial(d)
            phi[i] += weight * (values[subset + 2**i] - values[subset])
    return phi
