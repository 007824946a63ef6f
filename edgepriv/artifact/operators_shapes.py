"""ONNX operators in torch: shapes, slices and indices. See ``operators``."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepriv.artifact.operators import Attributes, Operator, axis_of, registering

SHAPES: dict[str, Operator] = {}
_operator = registering(SHAPES)


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
    axis = axis_of(a.get("axis", 0), x)
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
