"""Activations of 8 bits inside a torch network, where the file that ships rounds them.

A network that was trained for it carries two buffers: the places, and the range of each. Every forward then rounds there. A
place is the number of a call: those of torch's functions that return one floating tensor, counted from the network's input.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

PLACES, RANGES = "activation_places", "activation_ranges"
LEVELS = 255
HARD_SWISH_ENDS = -3.0
"""Below which a hard swish is 0."""
_HARD_SLOPE, _HARD_ZERO_POINT = 1 / 6, 128
"""Of a hard sigmoid: codes of its input that are those of its result on [0, 1]; the zero point is 0.5 * 255, rounded up."""


class Kind(IntEnum):
    """What is rounded at a call."""

    OUTPUT = 0
    OUTPUT_FOR_HARD_SWISH = 1  # which alone reads it: what is below -3 makes no difference
    INPUT = 2
    BOUNDED_INPUT = 3  # made of the network's input alone, so that the darkest and brightest input bound it
    HARD_SIGMOID = 4
    HARD_SWISH = 5


_FIXED = (Kind.HARD_SIGMOID, Kind.HARD_SWISH)
_EXPANDED: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.silu: lambda x, inplace=False: torch.mul(x, torch.sigmoid(x)),
}
"""What torch computes in one call and the file in two."""


def grids(ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grids of 256 codes over ranges: value = (code - zero point) * scale.

    Args:
        ranges: [P, 2], lowest and highest; 0 is taken into each, so that it has a code.

    Returns:
        Scales float32 [P] and zero points int64 [P]; these are rounded, so a grid may lie half a step beside its range.
    """
    wide = ranges.astype(np.float64)
    low, high = np.minimum(wide[:, 0], 0), np.maximum(wide[:, 1], 0)
    scale = np.where(high > low, (high - low) / LEVELS, 1 / LEVELS).astype(np.float32)
    return scale, np.clip(np.rint(-low / scale.astype(np.float64)), 0, LEVELS).astype(np.int64)


def attach(network: nn.Module, places: Tensor, ranges: Tensor | None = None) -> None:
    """Give a network places, in place of any that it has; it rounds there as soon as it has their ranges.

    Args:
        network: changed in place.
        places: int64 [P, 2], number of a call and ``Kind``.
        ranges: float32 [P, 2]; None for none yet.

    Raises:
        RuntimeError: for anything else.
    """
    kinds = {int(kind) for kind in Kind}
    if places.ndim != 2 or places.shape[1:] != (2,) or places.dtype != torch.int64:
        raise RuntimeError(f"{PLACES} must be int64 [P, 2]")
    if not len(places) or bool((places < 0).any()) or not set(places[:, 1].tolist()) <= kinds:
        raise RuntimeError(f"{PLACES} must name calls and what is rounded there")
    if ranges is not None and (ranges.shape != places.shape or not ranges.isfinite().all()):
        raise RuntimeError(f"{RANGES} must be finite, one pair for each place")
    detach(network)
    network.register_buffer(PLACES, places.clone())
    unknown = torch.full(places.shape, torch.nan) if ranges is None else ranges.float().clone()
    network.register_buffer(RANGES, unknown)


def detach(network: nn.Module) -> None:
    """Take places and ranges off a network.

    Args:
        network: changed in place.
    """
    for name in (PLACES, RANGES):
        network._buffers.pop(name, None)


def is_rounding(name: str) -> bool:
    """Whether an entry of a state_dict belongs to rounded activations.

    Args:
        name: of the entry.

    Returns:
        True for the two of them.
    """
    return name in (PLACES, RANGES)


def has_places(network: nn.Module) -> bool:
    """Whether a network rounds activations, or will.

    Args:
        network: any.

    Returns:
        True with places.
    """
    return PLACES in network._buffers


