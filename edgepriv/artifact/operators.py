"""ONNX operators in torch: differentiable, any batch size.

Each takes the node's attributes and its inputs as tensors (None for an optional input left out) and returns one tensor or
a tuple. Semantics: https://onnx.ai/onnx/operators, opsets 7 and later. What is not in ``OPERATORS`` cannot be twinned.
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
OPERATORS: dict[str, Operator] = {}


def _operator(*names: str) -> Callable[[Operator], Operator]:
    def register(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def _elementwise(function: Callable[..., Tensor]) -> Operator:
    """An operator without attributes."""
    return lambda attributes, *inputs: function(*inputs)


def _pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """An operator with any number of inputs, combined two by two."""
    return lambda attributes, *inputs: reduce(function, inputs)


OPERATORS |= {
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
    "Flatten": lambda a, x: x.reshape(math.prod(x.shape[: _axis(a.get("axis", 1), x)]), -1),
    "LRN": lambda a, x: F.local_response_norm(
        x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    ),
}


def _axis(axis: int, x: Tensor) -> int:
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
    start = _axis(a.get("axis", 1), x)
    return torch.softmax(x.reshape(*x.shape[:start], -1), dim=-1).reshape(x.shape)


OPERATORS["LogSoftmax"] = lambda a, x: (
    torch.log_softmax(x, a.get("axis", -1)) if a.opset >= 13 else _flat_softmax(a, x).log()
)


# Linear layers


@_operator("Gemm")
def _gemm(a: Attributes, x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)
    x = x.mT if a.get("transA", 0) else x
    y = y if a.get("transB", 0) else y.mT
    if alpha == beta == 1 and (bias is None or bias.ndim == 1):
        return F.linear(x, y, bias)
    product = alpha * F.linear(x, y)
    total: Tensor = product if bias is None else product + beta * bias
    return total


def _pads(a: Attributes, x: Tensor, kernel: list[int]) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial axis."""
    axes = len(kernel)
    mode = a.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = a.get("pads", [0] * 2 * axes) if mode == "NOTSET" else [0] * 2 * axes
        return list(pads[:axes]), list(pads[axes:])
    strides, dilations = a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    before, after = [], []
    for size, width, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + dilation * (width - 1) + 1 - size)
        first = total // 2 if mode == "SAME_UPPER" else total - total // 2
        before.append(first)
        after.append(total - first)
    return before, after


def _padded(x: Tensor, before: list[int], after: list[int], value: float) -> Tensor:
    by_axis = [pair for pair in zip(before, after, strict=True)]
    return F.pad(x, [amount for pair in reversed(by_axis) for amount in pair], value=value)


@_operator("Conv")
def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = weight.ndim - 2
    if axes not in (1, 2, 3):
        raise Unsupported(f"Conv over {axes} spatial axes")
    before, after = _pads(a, x, list(weight.shape[2:]))
    if before != after:
        x, before = _padded(x, before, after, 0.0), [0] * axes
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    strides, dilations = a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    return convolve(x, weight, bias, strides, before, dilations, a.get("group", 1))


