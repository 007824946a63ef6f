"""Group normalization (Wu & He 2018) in place of batch normalization, which mixes the examples of a batch."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""A subclass may do more than normalise, such as timm's, which activates too: that would be lost."""
_MOST_GROUPS, _FEWEST_CHANNELS = 16, 2
"""Groups of a layer, as De et al. 2022 have them; channels of a group, since a group of one number is normalised to 0."""


def with_group_norm(network: nn.Module) -> list[str]:
    """Put group normalization in place of each batch normalization; weights and shifts keep their names.

    Args:
        network: with new weights, changed in place.

    Returns:
        Names of the layers that were replaced; one that has a single channel, or is a class of its own, is left as it is.
    """
    made: dict[nn.Module, nn.GroupNorm] = {}  # a layer that stands in several places stays one
    replaced = []
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if not isinstance(module, _BatchNorm) or not is_replaceable(module):
            continue
        groups = groups_of(module.num_features)
        if module not in made:
            made[module] = nn.GroupNorm(groups, module.num_features, eps=module.eps, affine=module.affine)
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, made[module])
        replaced.append(name)
    return replaced


def is_replaceable(module: nn.Module) -> bool:
    """Whether group normalization can stand in a layer's place.

    Args:
        module: any layer.

    Returns:
        True for a plain batch normalization of two channels or more.
    """
    return isinstance(module, _BatchNorm) and type(module) in _PLAIN and module.num_features >= _FEWEST_CHANNELS


def groups_of(channels: int) -> int:
    """How many groups a layer has.

    Args:
        channels: of the layer, 1 or more.

    Returns:
        The largest divisor that is at most 16 and leaves two channels or more to each group; 1 where there is none.
    """
    most = min(_MOST_GROUPS, channels // _FEWEST_CHANNELS)
    return next((groups for groups in range(most, 1, -1) if channels % groups == 0), 1)
