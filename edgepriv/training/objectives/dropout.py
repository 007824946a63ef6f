"""Dropout as a defence (Salem et al. 2019): inputs of Linears are zeroed while training; the file knows nothing of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn import functional

from edgepriv.training.objectives.base import Asked, Objective


def objective(asked: Asked) -> Objective:
    """Of the share that the stage drops.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    share = asked.recipe.dropout_in(asked.stage)
    return Objective(around=lambda network: dropping(network, share))


@contextmanager
def dropping(network: nn.Module, share: float) -> Iterator[None]:
    """While this lasts, a share of the inputs of every Linear but the network's first layer is zero in train mode.

    The first layer keeps its inputs, which are the example itself. Drawn from torch's global generator. Networks keep their
    modules and the names of their parameters.

    Args:
        network: changed in place, and back.
        share: in [0, 1).

    Returns:
        A context manager.
    """
    layers = [
        module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    ]

    def drop(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not network.training:
            return inputs
        return functional.dropout(inputs[0], share), *inputs[1:]

    chosen = [layer for layer in layers[1:] if isinstance(layer, nn.Linear)] if share > 0 else []
    hooks = [layer.register_forward_pre_hook(drop) for layer in chosen]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
