"""Architectures that people really ship, with random weights."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.export import prove_kernels
from edgepriv.artifact.parity import torch_probabilities
from edgepriv.artifact.session import open_session, optimized_graph, predict
from edgepriv.models import Classifier, build
from edgepriv.recipe import Export, Quantize
from edgepriv.training.quantization import quantize_weights, widths

SMALL = {"lenet": (1, 28, 28), "resnet20": (3, 32, 32), "mlp": (30,)}
LARGE = {
    "resnet18": (3, 32, 32),
    "resnet50": (3, 32, 32),
    "vgg16": (3, 32, 32),
    "densenet121": (3, 32, 32),
    "mobilenet_v3_small": (3, 64, 64),
    "efficientnet_b0": (3, 64, 64),
    "vit_b_16": (3, 32, 32),
}
PROFILES = ("latency", "portable")


def check(classifier, shape, profiles=PROFILES):
    """Build each profile at 4 bits; the same numbers as torch, valid ONNX, and the kernels that were meant."""
    weights = quantize_weights(classifier.network, Quantize(bits=4))
    x = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    expected = torch_probabilities(classifier, weights, x)
    classes = [str(label) for label in range(expected.shape[1])]
    files = {}
    for profile in profiles:
        file = build_graph(
            classifier, weights, input_shape=shape, class_names=classes, settings=Export(profile=profile)
        )
        onnx.checker.check_model(onnx.load_from_string(file.content), full_check=True)
        np.testing.assert_allclose(predict(open_session(file.content), x), expected, atol=1e-5)
        prove_kernels(optimized_graph(file.content), file.packed_linears, file.dequantized)
        files[profile] = file
    return weights, files


def classifier_of(name, shape, **arguments):
    torch.manual_seed(0)
    return Classifier(build(name, 10, shape, **arguments), [0.5] * shape[0], [0.25] * shape[0]).eval()


@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name):
    weights, files = check(classifier_of(name, SMALL[name]), SMALL[name])
    for file in files.values():
        assert file.left_float == {}
    assert len(weights) == sum(
        isinstance(module, nn.Conv2d | nn.Linear) for module in build(name, 10, SMALL[name]).modules()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_torchvisions_networks(name):
    classifier = classifier_of(name, LARGE[name])
    weights, files = check(classifier, LARGE[name])
    assert weights.keys() == widths(classifier.network, Quantize(bits=4)).keys()
    for file in files.values():
        assert not set(file.left_float) & set(weights)
    if name == "vit_b_16":
        assert sum("in_proj_weight" in weight for weight in weights) == 12
        assert set(files["latency"].left_float) == {"encoder.pos_embedding"}


class Net(nn.Module):
    """``body`` on images or series, pooled, before a Linear."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(channels, 3)

    def forward(self, x):
        x = self.body(x)
        return self.head(x.flatten(2).mean(2) if x.ndim > 2 else x)


class Residual(nn.Module):
    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x):
        return x + self.inner(x)


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1), nn.Hardsigmoid()
        )

    def forward(self, x):
        return x * self.gate(x)


class Twice(nn.Module):
    """The same layer at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(torch.relu(self.conv(x)))


IMAGE, SERIES = (4, 9, 9), (4, 20)
LAYERS = {
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), IMAGE, 6),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), IMAGE, 8),
    "dilated": (nn.Conv2d(4, 5, 3, dilation=2), IMAGE, 5),
    "strided": (nn.Conv2d(4, 5, 3, stride=(2, 1)), IMAGE, 5),
    "unevenly padded": (nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(4, 5, 3)), IMAGE, 5),
    "no bias": (nn.Conv2d(4, 5, 3, bias=False), IMAGE, 5),
    "batch norm behind": (nn.Sequential(nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5)), IMAGE, 5),
    "batch norm before": (nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3)), IMAGE, 5),
    "one layer twice": (Twice(), IMAGE, 4),
    "residual": (Residual(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Hardswish()), IMAGE, 4),
    "squeeze and excite": (SqueezeExcite(), IMAGE, 4),
    "layer norm": (nn.Sequential(nn.Flatten(), nn.Linear(324, 6), nn.LayerNorm(6), nn.Linear(6, 6)), IMAGE, 6),
    "1-D convolution": (nn.Sequential(nn.Conv1d(4, 5, 3, padding=1), nn.BatchNorm1d(5), nn.ReLU()), SERIES, 5),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(4, 3, 2, stride=2), nn.Conv2d(3, 4, 3)), IMAGE, 4),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind):
    torch.manual_seed(0)
    body, shape, channels = LAYERS[kind]
    for module in body.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    _, files = check(Classifier(Net(body, channels), [0.5] * 4, [0.25] * 4).eval(), shape)
    left = set(files["latency"].left_float)
    assert left == ({"body.0.weight"} if kind == "transposed" else set())
