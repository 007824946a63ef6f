"""Wavelet scattering (Bruna & Mallat 2013) with J = 2 and 8 orientations: fixed features of images that no data had a part in.

The filters are Morlet wavelets and a Gaussian, of the shapes and in the order of Kymatio's ``Scattering2D`` (Andreux et al.
2020), written as convolutions on the wrapped image, so that the transform is differentiable and exports as plain Conv nodes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepriv.errors import UserError

ORIENTATIONS = 8
PATHS = 1 + 2 * ORIENTATIONS + ORIENTATIONS**2
"""Channels of features for each channel of an image: one of order 0, 16 of order 1, 64 of order 2."""
GROUPS = 27
"""Of the channels that are normalised together (Tramer & Boneh 2021, section 3.2)."""
_STEP = 4
"""Pixels between two positions of the features, 2^J."""
_SIGMA = 0.8
_SLANT = 4 / ORIENTATIONS
_FINE, _COARSE, _NARROW = 4, 8, 3
"""Radii of the filters, in their own pixels: the wavelets of the finer and of the coarser scale, and the Gaussian on half the
pixels. Beyond them less than 2% of a filter is left."""
_EPSILON = 1e-5
"""Added to the variance of a group, as in ``torch.nn.GroupNorm``."""
_TINY = 1e-7
"""Under the root of the modulus, whose gradient is otherwise infinite at 0. The graph's simplification takes 1e-8 for 0."""


class FixedConv2d(nn.Module):
    """A convolution without bias whose ``weight`` [out, 1, k, k] no training changes."""

    def __init__(self, weight: np.ndarray, stride: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)), requires_grad=False)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, out, (H - k) // stride + 1, (W - k) // stride + 1]."""
        return functional.conv2d(x, self.weight, stride=self.stride)


