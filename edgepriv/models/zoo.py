"""Any classifier of torchvision by name, adapted to the number of classes, channels and pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.torchvision_compat import import_torchvision

_SMALL_IMAGE = 64
STEM = {"stem", "stem_kernel", "stem_stride", "stem_pool"}
"""Arguments that say what the first layers are, beside torchvision's own: ``stem`` is "plain" (as torchvision has them) or
"small" (for images of at most 64 pixels: ResNets keep the resolution, VGGs pool to one pixel), by default by the size of the
images; ``stem_kernel``, ``stem_stride`` and ``stem_pool`` say it of the first convolution and the max pooling behind it."""


@dataclass(frozen=True)
class Stem:
    """``kernel``, ``stride`` of the first convolution; ``pool``: whether max pooling follows; ``can_pool``: whether the
    architecture has a place for it."""

    kernel: int
    stride: int
    pool: bool
    can_pool: bool


_POOLS = ("maxpool", "features.pool0")
_WITHOUT_AUXILIARY_HEAD = ("googlenet", "inception_v3")


def names() -> list[str]:
    """The names of torchvision's image classifiers."""
    models = import_torchvision("models")
    listed: list[str] = models.list_models(module=models)
    return listed


def build(name: str, num_classes: int, input_shape: Sequence[int], **arguments: Any) -> nn.Module:
    """One of torchvision's networks with random weights.

    Args:
        name: of the network.
        num_classes: K.
        input_shape: (C, H, W).
        arguments: its own and those of ``STEM``.

    Returns:
        The network, for inputs [N, C, H, W] and K logits.

    Raises:
        UserError: for inputs or arguments that it does not take, and for a network that is no classifier.
    """
    stem = {key: arguments.pop(key) for key in STEM & arguments.keys()}
    _refuse_unknown_stem(stem)
    if len(input_shape) != 3:
        raise UserError(f"model {name!r} needs images; the inputs have shape {list(input_shape)}")
    if name in _WITHOUT_AUXILIARY_HEAD:
        arguments = {"aux_logits": False, "init_weights": True} | arguments
    if name.startswith("vit_"):
        arguments = {"image_size": input_shape[1]} | arguments
    try:
        network = import_torchvision("models").get_model(name, weights=None, num_classes=num_classes, **arguments)
        _adapt_channels(network, input_shape[0])
        if stem.get("stem", "small" if max(input_shape[1:]) <= _SMALL_IMAGE else "plain") == "small":
            _adapt_to_small_images(network, num_classes)
        _set_stem(network, stem)
        with torch.no_grad():
            logits = network.eval()(torch.zeros(1, *input_shape))
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or ["it fails"])[0]
        raise UserError(f"model {name!r} does not accept inputs of shape {list(input_shape)}: {reason}") from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, num_classes):
        raise UserError(f"model {name!r} is not a classifier with one output of {num_classes} logits")
    trained: nn.Module = network.train()
    return trained


def stem_of(network: nn.Module) -> Stem | None:
    """The first layers of a torchvision network.

    Args:
        network: any of them.

    Returns:
        The stem; None where their stride and pooling cannot be other than they are.
    """
    name = _first_convolution(network)
    conv = network.get_submodule(name) if name else None
    if not isinstance(conv, nn.Conv2d) or conv.stride[0] == conv.kernel_size[0] or type(network).__name__ == "VGG":
        return None
    place = _place_of_pool(network)
    pool = place is not None and isinstance(network.get_submodule(place), nn.MaxPool2d)
    return Stem(conv.kernel_size[0], conv.stride[0], pool, place is not None)


def _refuse_unknown_stem(stem: dict[str, Any]) -> None:
    kinds: dict[str, tuple[Any, ...]] = {
        "stem": ("plain", "small"),
        "stem_kernel": (3, 5, 7),
        "stem_stride": (1, 2),
        "stem_pool": (True, False),
    }
    for name, value in stem.items():
        if value not in kinds[name]:
            raise UserError(f"model argument {name}={value!r}: known are {', '.join(map(str, kinds[name]))}")


def _set_stem(network: nn.Module, stem: dict[str, Any]) -> None:
    """The first convolution and the pooling behind it, as far as ``stem`` says them one by one."""
    name, place = _first_convolution(network), _place_of_pool(network)
    changes: dict[str, Any] = {}
    if "stem_kernel" in stem:
        changes |= {"kernel_size": stem["stem_kernel"], "padding": stem["stem_kernel"] // 2}
    if "stem_stride" in stem:
        changes["stride"] = stem["stem_stride"]
    if changes and name:
        _replace(network, name, _like(network.get_submodule(name), **changes))  # type: ignore[arg-type]
    if "stem_pool" in stem:
        if place is None:
            raise ValueError("it has no max pooling behind its first convolution")
        _replace(network, place, nn.MaxPool2d(3, 2, 1) if stem["stem_pool"] else nn.Identity())


def _first_convolution(network: nn.Module) -> str | None:
    return next((name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)


def _place_of_pool(network: nn.Module) -> str | None:
    modules = dict(network.named_modules())
    return next((name for name in _POOLS if isinstance(modules.get(name), nn.MaxPool2d | nn.Identity)), None)


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
