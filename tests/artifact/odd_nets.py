"""Networks of the user's own that do what others do not: factories for ``odd_nets:NAME``."""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Net(nn.Module):
    """A convolution, whatever ``middle`` is, and a Linear; ``before`` and ``after`` change what goes in and comes out."""

    def __init__(self, classes: int, middle: nn.Module | None = None, before: Any = None, after: Any = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.middle = middle or nn.Identity()
        self.fc = nn.Linear(4, classes)
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Any:
        x = x if self.before is None else self.before(x)
        x = self.fc(functional.relu(self.middle(self.conv(x))).mean((2, 3)))
        return x if self.after is None else self.after(x)


class Within(nn.Module):
    """``net`` computing in another dtype."""

    def __init__(self, net: nn.Module, dtype: torch.dtype, autocast: bool = False) -> None:
        super().__init__()
        self.net, self.dtype, self.autocast = net if autocast else net.to(dtype), dtype, autocast

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", self.dtype, enabled=self.autocast):
            return self.net(x if self.autocast else x.to(self.dtype)).float()


class Plus(nn.Module):
    """``net`` with a tensor of its own added, which is a parameter or a buffer under the name ``name``."""

    def __init__(self, net: nn.Module, name: str, value: Tensor, parameter: bool = False) -> None:
        super().__init__()
        self.net, self.name = net, name
        if parameter:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + getattr(self, self.name)


class Masked(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mask", torch.full((64, 64), float("-inf")).triu(1))
        self.register_buffer("five", torch.ones(1, 1, 1, 1, 1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1)
        mixed = ((rows[:, :, None] * rows[:, None, :] + self.mask).softmax(-1) @ rows[:, :, None])[..., 0]
        return self.net((mixed.view_as(x) * self.five[0]).float())


@dataclasses.dataclass
class Output:
    logits: Tensor
    hidden: Tensor


def _named(net: nn.Module, name: str) -> nn.Module:
    return Plus(net, name, torch.zeros(3), parameter=True)


def _clamped(x: Tensor) -> Tensor:
    return x.clamp(0) if x.min() < 0 else x


def _lazy(classes: int) -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))


def _strange_names(classes: int) -> nn.Module:
    layers = nn.ModuleDict({"head/a:b": nn.Conv2d(1, 4, 3), "c d": nn.Flatten()})
    return _Dict(layers, classes)


class _Dict(nn.Module):
    def __init__(self, layers: nn.ModuleDict, classes: int) -> None:
        super().__init__()
        self.layers, self.fc = layers, nn.Linear(4 * 36, classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers.values():
            x = layer(x)
        return self.fc(x)


NETS: dict[str, Any] = {
    "plain": lambda k: Net(k),
    "in_place": lambda k: Net(k, before=lambda x: x.mul_(2)),
    "dictionary": lambda k: Net(k, after=lambda z: {"logits": z, "hidden": z}),
    "dataclass": lambda k: Net(k, after=lambda z: Output(z, z)),
    "data_parallel": lambda k: nn.DataParallel(Net(k)),
    "compiled": lambda k: torch.compile(Net(k, nn.DataParallel(nn.BatchNorm2d(4)))),
    "doubles": lambda k: Within(Net(k), torch.float64),
    "all_bfloat16": lambda k: Net(k).bfloat16(),
    "prior": lambda k: Plus(Net(k), "log_prior", torch.full((k,), -1.0, dtype=torch.float64)),
    "called_probabilities": lambda k: _named(Net(k), "probabilities"),
    "strange_names": _strange_names,
    "masked": lambda k: Masked(Net(k)),
    "lazy": _lazy,
    "autocast": lambda k: Within(Net(k), torch.bfloat16, autocast=True),
    "tuple": lambda k: Net(k, after=lambda z: (z, z)),
    "drops": lambda k: Net(k, before=lambda x: functional.dropout(x, 0.2)),
    "no_statistics": lambda k: Net(k, nn.BatchNorm2d(4, track_running_stats=False)),
    "centred": lambda k: Net(k, before=lambda x: x - x.mean(0)),
    "counts_rows": lambda k: Net(k, before=lambda x: x.view(len(x), -1).view(len(x), 1, 8, 8)),
    "squeezes": lambda k: Net(k, after=lambda z: z.squeeze()),
    "branches": lambda k: Net(k, before=_clamped),
    "cuts_the_gradient": lambda k: Net(k, after=lambda z: z.detach()),
}


def __getattr__(name: str) -> Any:
    if name not in NETS:
        raise AttributeError(name)
    return lambda num_classes, input_shape: NETS[name](num_classes)
