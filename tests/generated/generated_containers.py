"""How training code writes its weights: by name, a function from a network to a file."""

import json
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def _prefixed(prefix: str, state: State) -> State:
    return OrderedDict((prefix + name, value) for name, value in state.items())


def _plain(net: nn.Module) -> nn.Module:
    """The network, or a layer of one that torch does not pickle whole: networks with parametrizations."""
    plain = next(module for module in net.modules() if type(module) is nn.Linear)
    return plain if any(hasattr(module, "parametrizations") for module in net.modules()) else net


def _optimizer(net: nn.Module) -> dict[str, Any]:
    return torch.optim.SGD(net.parameters(), 0.1, momentum=0.9).state_dict()


def _saved(content: Callable[[nn.Module, State], Any]) -> Callable[[nn.Module, State, Path], None]:
    return lambda net, state, path: torch.save(content(net, state), path)


def _safetensors(net: nn.Module, state: State, path: Path) -> None:
    """The format's own layout: length of the header, header, bytes."""
    words = {
        torch.float32: "F32",
        torch.float64: "F64",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.int64: "I64",
        torch.float8_e4m3fn: "F8_E4M3",
    }
    header: dict[str, Any] = {}
    body = b""
    for name, value in state.items():
        raw = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        header[name] = {
            "dtype": words[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + body)


WRITERS: dict[str, tuple[str, Callable[[nn.Module, State, Path], None]]] = {
    "bare": ("pt", _saved(lambda net, state: state)),
    "state_dict": ("pth", _saved(lambda net, state: {"state_dict": state, "epoch": 3})),
    "model_state_dict": (
        "pth",
        _saved(lambda net, state: {"epoch": 5, "model_state_dict": state, "optimizer_state_dict": _optimizer(net)}),
    ),
    "model": ("pth", _saved(lambda net, state: {"model": state, "optimizer": _optimizer(net), "epoch": 3})),
    "net-module": ("pth", _saved(lambda net, state: {"net": _prefixed("module.", state), "acc": 93.1})),
    "compiled": ("pth", _saved(lambda net, state: _prefixed("_orig_mod.", state))),
    "compiled-parallel": ("pth", _saved(lambda net, state: _prefixed("module._orig_mod.", state))),
    "lightning": (
        "ckpt",
        _saved(lambda net, state: {"epoch": 3, "state_dict": _prefixed("model.", state), "loops": {}, "callbacks": {}}),
    ),
    "averaged": (
        "pth",
        _saved(lambda net, state: {"n_averaged": torch.tensor(3), **_prefixed("module.", state)}),
    ),
    "counted": (
        "pth",
        _saved(
            lambda net, state: {
                **state,
                "total_ops": torch.zeros(1, dtype=torch.float64),
                "total_params": torch.zeros(1),
            }
        ),
    ),
    "safetensors": ("safetensors", _safetensors),
}

REFUSED: dict[str, tuple[str, Callable[[nn.Module, State, Path], None]]] = {
    "whole-pickle": ("pt", _saved(lambda net, state: _plain(net))),
    "torchscript": (
        "pt",
        lambda net, state, path: torch.jit.trace(net, torch.zeros(2, *net.input_shape)).save(str(path)),  # type: ignore
    ),
}
