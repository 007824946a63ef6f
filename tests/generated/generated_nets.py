"""Small networks of the forms that people write, each made from a few words; ``make`` is the factory that a command names."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

BODIES = ("mlp", "cnn", "pooled")
NORMS = ("none", "batch", "layer", "group")
WRAPS = ("none", "weight_norm", "old_weight_norm", "spectral_norm", "pruned")
TWISTS = (
    "none",
    "double-buffer",
    "infinite-mask",
    "in-place",
    "bfloat16-buffer",
    "double-weights",
    "wrapped",
    "odd-names",
)
COUPLED = ("centred", "batch-statistics")
RANDOM = ("dropout-always",)


def _norm(kind: str, channels: int, image: bool, statistics: bool = True) -> nn.Module:
    if kind == "batch":
        make = nn.BatchNorm2d if image else nn.BatchNorm1d
        return make(channels, track_running_stats=statistics)
    if kind == "group":
        return nn.GroupNorm(2, channels)
    if kind == "layer" and not image:
        return nn.LayerNorm(channels)
    return nn.Identity()


def _wrapped(module: nn.Module, wrap: str) -> nn.Module:
    if wrap == "weight_norm":
        return parametrizations.weight_norm(module)
    if wrap == "old_weight_norm":
        return torch.nn.utils.weight_norm(module)
    if wrap == "spectral_norm":
        return parametrizations.spectral_norm(module)
    if wrap == "pruned":
        prune.l1_unstructured(module, "weight", 0.3)
    return module


class Body(nn.Module):
    """Two layers and a last one, with whatever ``norm``, ``wrap`` and ``twist`` put between or around them."""

    def __init__(
        self, num_classes: int, input_shape: Sequence[int], body: str, norm: str, wrap: str, twist: str
    ) -> None:
        super().__init__()
        image, width = body != "mlp", 16
        statistics = twist != "batch-statistics"
        kind = "batch" if twist == "batch-statistics" else norm
        if image:
            self.first: nn.Module = nn.Conv2d(input_shape[0], width, 3, padding=1)
            self.second: nn.Module = nn.Conv2d(width, width, 3, stride=2, padding=1)
            pooled = width if body == "pooled" else width * math.prod((size + 1) // 2 for size in input_shape[1:])
        else:
            self.first, self.second, pooled = (
                nn.Linear(math.prod(input_shape), 2 * width),
                nn.Linear(2 * width, width),
                width,
            )
        self.first, self.second = _wrapped(self.first, wrap), _wrapped(self.second, wrap)
        self.norm = _norm(kind, width if image else 2 * width, image, statistics)
        self.last = nn.Linear(pooled, num_classes)
        self.body, self.twist = body, twist
        if twist == "double-buffer":
            self.register_buffer(
                "log_prior", torch.full((num_classes,), math.log(1 / num_classes), dtype=torch.float64)
            )
        if twist == "infinite-mask":
            self.register_buffer("mask", torch.full((5, 5), -math.inf).triu(1))
        if twist == "bfloat16-buffer":
            self.register_buffer("shift", torch.zeros(num_classes, dtype=torch.bfloat16))
        if twist == "odd-names":
            self.probabilities = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        if self.twist == "in-place":
            x = x.mul_(2.0).sub_(1.0)
        if self.twist == "centred":
            x = x - x.mean(0, keepdim=True)
        if self.twist == "dropout-always":
            x = F.dropout(x, 0.5)
        if self.twist == "double-weights":
            x = x.double()
        x = x if self.body != "mlp" else x.flatten(1)
        x = F.relu(self.second(F.relu(self.norm(self.first(x)))))
        x = x.mean((2, 3)) if self.body == "pooled" else x.flatten(1)
        logits: Tensor = self.last(x)
        if self.twist == "double-buffer":
            return logits - self.log_prior
        if self.twist == "bfloat16-buffer":
            return logits + self.shift
        if self.twist == "odd-names":
            return logits + self.probabilities
        return logits


class Wrapped(nn.Module):
    """A network inside another, as a trainer's own class keeps it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


def make(num_classes: int, input_shape: Sequence[int], **words: Any) -> nn.Module:
    """The network that ``words`` (body, norm, wrap, twist) describe."""
    net: nn.Module = Body(num_classes, input_shape, **words)
    if words["twist"] == "double-weights":
        net = net.double()
    return Wrapped(net) if words["twist"] == "wrapped" else net
