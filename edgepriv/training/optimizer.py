"""The optimizer of a stage, and its learning rate over time."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgepriv.recipe import Stage
from edgepriv.training.held import rate_of
from edgepriv.training.quantizers import lsq_highest


def optimizer_of(
    network: nn.Module, stage: Stage, learned: Mapping[int, Sequence[nn.Parameter]]
) -> torch.optim.Optimizer:
    """The optimizer of a stage.

    In one pass over each tensor (``fused``): torch's default makes about ten, a third of a small perceptron's step. AdamW moves
    every number by about the learning rate, whatever the scale of its gradient; a learned step of quantization starts as
    2 / sqrt(Qp) of its weights' mean magnitude, so it is given that share of the rate: with the whole, steps of 16 bits grew
    many times over or fell to the smallest.

    Args:
        network: whose parameters are trained, but for those without a gradient.
        stage: optimizer, learning rates, momentum and weight decay.
        learned: steps of quantization by bits, which no weight decay pulls to 0.

    Returns:
        The optimizer; each group has its ``relative_lr``.
    """
    others = {id(step) for steps in learned.values() for step in steps}
    rates = {id(value): rate_of(name, stage) for name, value in network.named_parameters()}
    groups: list[dict[str, Any]] = [
        {"params": own, "relative_lr": rate}
        for rate, own in _by_rate((each for each in network.parameters() if id(each) not in others), rates).items()
    ]
    for bits, steps in learned.items():
        share = 2 / math.sqrt(lsq_highest(bits)) if stage.optimizer == "adamw" else 1.0
        for rate, own in _by_rate(steps, rates).items():
            groups.append({"params": own, "weight_decay": 0.0, "relative_lr": share * rate})
    if stage.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            stage.lr,
            stage.momentum,
            weight_decay=stage.weight_decay,
            nesterov=stage.momentum > 0,
            fused=True,
        )
    return torch.optim.AdamW(groups, stage.lr, weight_decay=stage.weight_decay, fused=True)


def _by_rate(parameters: Iterable[nn.Parameter], rates: Mapping[int, float]) -> dict[float, list[nn.Parameter]]:
    """Those that are trained, by their share of the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for each in parameters:
        if each.requires_grad:
            groups.setdefault(rates[id(each)], []).append(each)
    return groups


def scheduled(name: str, done: float) -> float:
    """Factor on the learning rate; cyclic peaks at 40% (Wong, Rice & Kolter 2020).

    Args:
        name: "cosine", "cyclic" or "constant".
        done: share of all steps, 0 to 1.

    Returns:
        In [0, 1].
    """
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if name == "cyclic":
        return max(0.01, done / 0.4 if done < 0.4 else (1 - done) / 0.6)
    return 1.0