def ranges_of(network: nn.Module) -> np.ndarray | None:
    """The ranges that a network was trained with.

    Args:
        network: any.

    Returns:
        float32 [P, 2]; None where it rounds nothing.
    """
    ranges = network._buffers.get(RANGES)
    if ranges is None or not bool(ranges.isfinite().all()):
        return None
    array: np.ndarray = ranges.detach().cpu().numpy()
    return array


def seen_ranges(network: nn.Module) -> np.ndarray | None:
    """The ranges that training has seen, without those that are fixed.

    Args:
        network: any.

    Returns:
        float32 [P, 2]; None where it rounds nothing.
    """
    ranges, places = ranges_of(network), network._buffers.get(PLACES)
    if ranges is None or places is None:
        return None
    seen: np.ndarray = ranges[[kind not in _FIXED for kind in places[:, 1].tolist()]]
    return seen


@contextmanager
def exact_activations(network: nn.Module) -> Iterator[None]:
    """While this lasts a network rounds nothing, and has nothing in its state_dict of it.

    Args:
        network: any.

    Returns:
        A context manager.
    """
    kept = {name: network._buffers[name] for name in (PLACES, RANGES) if name in network._buffers}
    detach(network)
    try:
        yield
    finally:
        network._buffers.update(kept)


def called(network: nn.Module, weights: Mapping[str, Tensor] | None, inputs: Tensor) -> Tensor:
    """A network's answers, with its activations rounded where it has ranges.

    Args:
        network: any.
        weights: parameters and buffers by name, in place of its own.
        inputs: [N, ...].

    Returns:
        Logits [N, K].
    """
    return calling(network)(weights, inputs)


def calling(network: nn.Module) -> Callable[[Mapping[str, Tensor] | None, Tensor], Tensor]:
    """``called``, whose ranges are read now: inside torch's transforms their numbers cannot be.

    Args:
        network: any.

    Returns:
        (weights, inputs) -> logits.
    """
    ranges, places = ranges_of(network), network._buffers.get(PLACES)
    if ranges is None or places is None:
        return partial(_asked, network)
    rows = places.tolist()

    def rounding(weights: Mapping[str, Tensor] | None, inputs: Tensor) -> Tensor:
        with _Rounding(rows, ranges):
            return _asked(network, weights, inputs)

    return rounding


def _asked(network: nn.Module, weights: Mapping[str, Tensor] | None, inputs: Tensor) -> Tensor:
    logits: Tensor = functional_call(network, dict(weights), (inputs,)) if weights else network(inputs)
    return logits


