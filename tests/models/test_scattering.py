"""Scattering features: the numbers of the published transform, fixed, differentiable, and in front of any network."""

import numpy as np
import pytest
import torch

from edgepriv.errors import UserError
from edgepriv.models import build_classifier
from edgepriv.models.features import fixed_layers
from edgepriv.models.scattering import GROUPS, Scattering
from edgepriv.recipe import Model


def gabor(rows, columns, sigma, angle, frequency, slant):
    """On a torus, centred at the origin, as ``kymatio.scattering2d.filter_bank.gabor_2d`` defines it."""
    total = np.zeros((rows, columns), complex)
    for down in range(-2, 3):
        for right in range(-2, 3):
            y, x = np.mgrid[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns]
            along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
            total += np.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2) + 1j * frequency * along)
    return total / (2 * np.pi * sigma**2 / slant)


def morlet(rows, columns, scale, angle):
    shape = rows, columns, 0.8 * 2**scale, angle
    wave, envelope = gabor(*shape, 0.75 * np.pi / 2**scale, 0.5), gabor(*shape, 0.0, 0.5)
    return wave - envelope * wave.sum() / envelope.sum()


def by_fourier(image):
    """Scattering with J = 2 and 8 orientations [81, H // 4, W // 4] of an image [H, W], through Fourier transforms."""
    padded = [((size + 4) // 4 + 1) * 4 for size in image.shape]
    margins = [((wide - size) // 2, (wide - size + 1) // 2) for wide, size in zip(padded, image.shape, strict=True)]
    start = np.pad(image, margins, mode="reflect")
    filtered = lambda x, kernel: np.fft.ifft2(np.fft.fft2(x) * np.fft.fft2(kernel))  # noqa: E731
    smoothed = lambda x: filtered(x, gabor(*padded, 1.6, 0.0, 0.0, 1.0)).real[::4, ::4][1:-1, 1:-1]  # noqa: E731
    angles = (3 - np.arange(8)) * np.pi / 8
    waves = [[morlet(*padded, scale, angle) for angle in angles] for scale in (0, 1)]
    first = [[abs(filtered(start, wave)) for wave in own] for own in waves]
    second = [abs(filtered(fine, wave)) for fine in first[0] for wave in waves[1]]
    return np.stack([smoothed(each) for each in [start, *first[0], *first[1], *second]])


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 13, 22)])
def test_it_computes_the_published_transform(shape, monkeypatch):
    images = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("edgepriv.models.scattering._normalised", lambda features: features)
    features = Scattering(shape)(images)[0].double().numpy().reshape(shape[0], 81, shape[1] // 4, shape[2] // 4)
    expected = np.stack([by_fourier(channel) for channel in images[0].double().numpy()])
    for order in (slice(0, 1), slice(1, 17), slice(17, 81)):
        off = np.linalg.norm(features[:, order] - expected[:, order]) / np.linalg.norm(expected[:, order])
        assert off < 0.015


def test_groups_of_channels_are_normalised():
    features = Scattering((1, 16, 16))(torch.rand(3, 1, 16, 16)).reshape(3, GROUPS, -1)
    torch.testing.assert_close(features.mean(2), torch.zeros(3, GROUPS), atol=1e-5, rtol=0)
    assert (features.std(2) < 1.05).all()


def test_gradients_reach_the_image_even_where_it_is_flat():
    flat = torch.zeros(1, 1, 12, 12, requires_grad=True)
    Scattering((1, 12, 12))(flat).square().sum().backward()
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize(("name", "args"), [("linear", {}), ("mlp", {"widths": [8]}), ("cnn", {"width": 4})])
def test_any_network_stands_behind_them(name, args):
    classifier = build_classifier(Model(name=name, args=args, features="scattering"), 5, (1, 16, 16))
    assert classifier(torch.rand(2, 1, 16, 16)).shape == (2, 5)
    names = {name for name, own in classifier.network.named_parameters() if own.requires_grad}
    assert names
    assert all(name.startswith("head.") for name in names)
    assert fixed_layers(classifier.network) == {
        f"features.{own}" for own in ("fine", "coarse", "smooth", "smooth_half")
    }


@pytest.mark.parametrize("shape", [(20,), (1, 8, 8)])
def test_inputs_without_such_features_are_refused(shape):
    with pytest.raises(UserError, match="scattering features are of images of at least 12x12"):
        build_classifier(Model(name="linear", features="scattering"), 5, shape)
