"""What whoever holds a model's weights sees of an example: the input of the last layer, and the gradient of the loss.

Works on any differentiable model, the twin of a file or a network in torch: products of weights with what depends on the
input are watched while the model runs, whatever module or operator computes them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edgepriv import progress

Floats = npt.NDArray[np.float64]
Logits = Callable[[Tensor], Tensor]

_Identity = tuple[int, tuple[int, ...], tuple[int, ...]]

_BATCH = 256
_PATIENCE = 2.0  # seconds before progress is shown
_SAME = 1e-3
"""Share of the logits' spread by which they may differ, from example to example, from what the last product gives."""
_PRODUCTS = {
    functional.linear, torch.matmul, torch.mm, torch.addmm, torch.Tensor.matmul, torch.Tensor.__matmul__,
    functional.conv1d, functional.conv2d, functional.conv3d,
}  # fmt: skip


class NoLastLayer(Exception):
    """The logits are not the outputs of one linear layer; the message says so."""


def last_layer_of(logits_of: Logits, x: npt.NDArray[np.float32]) -> Floats:
    """The logits of examples, and what the last layer makes them of.

    Args:
        logits_of: a differentiable model.
        x: float32 [n, ...] in [0, 1].

    Returns:
        float64 [n, K + D]: logits, then the D inputs of the linear layer that makes them.

    Raises:
        NoLastLayer: where the last product of features and weights does not give the logits, up to a bias.
    """
    logits, features = [], []
    for part in _batches(x):
        watch = _Watch(copying=False)
        with torch.no_grad(), watch:
            answered = logits_of(part)
        logits.append(answered)
        features.append(_inputs_of_last(watch.products, answered))
    both: Floats = torch.cat([torch.cat(logits), torch.cat(features)], dim=1).double().numpy()
    return both


def gradient_norms(logits_of: Logits, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> Floats:
    """Length of the gradient of each example's cross-entropy by all weights of linear and convolutional layers.

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
        watch = _Watch(copying=True)
        fed = _tensor(x[i : i + 1]).requires_grad_(True)
        with torch.enable_grad(), watch:
            # Times one: what depends on the input is then told from weights by not being a leaf.
            loss = functional.cross_entropy(logits_of(fed * 1.0), torch.from_numpy(y[i : i + 1]))
        leaves = [copy for _, copy in watch.copies.values()]
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True) if leaves and loss.requires_grad else ()
        squares = [float((gradient.double() ** 2).sum()) for gradient in gradients if gradient is not None]
        norms[i] = np.sqrt(sum(squares))
    return norms


LAST_LAYER, GRADIENT_NORM = "last-layer", "gradient-norm"

WATCHED: dict[str, Callable[[Logits, npt.NDArray[np.float32], npt.NDArray[np.int64]], Floats]] = {
    LAST_LAYER: lambda logits_of, x, _: last_layer_of(logits_of, x),
    GRADIENT_NORM: lambda logits_of, x, y: gradient_norms(logits_of, x, y)[:, None],
}
"""What attacks read of a model's weights (kinds of ``Evidence.queried``) -> how it is seen, float64 [n, F]."""


class _Watch(TorchFunctionMode):
    """Records products of features and weights, ``products``: features [N, D], what is made [N, K], and which weights.

    ``copying``: puts copies in the place of weights, by which the loss can then be differentiated, into ``copies``. A weight
    that is used twice has one copy, and is kept so that no other takes its address.
    """

    def __init__(self, *, copying: bool) -> None:
        super().__init__()
        self.copying = copying
        self.copies: dict[_Identity, tuple[Tensor, Tensor]] = {}
        self.products: list[tuple[Tensor, Tensor, _Identity]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function not in _PRODUCTS:
            return function(*args, **kwargs)
        if self.copying:
            return function(*map(self._copy, args), **{name: self._copy(value) for name, value in kwargs.items()})
        made = function(*args, **kwargs)
        operands = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        first, second = operands[1:3] if function is torch.addmm else operands[:2]
        if first.ndim == second.ndim == made.ndim == 2:
            self.products.append((first, made, _identity(second)))
        return made

    def _copy(self, value: Any) -> Any:
        """Of a weight: what depends on the input, or on a copy, has a gradient and is no leaf."""
        if not isinstance(value, Tensor) or not value.is_floating_point() or not value.is_leaf:
            return value
        copy = value.detach().clone().requires_grad_(True)
        return self.copies.setdefault(_identity(value), (value, copy))[1]


def _identity(value: Tensor) -> _Identity:
    return value.data_ptr(), tuple(value.shape), value.stride()


def _inputs_of_last(products: list[tuple[Tensor, Tensor, _Identity]], logits: Tensor) -> Tensor:
    """Inputs of the product that gives the logits but for a bias. A model that is asked for one input at a time, or for so
    many and filled up, makes it several times."""
    if not products:
        raise NoLastLayer("it has no linear layer")
    last = products[-1][2]
    parts = [(features, made) for features, made, weights in products if weights == last]
    features, made = (torch.cat(side)[: len(logits)] for side in zip(*parts, strict=True))
    if made.shape != logits.shape:
        raise NoLastLayer("its last layer is not a linear layer with an output for each class")
    bias = logits - made
    if not (bias - bias[:1]).abs().max() <= _SAME * max(1e-6, float(logits.std())):
        raise NoLastLayer("its scores are not the outputs of its last linear layer")
    return features


def _batches(x: npt.NDArray[np.float32]) -> Iterator[Tensor]:
    for start in range(0, len(x), _BATCH):
        yield _tensor(x[start : start + _BATCH])


def _tensor(x: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x))
