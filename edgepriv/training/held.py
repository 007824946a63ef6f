"""Layers that a stage leaves as they are, and shares of its learning rate: what fine-tuning of a pretrained network asks for.

A held parameter has no gradient: no optimizer, weight decay or perturbation of weights moves it. A held normalization keeps
its running statistics, and normalizes by them, while the rest of the network is trained.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.models.features import fixed_layers
from edgepriv.models.lsq_steps import SUFFIX, is_step
from edgepriv.recipe import Stage
from edgepriv.recipe.layers import is_within, rate_rules

_COMPUTED = ".parametrizations."
_SHOWN = 6


@dataclass(frozen=True)
class Held:
    """``parameters``: names of those that are not trained; ``modules``: names of those whose statistics stay. ``trained``,
    ``kept``: names of layers, in the network's order."""

    parameters: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    trained: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def summary(self, stage: str) -> str:
        """What is trained and what is not.

        Args:
            stage: its name.

        Returns:
            A sentence.
        """
        count = len(self.trained) + len(self.kept)
        if len(self.trained) <= len(self.kept):
            return f"{stage} trains {len(self.trained)} of {count} layers ({_some(self.trained)}): the others stay as they are"
        return f"{stage} trains {len(self.trained)} of {count} layers: {_some(self.kept)} stay as they are"


def layers_of(network: nn.Module) -> dict[str, list[str]]:
    """The layers that have parameters to train.

    Args:
        network: any.

    Returns:
        Name of a layer -> full names of its own parameters, in the network's order; those of the network itself stand under
        the empty name.
    """
    layers: dict[str, list[str]] = {}
    fixed = fixed_layers(network)
    for name, _ in network.named_parameters(remove_duplicate=False):
        if not is_step(name) and _layer_of(name) not in fixed:
            layers.setdefault(_layer_of(name), []).append(name)
    return layers


def _layer_of(parameter: str) -> str:
    return parameter.partition(_COMPUTED)[0] if _COMPUTED in parameter else parameter.rpartition(".")[0]


def held_by(network: nn.Module, stage: Stage) -> Held:
    """What a stage leaves as it is. A tensor that several layers share is held where a pattern names it under any of its names.

    Args:
        network: to be trained.
        stage: with ``freeze`` and ``train_last``.

    Returns:
        Names; none where the stage trains everything.

    Raises:
        UserError: for a pattern that names nothing, for more layers than there are, and where nothing would be trained.
    """
    if not stage.freeze and stage.train_last is None:
        return Held()
    layers, shared = layers_of(network), dict(network.named_parameters(remove_duplicate=False))
    names = [name for own in layers.values() for name in own]
    _refuse_unknown("--freeze", stage.freeze, names, layers)
    if stage.train_last is not None and stage.train_last > len(layers):
        raise UserError(f"--train-last {stage.train_last} layers: the model has only {len(layers)} with parameters")
    last = list(layers)[-(stage.train_last or len(layers)) :]
    trained = {id(shared[name]) for layer in last for name in layers[layer]}
    trained -= {id(shared[name]) for name in names if _named(name, stage.freeze)}
    if not trained:
        raise UserError("--freeze and --train-last leave no layer to train: freeze fewer")
    parameters = frozenset(name for name in names if id(shared[name]) not in trained)
    moved = tuple(layer for layer, own in layers.items() if not parameters.issuperset(own))
    kept = tuple(layer for layer in layers if layer not in moved)
    modules = [name for name, _ in network.named_modules()]
    first = next(place for place, name in enumerate(modules) if name == last[0])
    still = (
        name
        for place, name in enumerate(modules)
        if (_named(name, stage.freeze) or name in kept or (stage.train_last is not None and place < first))
        and _keeps_statistics(network.get_submodule(name), name)
    )
    return Held(parameters, frozenset(still), moved, kept)


def _keeps_statistics(module: nn.Module, name: str) -> bool:
    """Whether a forward pass in training mode changes it: a normalization with running statistics, an estimate of a norm."""
    estimates = _COMPUTED in f"{name}." or any(
        type(hook).__name__ == "SpectralNorm" for hook in module._forward_pre_hooks.values()
    )
    return estimates or (isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None)


def _named(name: str, patterns: tuple[str, ...]) -> bool:
    return any(is_within(name, pattern) for pattern in patterns)


def _refuse_unknown(option: str, patterns: tuple[str, ...], names: list[str], layers: dict[str, list[str]]) -> None:
    for pattern in patterns:
        if not any(is_within(name, pattern) for name in names):
            raise UserError(f"{option}: {pattern} names no layer: the model's are {_some(list(layers), 40)}")


@contextmanager
def holding(classifier: Classifier, stage: Stage) -> Iterator[Held]:
    """While this lasts, training the classifier leaves alone what the stage holds.

    Args:
        classifier: changed in place, and back.
        stage: with ``freeze`` and ``train_last``.

    Yields:
        What is held.

    Raises:
        UserError: see ``held_by``.
    """
    held = held_by(classifier.network, stage)
    before = {name for name, own in _parameters_of(classifier, held) if own.requires_grad}
    classifier.still = held.modules
    for _, parameter in _parameters_of(classifier, held):
        parameter.requires_grad_(False)
    try:
        yield held
    finally:
        classifier.still = frozenset()
        for name, parameter in _parameters_of(classifier, held):
            parameter.requires_grad_(name in before or is_step(name))


def _parameters_of(classifier: Classifier, held: Held) -> list[tuple[str, nn.Parameter]]:
    """Those that are held, and the learned steps beside them."""
    everything = classifier.network.named_parameters(remove_duplicate=False)
    return [(name, own) for name, own in everything if name.removesuffix(SUFFIX) in held.parameters]


def refuse_unmatched_rates(network: nn.Module, stage: Stage) -> None:
    """Refuse shares of the learning rate that name no layer.

    Args:
        network: to be trained.
        stage: with ``layer_rates``.

    Raises:
        UserError: for such a pattern.
    """
    layers = layers_of(network)
    patterns = tuple(pattern for pattern, _ in rate_rules(stage.layer_rates))
    _refuse_unknown("--layer-rates", patterns, [name for own in layers.values() for name in own], layers)


def rate_of(parameter: str, stage: Stage) -> float:
    """The share of a stage's learning rate that a parameter is trained at.

    Args:
        parameter: its full name.
        stage: with ``layer_rates``.

    Returns:
        A factor above 0.
    """
    rules = rate_rules(stage.layer_rates)
    return next((factor for pattern, factor in rules if is_within(parameter, pattern)), 1.0)


def _some(names: tuple[str, ...] | list[str], most: int = _SHOWN) -> str:
    shown = [name or "the network's own" for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more
