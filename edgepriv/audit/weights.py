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
from torch.overrides import TorchFunctionMode

from edgepriv.audit.gradients import PRODUCTS, Identity, gradient_norms, identity, tensor

Floats = npt.NDArray[np.float64]
Logits = Callable[[Tensor], Tensor]

_BATCH = 256
_SAME = 1e-3
"""Share of the logits' spread by which they may differ, from example to example, from what the last product gives."""


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
        watch = _Watch()
        with torch.no_grad(), watch:
            answered = logits_of(part)
        logits.append(answered)
        features.append(_inputs_of_last(watch.products, answered))
    both: Floats = torch.cat([torch.cat(logits), torch.cat(features)], dim=1).double().numpy()
    return both


LAST_LAYER, GRADIENT_NORM = "last-layer", "gradient-norm"

WATCHED: dict[str, Callable[[Logits, npt.NDArray[np.float32], npt.NDArray[np.int64]], Floats]] = {
    LAST_LAYER: lambda logits_of, x, _: last_layer_of(logits_of, x),
    GRADIENT_NORM: lambda logits_of, x, y: gradient_norms(logits_of, x, y)[:, None],
}
"""What attacks read of a model's weights (kinds of ``Evidence.queried``) -> how it is seen, float64 [n, F]."""


class _Watch(TorchFunctionMode):
    """Records products of features and weights, ``products``: features [N, D], what is made [N, K], and which weights."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[Tensor, Tensor, Identity]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        made = function(*args, **kwargs)
        if function not in PRODUCTS:
            return made
        operands = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        first, second = operands[1:3] if function is torch.addmm else operands[:2]
        if first.ndim == second.ndim == made.ndim == 2:
            self.products.append((first, made, identity(second)))
        return made


def _inputs_of_last(products: list[tuple[Tensor, Tensor, Identity]], logits: Tensor) -> Tensor:
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
        yield tensor(x[start : start + _BATCH])
