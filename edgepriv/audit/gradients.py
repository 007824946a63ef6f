"""Lengths of the gradients of single examples by the weights of a model, a batch at a time.

Works on any differentiable model: products of weights with what depends on the input are watched while the model runs, whatever
module or operator computes them. From what comes in and what comes back of a product follows each example's gradient by its
weight (as in ``training.clipped``, for modules that are known). That is right where the model answers each example by itself,
with the batch first: a few examples are done one at a time as well, and all are where the two do not agree.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edgepriv import progress

Floats = npt.NDArray[np.float64]
Logits = Callable[[Tensor], Tensor]
Identity = tuple[int, tuple[int, ...], tuple[int, ...]]

CONVOLUTIONS = {functional.conv1d, functional.conv2d, functional.conv3d}
MATRICES = {torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.__matmul__}
PRODUCTS = {functional.linear, torch.addmm} | MATRICES | CONVOLUTIONS
"""Functions of torch that multiply features by weights."""
PROVED = 2
"""Examples that are done in both ways."""
SAME = 1e-3
"""By which share the two may differ: both round in 32 bits."""
LARGEST_BATCH, HELD_AT_ONCE = 256, 4_000_000
"""Examples in a batch; and numbers that the products of a batch give, and that windows of a convolution's inputs hold."""
_PATIENCE = 2.0  # seconds before progress is shown


class NotApart(Exception):
    """The examples of a batch cannot be told apart in a product of this model."""


def identity(value: Tensor) -> Identity:
    """What tells two weights apart while both are kept.

    Args:
        value: a weight.

    Returns:
        Its place in memory, shape and strides.
    """
    return value.data_ptr(), tuple(value.shape), value.stride()


def tensor(x: npt.NDArray[np.float32]) -> Tensor:
    """Inputs for a model.

    Args:
        x: float32 [n, ...].

    Returns:
        The same as a tensor.
    """
    return torch.from_numpy(np.ascontiguousarray(x))


