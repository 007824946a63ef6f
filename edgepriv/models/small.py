"""The small architectures: LeNet-5, ResNet-20, a multilayer perceptron, the quickstart's CNN and a linear layer.

Each factory takes ``num_classes``, ``input_shape`` ([C, H, W] or [F]) and its own keyword arguments, and returns a module
from float32 [N, *input_shape] to logits [N, num_classes].
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepriv.errors import UserError


def _require_image(name: str, input_shape: Sequence[int], smallest: int) -> None:
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise UserError(
            f"model {name!r} needs images of at least {smallest}x{smallest}; the inputs have shape {list(input_shape)}"
        )


def _flat_features(layers: nn.Module, input_shape: Sequence[int]) -> int:
    with torch.no_grad():
        return math.prod(layers(torch.zeros(1, *input_shape)).shape[1:])


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al. 1998) with ReLU and max pooling; 61,706 parameters on 1x28x28."""

    def __init__(self, num_classes: int, input_shape: Sequence[int]) -> None:
        super().__init__()
        _require_image("lenet", input_shape, 12)
        self.conv1 = nn.Conv2d(input_shape[0], 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(
            _flat_features(nn.Sequential(self.conv1, nn.MaxPool2d(2), self.conv2, nn.MaxPool2d(2)), input_shape), 120
        )
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of normalised images [N, C, H, W]."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc3(functional.relu(self.fc2(x)))
        return logits


class SmallCNN(nn.Module):
    """Three convolutions and one linear layer, for images as small as 8x8."""

    def __init__(self, num_classes: int, input_shape: Sequence[int], width: int = 16) -> None:
        super().__init__()
        _require_image("cnn", input_shape, 4)
        if not isinstance(width, int) or width < 1:
            raise UserError(f"model 'cnn': width must be a positive whole number (got {width!r})")
        self.conv1 = nn.Conv2d(input_shape[0], width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3, padding=1)
        self.fc = nn.Linear(4 * width * (input_shape[1] // 4) * (input_shape[2] // 4), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of normalised images [N, C, H, W]."""
        x = functional.relu(self.conv1(x))
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv3(x)), 2)
        logits: Tensor = self.fc(x.flatten(1))
        return logits


class LinearModel(nn.Module):
    """One linear layer: logistic regression of the inputs, or of the features in front of it."""

    def __init__(self, num_classes: int, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.fc = nn.Linear(math.prod(input_shape), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of normalised inputs [N, ...]."""
        logits: Tensor = self.fc(x.flatten(1))
        return logits


class MLP(nn.Module):
    """Linear layers of the given hidden ``widths``, one number for one such layer, with ReLU between them."""

    def __init__(
        self, num_classes: int, input_shape: Sequence[int], widths: Sequence[int] | int = (512, 256, 128)
    ) -> None:
        super().__init__()
        asked, widths = widths, (widths,) if isinstance(widths, int) else widths
        if not widths or not all(isinstance(width, int) and width > 0 for width in widths):
            raise UserError(f"model 'mlp': widths must be positive whole numbers, such as 512,256 (got {asked!r})")
        sizes = [math.prod(input_shape), *widths, num_classes]
        self.layers = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of normalised inputs [N, ...]."""
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        logits: Tensor = self.layers[-1](x)
        return logits


_Norm = Callable[[int], nn.Module]
_NORMS: dict[str, _Norm] = {"batch": nn.BatchNorm2d, "group": lambda channels: nn.GroupNorm(8, channels)}


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, the block of ``ResNet20``."""

    def __init__(self, channels_in: int, channels: int, stride: int, norm: _Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = norm(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, channels, H / stride, W / stride] of maps [N, channels_in, H, W]."""
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet20(nn.Module):
    """ResNet-20 for small images (He et al. 2016, section 4.2), with projection shortcuts (option B).

    ``norm``: "batch", or "group" (8 groups) for differentially private training; both under the same parameter names.
    """

    def __init__(self, num_classes: int, input_shape: Sequence[int], norm: str = "batch") -> None:
        super().__init__()
        if norm not in _NORMS:
            raise UserError(f"model 'resnet20': unknown norm {norm!r}: known are {', '.join(_NORMS)}")
        normalization = _NORMS[norm]
        _require_image("resnet20", input_shape, 8)
        self.conv1 = nn.Conv2d(input_shape[0], 16, 3, 1, 1, bias=False)
        self.bn1 = normalization(16)
        plan = [(16, 16, 1), *[(16, 16, 1)] * 2, (16, 32, 2), *[(32, 32, 1)] * 2, (32, 64, 2), *[(64, 64, 1)] * 2]
        self.blocks = nn.Sequential(*(ResidualBlock(*sizes, normalization) for sizes in plan))
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of normalised images [N, C, H, W]."""
        x = self.blocks(functional.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits
