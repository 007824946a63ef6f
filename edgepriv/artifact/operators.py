"""ONNX operators in torch: differentiable, any batch size. Here arithmetic, activations and reductions.

Each takes the node's attributes and its inputs as tensors (None for an optional input left out) and returns one tensor or
a tuple. Semantics: https://onnx.ai/onnx/operators, opsets 7 and later. What is in none of the registries, which
``compiler`` puts together, cannot be twinned.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Unsupported(Exception):
    """An operator is known, but not in this form; the message says which."""


class Attributes(dict[str, Any]):
    """A node's attributes by name, and the ``opset`` that gives them their meaning."""

    def __init__(self, values: dict[str, Any], opset: int) -> None:
        super().__init__(values)
        self.opset = opset


Operator = Callable[..., Tensor | tuple[Tensor, ...]]
ARITHMETIC: dict[str, Operator] = {}


def registering(operators: dict[str, Operator]) -> Callable[..., Callable[[Operator], Operator]]:
    """A decorator that registers operators.

    Args:
        operators: to which they are added.

    Returns:
        A decorator that takes the names.
    """

    def operator(*names: str) -> Callable[[Operator], Operator]:
        def register(function: Operator) -> Operator:
            operators.update(dict.fromkeys(names, function))
            return function

        return register

    return operator


_operator = registering(ARITHMETIC)


def _elementwise(function: Callable[..., Tensor]) -> Operator:
    """An operator without attributes."""
    return lambda attributes, *inputs: function(*inputs)


def _pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """An operator with any number of inputs, combined two by two."""
    return lambda attributes, *inputs: reduce(function, inputs)


ARITHMETIC |= {
    "Add": _elementwise(torch.add),
    "Sub": _elementwise(torch.sub),
    "Mul": _elementwise(torch.mul),
    "Pow": _elementwise(lambda base, exponent: torch.pow(base, exponent.to(base.dtype))),
    "Neg": _elementwise(torch.neg),
    "Abs": _elementwise(torch.abs),
    "Exp": _elementwise(torch.exp),
    "Log": _elementwise(torch.log),
    "Sqrt": _elementwise(torch.sqrt),
    "Reciprocal": _elementwise(torch.reciprocal),
    "Erf": _elementwise(torch.erf),
    "Tanh": _elementwise(torch.tanh),
    "Sigmoid": _elementwise(torch.sigmoid),
    "Relu": _elementwise(torch.relu),
    "Softplus": _elementwise(F.softplus),
    "Softsign": _elementwise(F.softsign),
    "HardSwish": _elementwise(F.hardswish),
    "Mish": _elementwise(F.mish),
    "MatMul": _elementwise(torch.matmul),
    "Identity": _elementwise(lambda x: x),
    "Dropout": lambda attributes, x, *unused: x,
    "Min": _pairwise(torch.minimum),
    "Max": _pairwise(torch.maximum),
    "Sum": _pairwise(torch.add),
    "Where": _elementwise(lambda condition, x, y: torch.where(condition, x, y)),
    "Equal": _elementwise(torch.eq),
    "Greater": _elementwise(torch.gt),
    "GreaterOrEqual": _elementwise(torch.ge),
    "Less": _elementwise(torch.lt),
    "LessOrEqual": _elementwise(torch.le),
    "Not": _elementwise(torch.logical_not),
    "And": _elementwise(torch.logical_and),
    "Or": _elementwise(torch.logical_or),
    "BitwiseAnd": _elementwise(torch.bitwise_and),
    "BitwiseOr": _elementwise(torch.bitwise_or),
    "GlobalAveragePool": _elementwise(lambda x: x.mean(tuple(range(2, x.ndim)), keepdim=True)),
    "GlobalMaxPool": _elementwise(lambda x: x.amax(tuple(range(2, x.ndim)), keepdim=True)),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "Elu": lambda a, x: F.elu(x, a.get("alpha", 1.0)),
    "Celu": lambda a, x: F.celu(x, a.get("alpha", 1.0)),
    "PRelu": lambda a, x, slope: torch.where(x >= 0, x, x * slope),
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "HardSigmoid": lambda a, x: (x * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "BitShift": lambda a, x, by: x << by if a["direction"] == "LEFT" else x >> by,
    "Einsum": lambda a, *inputs: torch.einsum(a["equation"], *inputs),
    "Concat": lambda a, *inputs: torch.cat(inputs, dim=a["axis"]),
    "Flatten": lambda a, x: x.reshape(math.prod(x.shape[: axis_of(a.get("axis", 1), x)]), -1),
    "LRN": lambda a, x: F.local_response_norm(
        x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    ),
}


def axis_of(axis: int, x: Tensor) -> int:
    """An axis, counted from the front.

    Args:
        axis: may be negative.
        x: whose axis it is.

    Returns:
        0 or more.
    """
    return axis + x.ndim if axis < 0 else axis


@_operator("Div")
def _div(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


@_operator("Clip")
def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if a.opset < 11:
        return x.clamp(a.get("min"), a.get("max"))
    return x if low is None and high is None else x.clamp(low, high)


@_operator("Softmax", "LogSoftmax")
def _softmax(a: Attributes, x: Tensor) -> Tensor:
    return torch.softmax(x, a.get("axis", -1)) if a.opset >= 13 else _flat_softmax(a, x)


def _flat_softmax(a: Attributes, x: Tensor) -> Tensor:
    """Before opset 13 everything from ``axis`` on is one distribution."""
    start = axis_of(a.get("axis", 1), x)
    return torch.softmax(x.reshape(*x.shape[:start], -1), dim=-1).reshape(x.shape)


ARITHMETIC["LogSoftmax"] = lambda a, x: (
    torch.log_softmax(x, a.get("axis", -1)) if a.opset >= 13 else _flat_softmax(a, x).log()
)


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def reduce_axes(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = axes.tolist() if axes is not None else a.get("axes") or []
        if not chosen and a.get("noop_with_empty_axes", 0):
            return x
        return function(x, list(chosen) or list(range(x.ndim)), bool(a.get("keepdims", 1)))

    return reduce_axes


ARITHMETIC |= {
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keep)),
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keep)),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep)),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keep)),
    "ReduceLogSumExp": _reduction(lambda x, axes, keep: x.logsumexp(axes, keep)),
}
