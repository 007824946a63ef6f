"""Less common ONNX operators in torch: functions of numbers, reductions, indices, and what rounds. See ``operators``."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepriv.artifact.operators import Attributes, Operator, Unsupported

_RANGES = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int16: (-(2**15), 2**15 - 1)}


def _straight(exact: Tensor, smooth: Tensor) -> Tensor:
    """The value of the one with the gradient of the other."""
    return smooth + (exact - smooth).detach()


def _quantize(a: Attributes, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
    """Whole numbers, held in floating point so that gradients pass; none beyond the range."""
    kind = torch.uint8 if zero_point is None else zero_point.dtype
    if kind not in _RANGES or a.get("block_size", 0):
        raise Unsupported(f"QuantizeLinear to {kind}")
    axis = a.get("axis", 1) % max(x.ndim, 1)

    def fitted(values: Tensor) -> Tensor:
        shape = [-1 if position == axis else 1 for position in range(x.ndim)]
        return values.reshape(()) if values.numel() == 1 else values.reshape(shape)

    offset = torch.zeros((), dtype=x.dtype, device=x.device) if zero_point is None else fitted(zero_point).to(x.dtype)
    scaled = x / fitted(scale)
    low, high = _RANGES[kind]
    return (_straight(scaled.round(), scaled) + offset).clamp(low, high)


def _topk(a: Attributes, x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    largest = x.topk(int(k), dim=a.get("axis", -1), largest=bool(a.get("largest", 1)), sorted=True)
    return largest.values, largest.indices


def _cumsum(a: Attributes, x: Tensor, axis: Tensor) -> Tensor:
    along = int(axis)
    x = x.flip(along) if a.get("reverse", 0) else x
    total = x.cumsum(along)
    total = total - x if a.get("exclusive", 0) else total
    return total.flip(along) if a.get("reverse", 0) else total


def _gather_nd(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    if a.get("batch_dims", 0):
        raise Unsupported("GatherND with batch_dims")
    return x[tuple(indices.unbind(dim=-1))]


def _scatter_nd(a: Attributes, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    reduction = a.get("reduction", "none")
    if reduction not in ("none", "add"):
        raise Unsupported(f"ScatterND with reduction {reduction}")
    return x.index_put(tuple(indices.unbind(dim=-1)), updates, accumulate=reduction == "add")


def _gather_elements(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.ndim
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices))


def _scatter_elements(a: Attributes, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis, reduction = a.get("axis", 0) % x.ndim, a.get("reduction", "none")
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    if reduction == "add":
        return x.scatter_add(axis, indices, updates)
    if reduction != "none":
        raise Unsupported(f"ScatterElements with reduction {reduction}")
    return x.scatter(axis, indices, updates)


def _trilu(a: Attributes, x: Tensor, k: Tensor | None = None) -> Tensor:
    return (torch.triu if a.get("upper", 1) else torch.tril)(x, int(k) if k is not None else 0)


def _lp_normalization(a: Attributes, x: Tensor) -> Tensor:
    axis = a.get("axis", -1)
    normalised: Tensor = x / torch.linalg.vector_norm(x, a.get("p", 2), dim=axis, keepdim=True).clamp_min(1e-30)
    return normalised


def _reduce_prod(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = axes.tolist() if axes is not None else a.get("axes") or list(range(x.ndim))
    for axis in sorted((axis % x.ndim for axis in chosen), reverse=True):
        x = x.prod(dim=axis, keepdim=bool(a.get("keepdims", 1)))
    return x


def _reduce(function: str) -> Operator:
    def reduce_axes(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = axes.tolist() if axes is not None else a.get("axes") or list(range(x.ndim))
        keep = bool(a.get("keepdims", 1))
        return x.abs().sum(chosen, keep) if function == "L1" else x.sum(chosen, keep).log()

    return reduce_axes


MORE: dict[str, Operator] = {
    "Sin": lambda a, x: x.sin(),
    "Cos": lambda a, x: x.cos(),
    "Tan": lambda a, x: x.tan(),
    "Atan": lambda a, x: x.atan(),
    "Sinh": lambda a, x: x.sinh(),
    "Cosh": lambda a, x: x.cosh(),
    "Selu": lambda a, x: (
        a.get("gamma", 1.0507009873554805)
        * torch.where(x > 0, x, a.get("alpha", 1.6732632423543772) * torch.expm1(x.clamp(max=0)))
    ),
    "ThresholdedRelu": lambda a, x: torch.where(x > a.get("alpha", 1.0), x, torch.zeros_like(x)),
    "Shrink": lambda a, x: torch.where(
        x < -a.get("lambd", 0.5),
        x + a.get("bias", 0.0),
        torch.where(x > a.get("lambd", 0.5), x - a.get("bias", 0.0), torch.zeros_like(x)),
    ),
    "Mod": lambda a, x, y: torch.fmod(x, y) if a.get("fmod", 0) else torch.remainder(x, y),
    "Mean": lambda a, *x: torch.stack(torch.broadcast_tensors(*x)).mean(dim=0),
    "Xor": lambda a, x, y: torch.logical_xor(x, y),
    "IsNaN": lambda a, x: x.isnan(),
    "Round": lambda a, x: _straight(x.round(), x),
    "Floor": lambda a, x: _straight(x.floor(), x),
    "Ceil": lambda a, x: _straight(x.ceil(), x),
    "Sign": lambda a, x: _straight(x.sign(), x.clamp(-1, 1)),
    "QuantizeLinear": _quantize,
    "TopK": _topk,
    "CumSum": _cumsum,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "GatherElements": _gather_elements,
    "ScatterElements": _scatter_elements,
    "Trilu": _trilu,
    "LpNormalization": _lp_normalization,
    "ReduceProd": _reduce_prod,
    "ReduceL1": _reduce("L1"),
    "ReduceLogSum": _reduce("LogSum"),
    "RMSNormalization": lambda a, x, scale: F.rms_norm(x, list(scale.shape), scale, a.get("epsilon", 1e-5)),
    "Size": lambda a, x: torch.tensor(x.numel(), device=x.device),
}