@_operator("ConvTranspose")
def _conv_transpose(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = weight.ndim - 2
    if axes not in (1, 2, 3) or "output_shape" in a or a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unsupported("ConvTranspose over other than 1 to 3 axes, or whose output shape decides the padding")
    before, after = _pads(a, x, list(weight.shape[2:]))
    convolve: Any = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    strides, dilations = a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    whole = convolve(x, weight, None, strides, 0, 0, a.get("group", 1), dilations)
    added = a.get("output_padding", [0] * axes)
    cropped = _padded(
        whole, [-pad for pad in before], [more - pad for more, pad in zip(added, after, strict=True)], 0.0
    )
    return cropped if bias is None else cropped + bias.reshape(-1, *[1] * axes)


# Pooling


@_operator("MaxPool")
def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    kernel = a["kernel_shape"]
    axes = len(kernel)
    before, after = _pads(a, x, kernel)
    if before != after or any(pad > width // 2 for pad, width in zip(before, kernel, strict=True)):
        x, before = _padded(x, before, after, -math.inf), [0] * axes
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    strides, dilations = a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    return pool(x, kernel, strides, before, dilations, bool(a.get("ceil_mode", 0)))


@_operator("AveragePool")
def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    kernel = a["kernel_shape"]
    axes = len(kernel)
    if any(dilation != 1 for dilation in a.get("dilations", [1] * axes)):
        raise Unsupported("AveragePool with dilation")
    pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    strides, ceil = a.get("strides", [1] * axes), bool(a.get("ceil_mode", 0))
    include = bool(a.get("count_include_pad", 0))
    before, after = _pads(a, x, kernel)
    if before == after and all(pad <= width // 2 for pad, width in zip(before, kernel, strict=True)):
        plain: Tensor = pool(x, kernel, strides, before, ceil, include)
        return plain
    if ceil:
        raise Unsupported("AveragePool with ceil_mode and uneven padding")
    total: Tensor = pool(_padded(x, before, after, 0.0), kernel, strides)
    if include:
        return total
    covered: Tensor = pool(_padded(torch.ones_like(x[:1, :1]), before, after, 0.0), kernel, strides)
    return total / covered


# Normalisation


@_operator("BatchNormalization")
def _batch_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if a.get("training_mode", 0):
        raise Unsupported("BatchNormalization in training mode, whose output depends on the rest of the batch")
    epsilon = a.get("epsilon", 1e-5)
    if not any(statistic.requires_grad for statistic in (mean, variance)):
        return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)
    # Statistics that the graph computes of its input carry a gradient, which torch's own operator refuses.
    mean, variance, scale, bias = (value.view(1, -1, *(1,) * (x.ndim - 2)) for value in (mean, variance, scale, bias))
    normalised: Tensor = (x - mean) / (variance + epsilon).sqrt() * scale + bias
    return normalised


@_operator("LayerNormalization")
def _layer_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    shape = x.shape[_axis(a.get("axis", -1), x) :]
    bias = bias.expand(shape) if bias is not None else None
    return F.layer_norm(x, list(shape), scale.expand(shape), bias, a.get("epsilon", 1e-5))


@_operator("InstanceNormalization")
def _instance_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=a.get("epsilon", 1e-5))


@_operator("GroupNormalization")
def _group_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    if a.opset < 21:  # one number for each group
        scale, bias = (value.repeat_interleave(x.shape[1] // a["num_groups"]) for value in (scale, bias))
    return F.group_norm(x, a["num_groups"], scale, bias, a.get("epsilon", 1e-5))


# Reductions


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def reduce_axes(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = axes.tolist() if axes is not None else a.get("axes") or []
        if not chosen and a.get("noop_with_empty_axes", 0):
            return x
        return function(x, list(chosen) or list(range(x.ndim)), bool(a.get("keepdims", 1)))

    return reduce_axes


OPERATORS |= {
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keep)),
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keep)),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep)),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keep)),
    "ReduceLogSumExp": _reduction(lambda x, axes, keep: x.logsumexp(axes, keep)),
}


# Shapes and indices


@_operator("Shape")
def _shape(a: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[a.get("start", 0) : a.get("end", x.ndim)], device=x.device)


@_operator("Reshape")
def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    if not a.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


@_operator("Transpose")
def _transpose(a: Attributes, x: Tensor) -> Tensor:
    return x.permute(a.get("perm", list(range(x.ndim))[::-1]))


@_operator("Squeeze")
def _squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = axes.tolist() if axes is not None else a.get("axes")
    return x.squeeze(tuple(chosen) if chosen is not None else tuple(range(x.ndim)))