class Counting(TorchFunctionMode):
    """Counts the calls of a forward. ``before`` may change the arguments of one, ``after`` its result."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch as the mode has it; torch asks for it by this name."""
        kwargs = kwargs or {}
        if func in _EXPANDED:
            with self:
                return _EXPANDED[func](*args, **kwargs)
        arguments = self.before(func, args)
        result = self.compute(func, arguments, kwargs)
        if not isinstance(result, Tensor) or not result.is_floating_point() or func.__name__ == "__get__":
            return result
        result = self.after(func, arguments, kwargs, result)
        self.count += 1
        return result

    def before(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """What is passed on to a function.

        Args:
            func: of torch.
            args: that it was called with.

        Returns:
            Arguments.
        """
        return args

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function.

        Args:
            func: of torch.
            args: of ``before``.
            kwargs: named arguments.

        Returns:
            What it returns.
        """
        return func(*args, **kwargs)

    def after(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> Tensor:
        """What the network goes on with.

        Args:
            func: of torch.
            args: of ``before``.
            kwargs: named arguments.
            result: floating point, what the function returned.

        Returns:
            A result of the same shape.
        """
        return result


class _Rounding(Counting):
    def __init__(self, places: list[list[int]], ranges: np.ndarray) -> None:
        super().__init__()
        self.inputs: dict[int, tuple[float, int]] = {}
        self.outputs: dict[int, tuple[float, int]] = {}
        self.hard: dict[int, Kind] = {}
        scales, zero_points = grids(ranges)
        for (number, kind), scale, zero_point in zip(places, scales.tolist(), zero_points.tolist(), strict=True):
            if kind in _FIXED:
                self.hard[number] = Kind(kind)
            elif kind in (Kind.INPUT, Kind.BOUNDED_INPUT):
                self.inputs[number] = scale, zero_point
            else:
                self.outputs[number] = scale, zero_point

    def before(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        asks_size = func.__name__ in ("__get__", "dim", "size")  # no call that counts
        if self.count in self.inputs and args and isinstance(args[0], Tensor) and not asks_size:
            return (rounded(args[0], *self.inputs[self.count]), *args[1:])
        return args

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.count not in self.hard or func not in (functional.hardsigmoid, functional.hardswish):
            return func(*args, **kwargs)
        share = rounded(args[0] * _HARD_SLOPE + _HARD_ZERO_POINT / LEVELS, 1 / LEVELS, 0)
        return share if func is functional.hardsigmoid else args[0] * share

    def after(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> Tensor:
        return rounded(result, *self.outputs[self.count]) if self.count in self.outputs else result


def rounded(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """Activations on a grid of 256 codes. The gradient passes straight through the rounding, and not beyond the grid's ends.

    Args:
        x: any shape.
        scale: of the grid.
        zero_point: of the grid, 0 to 255.

    Returns:
        Shape and type of ``x``.
    """
    kept = x.clamp(-zero_point * scale, (LEVELS - zero_point) * scale)
    with torch.no_grad():
        codes = ((kept.float() / scale).round() + zero_point).clamp(0, LEVELS)
        change = ((codes - zero_point) * scale).to(x.dtype) - kept
    straight_through: Tensor = kept + change
    return straight_through


class _Watching(Counting):
    """``low``, ``high``: what each place has seen."""

    def __init__(self, places: Tensor, low: Tensor, high: Tensor, kinds: tuple[Kind, ...]) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.rows: dict[int, list[tuple[int, Kind]]] = {}
        for row, (number, kind) in enumerate(places.tolist()):
            if kind in kinds:
                self.rows.setdefault(number, []).append((row, Kind(kind)))

    def after(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> Tensor:
        for row, kind in self.rows.get(self.count, ()):
            seen = args[0] if kind in (Kind.INPUT, Kind.BOUNDED_INPUT) else result
            least = HARD_SWISH_ENDS if kind == Kind.OUTPUT_FOR_HARD_SWISH else -torch.inf
            self.low[row] = torch.minimum(self.low[row], seen.amin().float().clamp(min=least))
            self.high[row] = torch.maximum(self.high[row], seen.amax().float())
        return result


_SEEN = tuple(kind for kind in Kind if kind not in _FIXED)


@torch.no_grad()
def watch(network: nn.Module, weights: Mapping[str, Tensor], inputs: Tensor, extremes: Tensor) -> None:
    """Set the range of each place to the smallest and largest number that inputs give there, nothing being rounded.

    Args:
        network: in eval mode, with places.
        weights: in place of its own, by parameter name.
        inputs: what it sees, normalised, [n >= 1, ...].
        extremes: the darkest and the brightest input, normalised, [2, ...]: they bound what is made of the input alone.
    """
    places, ranges = network._buffers[PLACES], network._buffers[RANGES]
    assert places is not None
    assert ranges is not None
    low, high = torch.zeros_like(ranges[:, 0]), torch.zeros_like(ranges[:, 1])
    for part in inputs.split(64):
        with _Watching(places, low, high, _SEEN):
            _asked(network, weights, part)
    with _Watching(places, low, high, (Kind.BOUNDED_INPUT,)):
        _asked(network, weights, extremes)
    fixed = torch.tensor([kind in _FIXED for kind in places[:, 1].tolist()], device=high.device)
    ranges.copy_(torch.stack([low, torch.where(fixed, torch.ones_like(high), high)], dim=1))
