"""Adversarial weight perturbation (Wu, Xia & Wang 2020): the gradient is taken where the weights are a little worse."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgepriv.models.lsq_steps import steps_of
from edgepriv.recipe.defences.awp import Awp
from edgepriv.training.objectives.base import Asked, Objective
from edgepriv.training.pgd import per_example
from edgepriv.training.stacked import Stacked


def objective(asked: Asked) -> Objective:
    """With the recipe's gamma.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return worsened(asked.recipe.own(Awp).gamma)


def worsened(gamma: float) -> Objective:
    """Perturb the weights of each layer along the gradient.

    Args:
        gamma: by how many times their length.

    Returns:
        The objective.
    """
    return Objective(moved=lambda network: _moved(network, gamma), title=f"AWP {gamma:g}", remedy="a smaller --awp")


@contextmanager
def _moved(network: nn.Module, gamma: float) -> Iterator[None]:
    """While this lasts each layer's weights w are w + gamma ||w|| g / ||g||, g their gradient (the paper's eq. 9 and 10).

    One step, as in the authors' experiments. Biases, the scales of normalisation and learned steps of quantization stay.
    Afterwards the weights are what they were, bit by bit. Of a stack each model's layer has its own lengths.
    """
    kept: list[tuple[Tensor, Tensor]] = []
    stacked = isinstance(network, Stacked)
    steps = {id(step) for step in steps_of(network).values()}
    with torch.no_grad():
        for weight in network.parameters():
            if weight.grad is None or id(weight) in steps or weight.ndim - stacked < 2:
                continue
            rows, slope = (weight.data, weight.grad) if stacked else (weight.data[None], weight.grad[None])
            along = rows.flatten(1).norm(dim=1) / slope.flatten(1).norm(dim=1).clamp(min=1e-12)
            kept.append((weight, weight.detach().clone()))
            rows.add_(slope * per_example(along, slope), alpha=gamma)
    try:
        yield
    finally:
        with torch.no_grad():
            for moved, before in kept:
                moved.copy_(before)
