"""Weights that a module computes from others (weight norm, spectral norm, pruning masks, any parametrization) become plain.

Quantization lays its grid over the weight that is multiplied with, and a file holds that weight alone. Until then they are
trained as their module says.
"""

from typing import Any

from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm

_OLD_NORMS = {"WeightNorm": remove_weight_norm, "SpectralNorm": remove_spectral_norm}
"""torch's norms from before parametrizations, which are hooks, by the name of the hook's class."""


def computed_weights(network: nn.Module) -> dict[str, str]:
    """The weights that are computed from others.

    Args:
        network: any.

    Returns:
        Name in the network -> what computes it, such as "pruning".
    """
    computed = {}
    for layer, module in network.named_modules():
        prefix = f"{layer}." if layer else ""
        if parametrize.is_parametrized(module):
            for name, parametrizations in module.parametrizations.items():
                computed[prefix + name] = " and ".join(type(step).__name__.lstrip("_") for step in parametrizations)
        for hook in module._forward_pre_hooks.values():
            kind = type(hook).__name__
            if isinstance(hook, prune.BasePruningMethod):
                computed[f"{prefix}{hook._tensor_name}"] = "pruning"
            elif kind in _OLD_NORMS and type(hook).__module__.startswith("torch.nn.utils."):
                computed[prefix + hook.name] = kind
    return computed


def _forget_how_it_was_loaded(module: nn.Module, name: str) -> None:
    """torch leaves the hook by which spectral norm renames weights on loading: what it looks for is wrapped now."""
    for key, wrapped in list(module._load_state_dict_pre_hooks.items()):
        hook: Any = getattr(wrapped, "hook", wrapped)
        if type(hook).__name__ == "SpectralNormLoadStateDictPreHook" and hook.fn.name == name:
            del module._load_state_dict_pre_hooks[key]


def bake(network: nn.Module) -> tuple[str, ...]:
    """Replace every computed weight by a parameter of its value in eval mode, in place.

    The network computes what it did. Trained on, a pruned weight may leave zero, and a normalised one its norm.

    Args:
        network: any.

    Returns:
        Sentences about it; none where no weight is computed.
    """
    computed = computed_weights(network)
    training = [module for module in network.modules() if module.training]
    network.eval()  # in train mode reading a weight of spectral norm would move its estimate on
    for full_name in computed:
        layer, _, name = full_name.rpartition(".")
        module = network.get_submodule(layer)
        if parametrize.is_parametrized(module, name):
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        elif computed[full_name] == "pruning":
            prune.remove(module, name)
        else:
            _OLD_NORMS[computed[full_name]](module, name)
            _forget_how_it_was_loaded(module, name)
        if isinstance(parameter := module._parameters.get(name), nn.Parameter):
            parameter.requires_grad_(True)
    for module in training:
        module.training = True
    kinds: dict[str, list[str]] = {}
    for name, kind in computed.items():
        kinds.setdefault(kind, []).append(name)
    return tuple(
        f"{kind} of {', '.join(names[:4])}{' and others' if len(names) > 4 else ''} became plain weights, which later training "
        "changes freely"
        for kind, names in kinds.items()
    )
