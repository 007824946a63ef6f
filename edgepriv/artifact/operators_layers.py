"""ONNX operators in torch: linear layers, pooling and normalisation. See ``operators``."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepriv.artifact.operators import Attributes, Operator, Unsupported, axis_of, registering

LAYERS: dict[str, Operator] = {}
_operator = registering(LAYERS)


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
    shape = x.shape[axis_of(a.get("axis", -1), x) :]
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
