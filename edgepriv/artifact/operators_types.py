"""ONNX operators in torch: types, and constants of few bits. See ``operators``."""

import torch
from torch import Tensor

from edgepriv.artifact.operators import Attributes, Operator, Unsupported, axis_of, registering

CASTS: dict[str, Operator] = {}
_operator = registering(CASTS)

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
    axis = axis_of(a.get("axis", 1), x)

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
    """The float matrix of com.microsoft.MatMulNBits.

    Args:
        a: the node's attributes: ``N``, ``K``, ``block_size`` and ``bits`` (4 if left out).
        packed: uint8, N rows of ceil(K / block_size) blocks of integers.
        scales: one for each row and block.
        zero_points: as many, packed as uint8 or in the type of the scales; None for 2^(bits - 1).
        groups: the operator's ``g_idx``; None for none.

    Returns:
        [N, K] in the type of ``scales``.

    Raises:
        Unsupported: where ``groups`` is given.
    """
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
