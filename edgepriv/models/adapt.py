"""A network of the user's own as the rest of edgepriv expects it: float32 in, one float32 tensor of logits out, no wrappers.

What is changed is what neither names nor weights depend on, and every change is told in a sentence.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from edgepriv.errors import UserError

_LOGITS = "logits"
_NARROW = (torch.float16, torch.bfloat16, torch.float64)


def unwrapped(network: nn.Module) -> nn.Module:
    """The network without DataParallel, DistributedDataParallel and torch.compile around it or around parts of it.

    Args:
        network: changed in place where parts are wrapped.

    Returns:
        The network inside.
    """
    network = _inside(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if _inside(child) is not child:
                setattr(module, name, _inside(child))
    return network


def _inside(module: nn.Module) -> nn.Module:
    while True:
        if isinstance(module, DataParallel | DistributedDataParallel):
            module = module.module
        elif isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # type: ignore[assignment]
        else:
            return module


def adapted(network: nn.Module, name: str, input_shape: tuple[int, ...]) -> tuple[nn.Module, tuple[str, ...]]:
    """A network made to take and return what everything here expects.

    Args:
        network: the user's.
        name: of the model, for the message.
        input_shape: of one example.

    Returns:
        The network in eval mode, which takes float32 [N, *input_shape], leaves it unchanged and returns float32 [N, K]; and
        sentences about what was done to that end.

    Raises:
        UserError: when it cannot be.
    """
    network = unwrapped(network).eval()
    notes = []
    dtypes = {parameter.dtype for parameter in network.parameters() if parameter.is_floating_point()}
    x = probe(input_shape)
    try:
        answer, changed = _asked(network, x)
    except Exception:
        if dtypes & set(_NARROW):
            network = network.float()
        answer, changed, told = _asked_otherwise(network, x, name)
        notes += told
    if dtypes & set(_NARROW) and not dtypes & set(_NARROW) & {p.dtype for p in network.parameters()}:
        named = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes & set(_NARROW)))
        notes.append(f"its {named} weights became float32, in which it is trained and exported")
    if changed:
        network.register_forward_pre_hook(_with_a_copy, prepend=True)
        notes.append("it changes its input in place, and gets a copy")
    if not isinstance(answer, Tensor):
        if not isinstance(_logits_in(answer), Tensor):
            raise UserError(
                f"model {name!r} must return logits [N, K]: it returned {_described(answer)}; return the logits alone"
            )
        network.register_forward_hook(_only_logits)
        notes.append(f"of the {type(answer).__name__} that it returns, {_LOGITS!r} is read")
    return network, tuple(notes)


def _asked_otherwise(network: nn.Module, x: Tensor, name: str) -> tuple[Any, bool, list[str]]:
    """As ``_asked``, of a network in its final width that may take its input in a dictionary or by name alone."""
    told: list[str] = []
    try:
        return *_asked(network, x), told
    except Exception as error:
        key, keyword = _key_asked_for(network, x), _keyword_asked_for(network, x)
        if key is not None:
            network.register_forward_pre_hook(partial(_under_a_key, key))
            told.append(f"it takes a dictionary, and gets its input as {key!r}")
        elif keyword is not None:
            network.register_forward_pre_hook(partial(_by_name, keyword), with_kwargs=True)
            told.append(f"it gets its input by name, as {keyword}")
        else:
            raise UserError(_refusal(name, tuple(x.shape[1:]), error)) from error
    try:
        return *_asked(network, x), told
    except Exception as again:
        raise UserError(_refusal(name, tuple(x.shape[1:]), again)) from again


def probe(input_shape: tuple[int, ...]) -> Tensor:
    """Two inputs of either sign, the same each time.

    Args:
        input_shape: of one example.

    Returns:
        float32 [2, *input_shape], from a standard normal distribution.
    """
    return torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))


def _asked(network: nn.Module, x: Tensor) -> tuple[Any, bool]:
    """The answer to ``x``, and whether the network wrote into it; no generator is moved on."""
    x = x.clone()
    version = x._version
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        answer = network(x)
    return answer, x._version != version


class _Recorder(dict[Any, Any]):
    """A dictionary that has one tensor under every key, and remembers which were asked for."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x, self.asked = x, set[Any]()

    def __missing__(self, key: Any) -> Tensor:
        self.asked.add(key)
        return self.x


def _key_asked_for(network: nn.Module, x: Tensor) -> Any:
    """The one key under which a network that takes a dictionary looks for its input; None for any other network."""
    recorder = _Recorder(x.to(next((p.dtype for p in network.parameters() if p.is_floating_point()), x.dtype)))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            network(recorder)
    except Exception:
        return None
    return next(iter(recorder.asked)) if len(recorder.asked) == 1 else None


_KEYWORDS = ("pixel_values", "images", "image", "input_values", "inputs", "input", "features", "x")
"""What classifiers call their one input, Hugging Face's word first."""


def _keyword_asked_for(network: nn.Module, x: Tensor) -> str | None:
    """The name by which a network takes its input where it takes none by its place; None for any other network."""
    parameters = inspect.signature(network.forward).parameters
    taken = [name for name, each in parameters.items() if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]
    any_name = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    needed = [name for name in taken if parameters[name].default is inspect.Parameter.empty]
    likely = [name for name in _KEYWORDS if name in taken or any_name]
    x = x.to(next((p.dtype for p in network.parameters() if p.is_floating_point()), x.dtype))
    for name in needed if len(needed) == 1 else likely:
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                network(**{name: x.clone()})
        except Exception:
            continue
        return name
    return None


def _by_name(
    keyword: str, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return inputs[1:], named | {keyword: inputs[0]}


def _under_a_key(key: Any, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return ({key: inputs[0]}, *inputs[1:])


def _with_a_copy(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].clone(), *inputs[1:])


def _only_logits(module: nn.Module, inputs: tuple[Any, ...], answer: Any) -> Tensor:
    logits = _logits_in(answer)
    assert isinstance(logits, Tensor)
    return logits


def _logits_in(answer: Any) -> Any:
    return answer.get(_LOGITS) if isinstance(answer, Mapping) else getattr(answer, _LOGITS, None)


def _described(answer: Any) -> str:
    if isinstance(answer, Mapping):
        return f"a {type(answer).__name__} of {', '.join(map(repr, list(answer)[:4]))}"
    if dataclasses.is_dataclass(answer):
        return f"a {type(answer).__name__} of {', '.join(field.name for field in dataclasses.fields(answer))}"
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of {len(answer)}"
    return type(answer).__name__


def _refusal(name: str, input_shape: tuple[int, ...], error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    return (
        f"model {name!r} does not take inputs float32 [N, {', '.join(map(str, input_shape))}]: "
        f"{type(error).__name__}: {reason}"
    )