def gradient_norms(logits_of: Logits, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> Floats:
    """Length of the gradient of each example's cross-entropy by all weights of linear and convolutional layers.

    Args:
        logits_of: a differentiable model.
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.

    Returns:
        float64 [n], L2 norms.
    """
    alone = one_at_a_time(logits_of, x[:PROVED], y[:PROVED])
    if not len(x):
        return alone
    try:
        together, size = _of_batch(logits_of, x[:PROVED], y[:PROVED])
        if not np.allclose(together, alone, rtol=SAME, atol=1e-12):
            raise NotApart
        batch = int(np.clip(HELD_AT_ONCE // max(1, size), 1, LARGEST_BATCH))
        return np.concatenate([_of_batch(logits_of, x[rows], y[rows])[0] for rows in _slices(len(x), batch)])
    except NotApart:
        return one_at_a_time(logits_of, x, y)


def one_at_a_time(logits_of: Logits, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> Floats:
    """``gradient_norms`` of any model, slowly.

    Args:
        logits_of: a differentiable model.
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.

    Returns:
        float64 [n], L2 norms.
    """
    norms = np.empty(len(x))
    one_by_one = progress.each(range(len(x)), "gradients", unit="example", total=len(x), delay=_PATIENCE)
    for i in one_by_one:
        watch = _Copying()
        fed = tensor(x[i : i + 1]).requires_grad_(True)
        with torch.enable_grad(), watch:
            # Times one: what depends on the input is then told from weights by not being a leaf.
            loss = functional.cross_entropy(logits_of(fed * 1.0), torch.from_numpy(y[i : i + 1]))
        leaves = [copy for _, copy in watch.copies.values()]
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True) if leaves and loss.requires_grad else ()
        squares = [float((gradient.double() ** 2).sum()) for gradient in gradients if gradient is not None]
        norms[i] = np.sqrt(sum(squares))
    return norms


def _slices(count: int, size: int) -> Iterator[slice]:
    starts = range(0, count, size)
    for start in progress.each(starts, "gradients", unit="batch", total=len(starts), delay=_PATIENCE):
        yield slice(start, start + size)


def _of_batch(logits_of: Logits, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> tuple[Floats, int]:
    """Norms [B], and how many numbers the products of one example give."""
    watch = _Recording(len(x))
    fed = tensor(x).requires_grad_(True)
    with torch.enable_grad(), watch:
        loss = functional.cross_entropy(logits_of(fed * 1.0), torch.from_numpy(y), reduction="sum")
    squares = torch.zeros(len(x), dtype=torch.float64)
    if not watch.edges or not loss.requires_grad:
        return squares.numpy(), 0
    returned = torch.autograd.grad(loss, watch.edges, allow_unused=True)
    with torch.no_grad():
        for uses in watch.uses.values():
            known = [(use, back) for use in uses if (back := returned[use.made]) is not None]
            if len(known) == 1:
                use, back = known[0]
                squares += use.squares(back)
            elif known:  # of a weight that is used more than once, the gradients add up
                squares += torch.stack([_flat(use.gradients(back)) for use, back in known]).sum(0).square().sum(1)
    return squares.sqrt().numpy(), watch.size


@dataclass(frozen=True, eq=False)
class _Use:
    """A weight in a product. ``weight``; ``made``: which product; ``gradients``: what comes back [B, ...] -> each example's
    gradient by the weight [B, ...]; ``squares``: -> its squared length, float64 [B]."""

    weight: Tensor
    made: int
    gradients: Callable[[Tensor], Tensor]
    squares: Callable[[Tensor], Tensor]


class _Recording(TorchFunctionMode):
    """Records the products of features and weights of ``count`` examples.

    ``edges``: of what each product made, by which it is differentiated even if it is changed in its place later. ``uses``: of
    each weight, and of each bias inside a product. ``size``: how many numbers the products of one example give.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.edges: list[GradientEdge] = []
        self.uses: dict[Identity, list[_Use]] = {}
        self.size = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        if function in PRODUCTS:
            try:
                self._record(_READ[function](*args, **(kwargs or {})), made)
            except TypeError as error:  # called as nobody calls it here
                raise NotApart from error
        return made

    def _record(self, operands: "_Operands", made: Tensor) -> None:
        features, weight, bias = operands.features, operands.weight, operands.bias
        leaves = [value for value in (weight, bias) if value is not None and value.is_leaf]
        if features.is_leaf:
            raise NotApart
        if not leaves:
            return
        if not made.requires_grad or min(features.ndim, made.ndim) < 2:
            raise NotApart
        if len(features) != self.count or len(made) != self.count:
            raise NotApart
        place = len(self.edges)
        self.edges.append(get_gradient_edge(made))
        self.size += made[0].numel()
        if weight.is_leaf:
            self._use(_Use(weight, place, operands.gradients, operands.squares))
        if bias is not None and bias.is_leaf:
            channel = operands.channel % made.ndim
            if bias.numel() != made.shape[channel]:
                raise NotApart

            def of_bias(back: Tensor) -> Tensor:
                return back.movedim(channel, 1).flatten(2).sum(2) if back.ndim > 2 else back

            self._use(_Use(bias, place, of_bias, lambda back: _lengths(of_bias(back))))

    def _use(self, use: _Use) -> None:
        self.uses.setdefault(identity(use.weight), []).append(use)


@dataclass(frozen=True, eq=False)
class _Operands:
    """A product as it was called. ``channel``: the axis of what is made that the bias is added along."""

    features: Tensor
    weight: Tensor
    bias: Tensor | None
    channel: int
    gradients: Callable[[Tensor], Tensor]
    squares: Callable[[Tensor], Tensor]


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> _Operands:
    return _of_matrix(input, weight, bias, transposed=True)


def _matmul(input: Tensor, other: Tensor) -> _Operands:
    return _of_matrix(input, other, None, transposed=False)


def _addmm(input: Tensor, mat1: Tensor, mat2: Tensor) -> _Operands:
    return _of_matrix(mat1, mat2, input, transposed=False)


def _of_matrix(features: Tensor, weight: Tensor, bias: Tensor | None, *, transposed: bool) -> _Operands:
    """``transposed``: the weight is [O, I], not [I, O]."""
    if weight.ndim != 2 and weight.is_leaf:
        raise NotApart

    def gradients(back: Tensor) -> Tensor:
        given, back = _rows(features), _rows(back)
        return back.mT @ given if transposed else given.mT @ back

    def squares(back: Tensor) -> Tensor:
        if features.ndim == 2:
            return _lengths(features) * _lengths(back)
        return _by_parts(lambda given, own: own.mT @ given, weight.numel(), _rows(features), _rows(back))

    return _Operands(features, weight, bias, -1, gradients, squares)


# The names and defaults of torch: what calls it by keyword must be read as torch reads it.
def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> _Operands:
    axes = weight.ndim - 2
    if isinstance(padding, str) or axes > 2 or input.ndim != weight.ndim:
        raise NotApart
    step, pad, apart = (_pair(value, axes, idle) for value, idle in ((stride, 1), (padding, 0), (dilation, 1)))
    window = (1, *weight.shape[2:]) if axes == 1 else tuple(weight.shape[2:])

    def of(given: Tensor, back: Tensor) -> Tensor:
        """[B, O, I / groups * window], as the weight lies."""
        given = given[:, :, None] if axes == 1 else given
        unfolded = functional.unfold(given, window, apart, pad, step).unflatten(1, (groups, -1))
        own = back.flatten(2).unflatten(1, (groups, -1))
        products: Tensor = own @ unfolded.mT
        return products.flatten(1, 2)

    def squares(back: Tensor) -> Tensor:
        return _by_parts(of, weight[0].numel() * groups * back[0, 0].numel(), input, back)

    return _Operands(input, weight, bias, 1, lambda back: of(input, back), squares)


def _pair(value: int | tuple[int, ...], axes: int, idle: int) -> tuple[int, ...]:
    values = (value,) * axes if isinstance(value, int) else tuple(value) * (axes if len(value) == 1 else 1)
    return (idle, *values) if axes == 1 else values


_READ: dict[Any, Callable[..., _Operands]] = {
    functional.linear: _linear,
    torch.addmm: _addmm,
    **dict.fromkeys(MATRICES, _matmul),
    **dict.fromkeys(CONVOLUTIONS, _convolution),
}


def _rows(value: Tensor) -> Tensor:
    """[B, ..., D] as [B, rows, D]."""
    return value.reshape(len(value), -1, value.shape[-1])


def _flat(value: Tensor) -> Tensor:
    return value.flatten(1).double()


def _lengths(value: Tensor) -> Tensor:
    """Squared L2 norms [B], in 64 bits."""
    return _flat(value).square().sum(1)


def _by_parts(gradients: Callable[[Tensor, Tensor], Tensor], size: int, given: Tensor, back: Tensor) -> Tensor:
    """Squared lengths [B] of gradients, of so many examples at a time as ``size`` numbers for each allow."""
    parts = max(1, HELD_AT_ONCE // max(1, size))
    pairs = zip(given.split(parts), back.split(parts), strict=True)
    return torch.cat([_lengths(gradients(own, returned)) for own, returned in pairs])


class _Copying(TorchFunctionMode):
    """Puts copies in the place of weights in products, by which the loss can then be differentiated, into ``copies``. A weight
    that is used twice has one copy, and is kept so that no other takes its address."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[Identity, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function not in PRODUCTS:
            return function(*args, **kwargs)
        return function(*map(self._copy, args), **{name: self._copy(value) for name, value in kwargs.items()})

    def _copy(self, value: Any) -> Any:
        """Of a weight: what depends on the input, or on a copy, has a gradient and is no leaf."""
        if not isinstance(value, Tensor) or not value.is_floating_point() or not value.is_leaf:
            return value
        copy = value.detach().clone().requires_grad_(True)
        return self.copies.setdefault(identity(value), (value, copy))[1]