@_operator("Unsqueeze")
def _unsqueeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = axes.tolist() if axes is not None else a["axes"]
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@_operator("Slice")
def _slice(
    a: Attributes,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first = starts.tolist() if starts is not None else a["starts"]
    last = ends.tolist() if ends is not None else a["ends"]
    along = axes.tolist() if axes is not None else a.get("axes", list(range(len(first))))
    strides = steps.tolist() if steps is not None else [1] * len(first)
    for start, end, axis, step in zip(first, last, along, strides, strict=True):
        positions = range(x.shape[axis])[start:end:step]
        if step > 0:
            index = [slice(None)] * x.ndim
            index[axis] = slice(positions.start, positions.stop, step)
            x = x[tuple(index)]
        else:
            x = x.index_select(axis, torch.tensor(list(positions), device=x.device, dtype=torch.int64))
    return x


@_operator("Split")
def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    chosen = sizes.tolist() if sizes is not None else a.get("split")
    if chosen is None:
        chosen = -(-x.shape[axis] // a.get("num_outputs", a["outputs"]))
    parts: tuple[Tensor, ...] = x.split(chosen, dim=axis)
    return parts


@_operator("Gather")
def _gather(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = _axis(a.get("axis", 0), x)
    wrapped = torch.where(indices < 0, indices + x.shape[axis], indices)
    picked = x.index_select(axis, wrapped.reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@_operator("Expand")
def _expand(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist())))


@_operator("Tile")
def _tile(a: Attributes, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(repeats.tolist())


@_operator("Pad")
def _pad(
    a: Attributes, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    amounts = pads.tolist() if pads is not None else a["pads"]
    along = axes.tolist() if axes is not None else list(range(len(amounts) // 2))
    by_axis = [(0, 0)] * x.ndim
    for position, axis in enumerate(along):
        by_axis[axis] = (amounts[position], amounts[position + len(along)])
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        a.get("mode", "constant")
    ]
    flat = [amount for pair in reversed(by_axis) for amount in pair]
    if mode == "constant":
        return F.pad(x, flat, value=float(value) if value is not None else a.get("value", 0.0))
    while flat[-2:] == [0, 0]:
        flat = flat[:-2]
    return F.pad(x, flat, mode=mode)


@_operator("ConstantOfShape")
def _constant_of_shape(a: Attributes, shape: Tensor) -> Tensor:
    value = a.get("value", torch.zeros(1))
    filled: Tensor = value.to(shape.device).expand(shape.tolist()) if value.numel() == 1 else value
    return filled


@_operator("Range")
def _range(a: Attributes, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), step.item(), device=start.device, dtype=start.dtype)


# Types and quantized constants

TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
}
TYPES |= {11: torch.float64, 10: torch.float32, 16: torch.float32, 4: torch.int32, 12: torch.int64}
TYPES |= {21: torch.uint8, 22: torch.int8}
"""onnx.TensorProto.DataType -> torch; 4-bit integers are held in bytes, uint16 and uint32, which torch hardly computes
with, in int32 and int64, and half floats, whose gradients underflow, in float32."""
STRAIGHT_THROUGH = ("Round", "Floor", "Ceil", "Sign", "QuantizeLinear")
"""Operators that round: their slope is zero or infinite, and gradients pass as if they did nothing (Bengio et al. 2013)."""


@_operator("Cast")
def _cast(a: Attributes, x: Tensor) -> Tensor:
    if a["to"] not in TYPES:
        raise Unsupported(f"Cast to type {a['to']}")
    wanted = TYPES[a["to"]]
    # A twin moved to float64 must stay there: a Cast to float32 then means "to floating point".
    return x if wanted == torch.float32 and x.dtype == torch.float64 else x.to(wanted)


@_operator("CastLike")
def _cast_like(a: Attributes, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


@_operator("DequantizeLinear")
def _dequantize_linear(a: Attributes, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
    block = a.get("block_size", 0)
    axis = _axis(a.get("axis", 1), x)

    def fitted(values: Tensor) -> Tensor:
        if values.numel() == 1:
            return values.reshape(())
        if block:
            return values.repeat_interleave(block, dim=axis).narrow(axis, 0, x.shape[axis])
        return values.reshape([-1 if position == axis else 1 for position in range(x.ndim)])

    offset = x.to(scale.dtype) if zero_point is None else x.to(scale.dtype) - fitted(zero_point).to(scale.dtype)
    return offset * fitted(scale)


def unpacked_matrix(
    a: Attributes, packed: Tensor, scales: Tensor, zero_points: Tensor | None = None, groups: Tensor | None = None
) -> Tensor:
    """The float matrix [N, K] of com.microsoft.MatMulNBits."""
    if groups is not None:
        raise Unsupported("MatMulNBits with g_idx")
    rows, columns, block, bits = a["N"], a["K"], a["block_size"], a.get("bits", 4)
    blocks = -(-columns // block)
    scales = scales.reshape(rows, blocks)
    if zero_points is None:
        offset = torch.full((rows, blocks), 2.0 ** (bits - 1))
    elif zero_points.dtype == torch.uint8:
        offset = _unpacked(zero_points.reshape(rows, -1), bits)[:, :blocks].to(scales.dtype)
    else:
        offset = zero_points.reshape(rows, blocks)
    values = _unpacked(packed.reshape(rows, -1), bits).reshape(rows, blocks, block).to(scales.dtype)
    return ((values - offset[..., None]) * scales[..., None]).reshape(rows, -1)[:, :columns].contiguous()


def _unpacked(packed: Tensor, bits: int) -> Tensor:
    """uint8 [N, n] -> uint8 [N, n * 8 / bits], the lowest bits first."""
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8)
    integers: Tensor = ((packed[..., None] >> shifts) & (2**bits - 1)).flatten(-2)
    return integers
