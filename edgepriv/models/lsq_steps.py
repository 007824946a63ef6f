"""Learned quantization steps (Esser et al. 2020): parameters of a network beside the weights that they belong to.

The step of ``conv1.weight`` is ``conv1.weight_lsq_step``, float32 [G], one number > 0 for each group of weights that share a
scale. As a parameter of the layer it is in every copy and every state_dict; the layers themselves never read it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgepriv.models.bake import bake, computed_weights
from edgepriv.models.rounded_activations import PLACES, RANGES, attach, detach, is_rounding

SUFFIX = "_lsq_step"


def steps_of(network: nn.Module) -> dict[str, nn.Parameter]:
    """The learned steps of a network.

    Args:
        network: any.

    Returns:
        Name of a weight -> its step, float32 [G]; empty without any.
    """
    return {name.removesuffix(SUFFIX): parameter for name, parameter in network.named_parameters() if is_step(name)}


def is_step(name: str) -> bool:
    """Whether a parameter is a learned step.

    Args:
        name: of the parameter.

    Returns:
        True by its ending.
    """
    return name.endswith(SUFFIX)


def attach_step(network: nn.Module, weight: str, value: Tensor) -> nn.Parameter:
    """Give a network a step for one of its weights, in place of any that it has.

    Args:
        network: changed in place.
        weight: name of the parameter.
        value: [G], the first value.

    Returns:
        The new parameter, float32 [G].
    """
    layer, _, name = weight.rpartition(".")
    module = network.get_submodule(layer)
    trained = getattr(module, name).requires_grad  # the step of a weight that is held is held, too
    step = nn.Parameter(value.detach().clone().float(), requires_grad=trained)
    module.register_parameter(name + SUFFIX, step)
    return step


def drop_steps(network: nn.Module) -> None:
    """Take all steps off a network, in place.

    Args:
        network: any.
    """
    for module in network.modules():
        for name in [name for name in module._parameters if is_step(name)]:
            del module._parameters[name]


def without_steps(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict without what was learned for one quantization: its steps, and the ranges of its activations.

    Args:
        state: by name.

    Returns:
        The other entries.
    """
    return {name: value for name, value in state.items() if not is_step(name) and not is_rounding(name)}


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """``network.load_state_dict(state)``, after which the network has just the steps that ``state`` has, and the ranges of
    activations.

    Args:
        network: changed in place; its computed weights become plain first where the state holds these.
        state: by name.

    Raises:
        RuntimeError: when the state does not fit the network, a step is not a vector of positive numbers, or a range is none.
    """
    drop_steps(network)
    detach(network)
    if PLACES in state and RANGES in state:
        attach(network, state[PLACES], state[RANGES])
    if not network.state_dict().keys() <= state.keys() and any(name in state for name in computed_weights(network)):
        bake(network)
    weights = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    for name, value in state.items():
        if is_step(name) and name.removesuffix(SUFFIX) in weights:
            if value.ndim != 1 or not (value.isfinite() & (value > 0)).all():
                raise RuntimeError(f"{name} must be a vector of positive numbers")
            attach_step(network, name.removesuffix(SUFFIX), torch.ones_like(value))
    network.load_state_dict(dict(state))
