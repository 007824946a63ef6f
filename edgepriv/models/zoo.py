"""Any classifier of torchvision by name, adapted to the number of classes, channels and pixels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.torchvision_compat import import_torchvision

_SMALL_IMAGE = 64
_WITHOUT_AUXILIARY_HEAD = ("googlenet", "inception_v3")


def names() -> list[str]:
    """The names of torchvision's image classifiers."""
    models = import_torchvision("models")
    return models.list_models(module=models)


def build(name: str, num_classes: int, input_shape: Sequence[int], **arguments: Any) -> nn.Module:
    """torchvision's ``name`` with random weights, for inputs [N, *input_shape] and ``num_classes`` logits."""
    if len(input_shape) != 3:
        raise UserError(f"model {name!r} needs images; the inputs have shape {list(input_shape)}")
    if name in _WITHOUT_AUXILIARY_HEAD:
        arguments = {"aux_logits": False, "init_weights": True} | arguments
    if name.startswith("vit_"):
        arguments = {"image_size": input_shape[1]} | arguments
    try:
        network = import_torchvision("models").get_model(name, weights=None, num_classes=num_classes, **arguments)
        _adapt_channels(network, input_shape[0])
        if max(input_shape[1:]) <= _SMALL_IMAGE:
            _adapt_to_small_images(network, num_classes)
        with torch.no_grad():
            logits = network.eval()(torch.zeros(1, *input_shape))
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or ["it fails"])[0]
        raise UserError(f"model {name!r} does not accept inputs of shape {list(input_shape)}: {reason}") from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, num_classes):
        raise UserError(f"model {name!r} is not a classifier with one output of {num_classes} logits")
    return network.train()


def _adapt_channels(network: nn.Module, channels: int) -> None:
    """Replace the first convolution when the images do not have the three channels that it expects."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels != channels:
                _replace(network, name, _like(module, in_channels=channels))
            return


def _adapt_to_small_images(network: nn.Module, num_classes: int) -> None:
    """The customary changes for CIFAR-sized images: ResNets keep the resolution in their stem, VGGs pool to one pixel."""
    if isinstance(getattr(network, "conv1", None), nn.Conv2d) and isinstance(
        getattr(network, "maxpool", None), nn.MaxPool2d
    ):
        network.conv1 = _like(network.conv1, kernel_size=3, stride=1, padding=1)  # type: ignore[arg-type]
        network.maxpool = nn.Identity()
    if type(network).__name__ == "VGG":
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier[0] = nn.Linear(512, 4096)  # type: ignore[operator, assignment]


def _like(conv: nn.Conv2d, **changes: Any) -> nn.Conv2d:
    settings: dict[str, Any] = {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "bias": conv.bias is not None,
    }
    return nn.Conv2d(**(settings | changes))


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
