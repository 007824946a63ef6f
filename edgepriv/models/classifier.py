"""Architectures by name, and the classifier with its normalisation inside."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgepriv.errors import UserError, nearest
from edgepriv.models import small, zoo
from edgepriv.models.adapt import adapted, probe
from edgepriv.models.features import FEATURES, Featured, network_shape
from edgepriv.models.group_norm import with_group_norm
from edgepriv.models.normalisation import in_unit_range
from edgepriv.models.rounded_activations import called
from edgepriv.models.sources import imported, is_own
from edgepriv.recipe import Model

NAMED: dict[str, Callable[..., nn.Module]] = {
    "lenet": small.LeNet5,
    "resnet20": small.ResNet20,
    "mlp": small.MLP,
    "cnn": small.SmallCNN,
    "linear": small.LinearModel,
}


class Classifier(nn.Module):
    """``network`` behind its normalisation: float32 [N, ...] in [0, 1] -> logits float32 [N, K] (doubles to doubles).

    ``mean``, ``std``: one number for each channel or feature, in input units. ``alone``: in eval mode each input is asked by
    itself, since the network's answers depend on the rest of the batch. ``notes``: sentences about what was changed on a
    network of the user's own so that it can be trained and exported. ``still``: names of the network's modules that stay in
    eval mode while the rest is trained.
    """

    notes: tuple[str, ...] = ()
    still: frozenset[str] = frozenset()

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], *, alone: bool = False) -> None:
        super().__init__()
        self.network = network
        self.alone = alone
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.normalises = bool((self.mean != 0).any() or (self.std != 1).any())

    def normalised(self, x: Tensor) -> Tensor:
        """What the network sees of inputs.

        Args:
            x: [N, ...] in [0, 1].

        Returns:
            [N, ...], less the mean, in units of the standard deviation.
        """
        if not self.normalises:
            return x
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x - self.mean.view(shape)) / self.std.view(shape)

    def logits(self, inputs: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """The network's answers.

        Args:
            inputs: normalised, [N, ...].
            weights: by parameter name, in place of its own.

        Returns:
            Logits [N, K].
        """
        if self.alone and not self.training and len(inputs) > 1:
            return torch.cat([self.logits(row, weights) for row in inputs.split(1)])
        return called(self.network, weights, inputs)

    def train(self, mode: bool = True) -> "Classifier":
        """As of every module, but for what is to stay in eval mode.

        Args:
            mode: True to train.

        Returns:
            This.
        """
        super().train(mode)
        for name in self.still:
            self.network.get_submodule(name).training = False
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits of inputs.

        Args:
            x: [N, ...] in [0, 1].

        Returns:
            Logits [N, K], of the type of ``x``.
        """
        logits = self.logits(self.normalised(x))
        return logits if logits.dtype == x.dtype else logits.to(x.dtype)


def build(name: str, num_classes: int, input_shape: Sequence[int], **arguments: Any) -> nn.Module:
    """A network with random weights: ours by name, torchvision's by name, or ``package.module:factory``.

    A factory is called as ``factory(num_classes=, input_shape=, **arguments)``.

    Args:
        name: of the architecture.
        num_classes: K.
        input_shape: of one example.
        arguments: of the architecture.

    Returns:
        The network.

    Raises:
        UserError: when the name is unknown or the architecture cannot take such inputs.
    """
    if is_own(name):
        return _made_by(imported(name), name, num_classes, input_shape, arguments)[0]
    if name in NAMED:
        factory = NAMED[name]
    elif name in zoo.names():
        return zoo.build(name, num_classes, input_shape, **arguments)
    else:
        raise UserError(
            f"unknown model {name!r}: known are {', '.join(NAMED)}, torchvision's classifiers (resnet18, vgg16, ...), "
            f"and package.module:factory{nearest(name, [*NAMED, *zoo.names()])}"
        )
    try:
        return factory(num_classes=num_classes, input_shape=tuple(input_shape), **arguments)
    except TypeError as error:
        raise UserError(f"model {name!r} does not take these arguments: {error}") from error


def _made_by(
    factory: Callable[..., Any], name: str, num_classes: int, input_shape: Sequence[int], arguments: dict[str, Any]
) -> tuple[nn.Module, tuple[str, ...]]:
    """The user's own network, once it has been seen to be one, and what was changed on it. Whatever the user's code raises is
    told in one sentence."""
    try:
        network = factory(num_classes=num_classes, input_shape=tuple(input_shape), **arguments)
    except TypeError as error:
        given = ", ".join(["num_classes", "input_shape", *arguments])
        raise UserError(f"model {name!r} does not take these arguments ({given}): {error}") from error
    except Exception as error:
        raise UserError(f"model {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise UserError(f"model {name!r}: the factory returned {type(network).__name__}, not a torch.nn.Module")
    training = network.training
    network, notes = adapted(network, name, tuple(input_shape))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        answer = network(probe(tuple(input_shape)))
    network.train(training)
    if answer.shape != (2, num_classes):
        of_config = getattr(getattr(network, "config", None), "num_labels", None)
        why = (
            ""
            if of_config is None
            else f" (its config.num_labels is {of_config}: set it to num_classes in the factory)"
        )
        raise UserError(
            f"model {name!r} must return logits [N, {num_classes}]: for 2 inputs it returned {list(answer.shape)}{why}"
        )
    if bool((answer >= 0).all()) and torch.allclose(answer.float().sum(1), torch.ones(2), atol=1e-4):
        raise UserError(
            f"model {name!r} returns probabilities, and training and export each apply a softmax of their own: leave out its "
            "last one, so that it returns logits"
        )
    return network, notes


def build_classifier(model: Model, num_classes: int, input_shape: Sequence[int]) -> Classifier:
    """The recipe's architecture behind its normalisation, and the features that it may ask for, with new weights.

    Args:
        model: name, arguments, features, mean and std.
        num_classes: K, at least 2.
        input_shape: of one example.

    Returns:
        The classifier.

    Raises:
        UserError: when the architecture does not fit the inputs, or the user's module does not return logits [N, K].
    """
    mean, std = in_unit_range(model, input_shape)
    seen = network_shape(model.features, input_shape)
    notes: tuple[str, ...] = ()
    if is_own(model.name):
        network, notes = _made_by(imported(model.name), model.name, num_classes, seen, model.args)
    else:
        network = build(model.name, num_classes, seen, **model.args)
    if model.norm == "group":
        with_group_norm(network)
    if model.features != "none":
        network = Featured(FEATURES[model.features](input_shape), network)
    classifier = Classifier(network, mean, std, alone=model.batch_dependent)
    classifier.notes = notes
    return classifier
