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
from edgepriv.artifact.trace import trace
from edgepriv.models import Classifier, build
from edgepriv.recipe import Export, Quantize
from edgepriv.torchvision_compat import import_torchvision
from edgepriv.training.quantization import quantize_weights, widths

models = import_torchvision("models")
SMALL = {"lenet": (1, 28, 28), "resnet20": (3, 32, 32), "mlp": (30,)}
IMAGES = (3, 32, 32)


def efficientnet():
    blocks = [
        models.efficientnet.MBConvConfig(
            expand, kernel, stride, inputs, outputs, layers, width_mult=1.0, depth_mult=1.0
        )
        for expand, kernel, stride, inputs, outputs, layers in [
            (1, 3, 1, 8, 8, 1),
            (6, 3, 2, 8, 12, 2),
            (6, 5, 2, 12, 16, 1),
        ]
    ]
    return models.EfficientNet(blocks, dropout=0.2, last_channel=32, num_classes=10)


def mobilenet_v3():
    blocks = [
        models.mobilenetv3.InvertedResidualConfig(
            inputs, kernel, expanded, outputs, excite, activation, stride, dilation, width_mult=1.0
        )
        for inputs, kernel, expanded, outputs, excite, activation, stride, dilation in [
            (8, 3, 8, 8, True, "RE", 2, 1),
            (8, 3, 24, 16, False, "RE", 2, 1),
            (16, 3, 32, 16, False, "RE", 1, 1),
            (16, 5, 32, 24, True, "HS", 2, 2),
            (24, 5, 48, 24, True, "HS", 1, 1),
        ]
    ]
    return models.MobileNetV3(blocks, last_channel=32, num_classes=10)


# The blocks of large networks by torchvision's own classes, few and narrow: what a block is does not depend on how many follow.
SHORT = {
    "resnet of bottlenecks": lambda: models.ResNet(
        models.resnet.Bottleneck, [2, 1, 1, 1], num_classes=10, width_per_group=16
    ),
    "densenet": lambda: models.DenseNet(8, (2, 2, 1, 1), num_init_features=16, num_classes=10),
    "mobilenet_v3": mobilenet_v3,
    "efficientnet": efficientnet,
    "vision transformer": lambda: models.VisionTransformer(
        image_size=32, patch_size=16, num_layers=2, num_heads=4, hidden_dim=48, mlp_dim=96, num_classes=10
    ),
}
PROFILES = ("latency", "portable")


def check(classifier, shape, profiles=PROFILES):
    """Build each profile at 4 bits; the same numbers as torch, valid ONNX, and the kernels that were meant."""
    weights = quantize_weights(classifier.network, Quantize(bits=4))
    x = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    expected = torch_probabilities(classifier, weights, x)
    classes = [str(label) for label in range(expected.shape[1])]
    files = {}
    traced = trace(classifier, shape)
    for profile in profiles:
        file = build_graph(
            classifier,
            weights,
            input_shape=shape,
            class_names=classes,
            settings=Export(profile=profile),
            traced=traced.clone(),
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


def check_torchvisions(network, shape):
    weights, files = check(network, shape)
    assert weights.keys() == widths(network.network, Quantize(bits=4)).keys()
    for file in files.values():
        assert not set(file.left_float) & set(weights)
    return weights, files


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_torchvisions_networks_by_name(name):
    weights, _ = check_torchvisions(classifier_of(name, IMAGES), IMAGES)
    assert len(weights) > 10


@pytest.mark.parametrize("kind", SHORT)
def test_torchvisions_blocks(kind):
    torch.manual_seed(0)
    weights, files = check_torchvisions(Classifier(SHORT[kind](), [0.5] * 3, [0.25] * 3).eval(), IMAGES)
    if kind == "vision transformer":
        assert sum("in_proj_weight" in weight for weight in weights) == 2
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
