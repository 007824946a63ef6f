"""Architectures by name, and the classifier with its normalisation inside."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.models import small, zoo
from edgepriv.models.normalisation import in_unit_range
from edgepriv.models.sources import imported, is_own
from edgepriv.recipe import Model

NAMED: dict[str, Callable[..., nn.Module]] = {
    "lenet": small.LeNet5,
    "resnet20": small.ResNet20,
    "mlp": small.MLP,
    "cnn": small.SmallCNN,
}


class Classifier(nn.Module):
    """``network`` behind its normalisation: float32 [N, ...] in [0, 1] -> logits [N, K].

    ``mean``, ``std``: one number for each channel or feature, in input units.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.normalises = bool((self.mean != 0).any() or (self.std != 1).any())

    def normalised(self, x: Tensor) -> Tensor:
        """What the network sees of inputs in [0, 1]."""
        if not self.normalises:
            return x
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x - self.mean.view(shape)) / self.std.view(shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.normalised(x))


def build(name: str, num_classes: int, input_shape: Sequence[int], **arguments: Any) -> nn.Module:
    """A network with random weights: ours by name, torchvision's by name, or ``package.module:factory``.

    A factory is called as ``factory(num_classes=, input_shape=, **arguments)``. Raises UserError when the name is unknown
    or the architecture cannot take such inputs.
    """
    if is_own(name):
        return _made_by(imported(name), name, num_classes, input_shape, arguments)
    if name in NAMED:
        factory = NAMED[name]
    elif name in zoo.names():
        return zoo.build(name, num_classes, input_shape, **arguments)
    else:
        raise UserError(
            f"unknown model {name!r}: known are {', '.join(NAMED)}, torchvision's classifiers (resnet18, vgg16, ...), "
            "and package.module:factory"
        )
    try:
        return factory(num_classes=num_classes, input_shape=tuple(input_shape), **arguments)
    except TypeError as error:
        raise UserError(f"model {name!r} does not take these arguments: {error}") from error


def _made_by(
    factory: Callable[..., Any], name: str, num_classes: int, input_shape: Sequence[int], arguments: dict[str, Any]
) -> nn.Module:
    """The user's own network, once it has been seen to be one. Whatever the user's code raises is told in one sentence."""
    try:
        network = factory(num_classes=num_classes, input_shape=tuple(input_shape), **arguments)
    except TypeError as error:
        raise UserError(f"model {name!r} does not take these arguments: {error}") from error
    except Exception as error:
        raise UserError(f"model {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise UserError(f"model {name!r}: the factory returned {type(network).__name__}, not a torch.nn.Module")
    training = network.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            answer = network.eval()(torch.zeros(2, *input_shape))
    except Exception as error:
        raise UserError(
            f"model {name!r} does not take inputs float32 [N, {', '.join(map(str, input_shape))}]: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        network.train(training)
    if not isinstance(answer, Tensor) or answer.shape != (2, num_classes):
        found = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise UserError(f"model {name!r} must return logits [N, {num_classes}]: for 2 inputs it returned {found}")
    if bool((answer >= 0).all()) and torch.allclose(answer.float().sum(1), torch.ones(2), atol=1e-4):
        raise UserError(
            f"model {name!r} returns probabilities, and training and export each apply a softmax of their own: leave out its "
            "last one, so that it returns logits"
        )
    return network


def build_classifier(model: Model, num_classes: int, input_shape: Sequence[int]) -> Classifier:
    """The recipe's architecture behind its normalisation. Raises UserError when they do not fit the inputs."""
    mean, std = in_unit_range(model, input_shape)
    return Classifier(build(model.name, num_classes, input_shape, **model.args), mean, std)
