"""ONNX operators that resample or rearrange images and signals, in torch: see ``operators``.

Resize is one matrix for each axis, as interpolation is separable: every mode and every transformation of coordinates
becomes a choice of its entries, and gradients are those of a product.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgepriv.artifact.operators import Attributes, Operator, Unsupported


def _resize(
    a: Attributes, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    if a.opset < 11:  # scales come second, positions are those of the corner
        old = {
            "mode": a.get("mode", "nearest"),
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        factors = roi.tolist() if roi is not None else a["scales"]
        return _resampled(Attributes(old, 11), x, list(range(x.ndim)), factors, None)
    if a.get("antialias", 0):
        raise Unsupported("with antialias, which shrinks by another filter")
    axes = [axis % x.ndim for axis in a.get("axes", range(x.ndim))]
    if sizes is not None and sizes.numel():
        wanted = [int(size) for size in sizes.tolist()]
        factors = [size / x.shape[axis] for size, axis in zip(wanted, axes, strict=True)]
        policy = a.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factors = [(min if policy == "not_larger" else max)(factors)] * len(axes)
            wanted = [math.floor(factor * x.shape[axis] + 0.5) for factor, axis in zip(factors, axes, strict=True)]
        return _resampled(a, x, axes, factors, wanted)
    if scales is None or not scales.numel():
        raise Unsupported("neither scales nor sizes")
    return _resampled(a, x, axes, scales.tolist(), None)


def _resampled(a: Attributes, x: Tensor, axes: list[int], scales: list[float], sizes: list[int] | None) -> Tensor:
    for position, (axis, scale) in enumerate(zip(axes, scales, strict=True)):
        length = x.shape[axis]
        wanted = sizes[position] if sizes is not None else math.floor(length * scale)
        if wanted == length and scale == 1:
            continue
        if a.get("mode", "nearest") == "nearest":
            index = torch.from_numpy(_nearest(a, length, wanted, scale)).to(x.device)
            x = x.index_select(axis, index)
        else:
            weights = torch.from_numpy(_weights(a, length, wanted, scale)).to(x)
            x = (x.movedim(axis, -1) @ weights.mT).movedim(-1, axis)
    return x


def _positions(a: Attributes, length: int, wanted: int, scale: float) -> np.ndarray:
    """Where each output lies in the input, float64 [wanted]."""
    out = np.arange(wanted, dtype=np.float64)
    mode = a.get("coordinate_transformation_mode", "half_pixel")
    if mode == "align_corners":
        return out * (length - 1) / (wanted - 1) if wanted > 1 else 0 * out
    if mode == "asymmetric":
        return out / scale
    if mode == "pytorch_half_pixel" and wanted == 1:
        return 0 * out
    if mode == "half_pixel_symmetric":
        return length / 2 * (1 - wanted / (scale * length)) + (out + 0.5) / scale - 0.5
    if mode == "tf_half_pixel_for_nn":
        return (out + 0.5) / scale
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (out + 0.5) / scale - 0.5
    raise Unsupported(f"coordinate_transformation_mode {mode}")


def _nearest(a: Attributes, length: int, wanted: int, scale: float) -> np.ndarray:
    positions = _positions(a, length, wanted, scale)
    # Positions that are halves but for rounding are halves.
    positions = np.round(positions, 6)
    mode = a.get("nearest_mode", "round_prefer_floor")
    rounded = {
        "round_prefer_floor": np.ceil(positions - 0.5),
        "round_prefer_ceil": np.floor(positions + 0.5),
        "floor": np.floor(positions),
        "ceil": np.ceil(positions),
    }[mode]
    indices: np.ndarray = rounded.clip(0, length - 1).astype(np.int64)
    return indices


def _weights(a: Attributes, length: int, wanted: int, scale: float) -> np.ndarray:
    """float64 [wanted, length]: how much of each input is in each output."""
    positions = _positions(a, length, wanted, scale)
    cubic = a["mode"] == "cubic"
    reach = 2 if cubic else 1
    neighbours = np.floor(positions)[:, None] + np.arange(1 - reach, reach + 1)
    distance = np.abs(positions[:, None] - neighbours)
    taps = _cubic(distance, a.get("cubic_coeff_a", -0.75)) if cubic else np.maximum(0, 1 - distance)
    if cubic and a.get("exclude_outside", 0):
        taps = np.where((neighbours >= 0) & (neighbours < length), taps, 0)
        taps = taps / taps.sum(axis=1, keepdims=True)
    weights = np.zeros((wanted, length))
    rows = np.repeat(np.arange(wanted), taps.shape[1])
    np.add.at(weights, (rows, neighbours.clip(0, length - 1).astype(np.int64).ravel()), taps.ravel())
    return weights


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def _grid_sample(a: Attributes, x: Tensor, grid: Tensor) -> Tensor:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(a.get("mode", "linear"), a.get("mode", "linear"))
    return F.grid_sample(x, grid, mode, a.get("padding_mode", "zeros"), bool(a.get("align_corners", 0)))


def _depth_to_space(a: Attributes, x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    block = a["blocksize"]
    inside = channels // block**2
    if a.get("mode", "DCR") == "DCR":
        x = x.reshape(n, block, block, inside, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, inside, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, inside, height * block, width * block)


def _space_to_depth(a: Attributes, x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    block = a["blocksize"]
    x = x.reshape(n, channels, height // block, block, width // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, channels * block**2, height // block, width // block)


def _dft(a: Attributes, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    """Real [..., 1] or complex [..., 2] -> complex [..., 2]."""
    along = int(axis) if axis is not None else a.get("axis", -2 if a.opset >= 20 else 1)
    along += x.ndim if along < 0 else 0
    size = int(length) if length is not None else x.shape[along]
    values = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x.squeeze(-1)
    if a.get("inverse", 0):
        if a.get("onesided", 0):
            raise Unsupported("an inverse DFT of one side")
        return torch.view_as_real(torch.fft.ifft(values, size, dim=along))
    transform = torch.fft.rfft if a.get("onesided", 0) else torch.fft.fft
    return torch.view_as_real(transform(values, size, dim=along))


def _stft(
    a: Attributes, signal: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> Tensor:
    size = int(length) if length is not None else len(window) if window is not None else 0
    if signal.shape[-1] == 2 and signal.ndim == 3:
        raise Unsupported("STFT of complex signals")
    frames = (signal.squeeze(-1) if signal.ndim == 3 else signal).unfold(1, size, int(step))
    frames = frames if window is None else frames * window
    transform = torch.fft.rfft if a.get("onesided", 1) else torch.fft.fft
    return torch.view_as_real(transform(frames, dim=-1))


RESIZING: dict[str, Operator] = {
    "Resize": _resize,
    "Upsample": _resize,
    "GridSample": _grid_sample,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "DFT": _dft,
    "STFT": _stft,
}