class Scattering(nn.Module):
    """Images [N, C, H, W] -> features [N, 81 C, H // 4, W // 4], normalised over ``GROUPS`` groups of channels.

    Args:
        input_shape: (C, H, W), of at least 12 pixels each way.

    Raises:
        UserError: for other inputs.
    """

    def __init__(self, input_shape: Sequence[int]) -> None:
        super().__init__()
        if len(input_shape) != 3 or min(input_shape[1:]) < 3 * _STEP:
            raise UserError(
                f"scattering features are of images of at least {3 * _STEP}x{3 * _STEP}; the inputs have shape "
                f"{list(input_shape)}"
            )
        self.fine = FixedConv2d(_wavelets(0, _FINE), 1)
        self.coarse = FixedConv2d(_wavelets(1, _COARSE), 2)
        self.smooth = FixedConv2d(_gaussian(2 * _SIGMA, _COARSE), _STEP)
        self.smooth_half = FixedConv2d(_gaussian(_SIGMA, _NARROW), _STEP // 2)
        self.shape = (PATHS * input_shape[0], *(size // _STEP for size in input_shape[1:]))
        padded = [((size + _STEP) // _STEP + 1) * _STEP for size in input_shape[1:]]
        self._pixels = [_mirrored(size, wide, _COARSE) for size, wide in zip(input_shape[1:], padded, strict=True)]
        self._positions = [size // _STEP for size in padded]

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, 81 C, H // 4, W // 4] of images [N, C, H, W]."""
        rows, columns = (torch.tensor(own, device=x.device) for own in self._pixels)
        image = x.index_select(2, rows).index_select(3, columns).flatten(0, 1).unsqueeze(1)  # [N C, 1, ...]
        inner = _COARSE - _FINE
        fine = _modulus(self.fine(image[..., inner:-inner, inner:-inner]))
        coarse = _modulus(self.coarse(image))
        wide = _wrapped(fine, _COARSE).flatten(0, 1).unsqueeze(1)  # [N C 8, 1, ...]
        second = _modulus(self.coarse(wide)).unflatten(0, (-1, ORIENTATIONS)).flatten(1, 2)
        half = _wrapped(torch.cat([coarse, second], 1), _NARROW).flatten(0, 1).unsqueeze(1)  # [N C 72, 1, ...]
        smoothed = [
            self.smooth(image),
            self.smooth(wide).reshape(-1, ORIENTATIONS, *self._positions),
            self.smooth_half(half).reshape(-1, ORIENTATIONS + ORIENTATIONS**2, *self._positions),
        ]
        features = torch.cat(smoothed, 1)[..., 1:-1, 1:-1]
        return _normalised(features.reshape(-1, *self.shape))


def _normalised(features: Tensor) -> Tensor:
    """Group normalization [N, C, H, W] without weights. In plain operators: onnxruntime's GroupNormalization takes the
    variance for E[x^2] - E[x]^2, which loses it where a group's mean is a thousand times its deviation."""
    groups = features.reshape(-1, GROUPS, features.shape[1] // GROUPS * features.shape[2] * features.shape[3])
    centred = groups - groups.mean(2, keepdim=True)
    normalised = centred / ((centred * centred).mean(2, keepdim=True) + _EPSILON).sqrt()
    return normalised.reshape(features.shape)


def _modulus(parts: Tensor) -> Tensor:
    """Of complex numbers whose real parts [N, 8, H, W] stand before their imaginary ones."""
    real, imaginary = parts[:, :ORIENTATIONS], parts[:, ORIENTATIONS:]
    return (real * real + imaginary * imaginary + _TINY).sqrt()


def _wrapped(x: Tensor, radius: int) -> Tensor:
    """Rows and columns that go on at their other end, for ``radius`` pixels on each side."""
    x = torch.cat([x[..., -radius:, :], x, x[..., :radius, :]], -2)
    return torch.cat([x[..., -radius:], x, x[..., :radius]], -1)


def _mirrored(size: int, padded: int, radius: int) -> list[int]:
    """Places along an axis that is extended to ``padded`` by its mirror images, half of them at each end, and then goes on at
    its other end for ``radius`` pixels."""
    before = (padded - size) // 2
    own = [abs(place) for place in range(-before, padded - before)]
    mirrored = [place if place < size else 2 * (size - 1) - place for place in own]
    return [mirrored[place % padded] for place in range(-radius, padded + radius)]


def _wavelets(scale: int, radius: int) -> np.ndarray:
    """Real, then imaginary parts of the Morlet wavelets of scale 2^``scale``, one for each orientation: [16, 1, k, k]."""
    sigma, frequency = _SIGMA * 2**scale, 0.75 * np.pi / 2**scale
    angles = (ORIENTATIONS // 2 - 1 - np.arange(ORIENTATIONS)) * np.pi / ORIENTATIONS
    wavelets = np.stack([_morlet(sigma, angle, frequency, radius) for angle in angles])
    parts: np.ndarray = np.concatenate([wavelets.real, wavelets.imag])[:, None, ::-1, ::-1].copy()
    return parts  # mirrored, because Conv does not mirror its filter


def _morlet(sigma: float, angle: float, frequency: float, radius: int) -> np.ndarray:
    """g(u) (e^(i f u) - c) with c such that it sums to 0; g is a Gaussian, wider across the wave than along it."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along = rows * np.cos(angle) + columns * np.sin(angle)
    across = columns * np.cos(angle) - rows * np.sin(angle)
    envelope = np.exp(-(along**2 + (_SLANT * across) ** 2) / (2 * sigma**2)) * _SLANT / (2 * np.pi * sigma**2)
    wave = envelope * np.exp(1j * frequency * along)
    wavelet: np.ndarray = wave - envelope * (wave.sum() / envelope.sum())
    return wavelet


def _gaussian(sigma: float, radius: int) -> np.ndarray:
    """That sums to 1: [1, 1, k, k]."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    weights = np.exp(-(rows**2 + columns**2) / (2 * sigma**2))
    normalised: np.ndarray = (weights / weights.sum())[None, None]
    return normalised
