"""Small networks with everything in them that an export can get wrong."""

from functools import cache

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepriv.artifact.build import Built, build_graph
from edgepriv.artifact.trace import trace
from edgepriv.models import Classifier
from edgepriv.recipe import Quantize
from edgepriv.training.quantization import QuantizedTensor, quantize_weights

CLASSES = 5
IMAGE = (3, 12, 12)
TABLE = (40,)
MIXED = "stem=8,depthwise=3,dilated=5,fc*=2,head=32,*=4"


class Convolutions(nn.Module):
    """Grouped, depthwise, dilated, strided, unevenly padded, without bias; batch norms with factors of both signs before
    and behind; squeeze and excite; a residual; both poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=1, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4)
        self.squeeze = nn.Conv2d(12, 3, 1)
        self.excite = nn.Conv2d(3, 12, 1)
        self.norm_before = nn.BatchNorm2d(12)
        self.dilated = nn.Conv2d(12, 12, 3, padding=2, dilation=2, bias=False)
        self.strided = nn.Conv2d(12, 7, (3, 5), stride=2)
        self.fc = nn.Linear(7 * 2 * 2, 9)
        self.fc_norm = nn.BatchNorm1d(9)
        self.head = nn.Linear(9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.hardswish(self.stem_norm(self.stem(x)))
        x = x + self.depthwise_norm(self.depthwise(x))
        x = functional.relu(self.grouped(x))
        gate = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1)))))
        x = self.dilated(functional.relu(self.norm_before(x * gate)))
        x = functional.max_pool2d(functional.pad(x, (0, 1, 2, 0)), 2, ceil_mode=True)
        x = functional.avg_pool2d(functional.silu(self.strided(functional.pad(x, (1, 0, 1, 0)))), 2, padding=1)
        return self.head(functional.gelu(self.fc_norm(self.fc(x.flatten(1)))))


class Table(nn.Module):
    """A perceptron whose two middle layers share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(40, 24)
        self.second = nn.Linear(24, 24)
        self.third = nn.Linear(24, 24)
        self.third.weight = self.second.weight
        self.head = nn.Linear(24, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        return self.head(torch.tanh(self.third(torch.sigmoid(self.second(x)))))


class Tokens(nn.Module):
    """Attention over patches: Linears on three axes, LayerNorm, a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16) * 0.1)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.mlp = nn.Linear(16, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head(functional.gelu(self.mlp(x))[:, 0])


NETS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "convolutions": (Convolutions, IMAGE),
    "table": (Table, TABLE),
    "tokens": (Tokens, IMAGE),
}


def classifier_of(name: str) -> Classifier:
    """The named network behind a normalisation; batch norms know the inputs, and probabilities differ between them."""
    factory, shape = NETS[name]
    torch.manual_seed(0)
    classifier = Classifier(factory(), [0.4] * shape[0], [0.25] * shape[0])
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias, std=0.3)
            module.momentum = 1.0
    x = torch.from_numpy(inputs_of(name, 256, seed=1))
    with torch.no_grad():
        classifier(x)
        logits = classifier.eval()(x)
        classifier.network.head.weight *= 2 / logits.std(dim=0).mean()
    return classifier


def inputs_of(name: str, n: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, *NETS[name][1]), dtype=np.float32)


def weights_of(classifier: Classifier, bits: int | str) -> dict[str, QuantizedTensor]:
    return quantize_weights(classifier.network, Quantize(bits=bits))


@cache
def _traced(name: str) -> ir.Model:
    return trace(classifier_of(name), NETS[name][1])


def traced(name: str) -> ir.Model:
    """The graph of a network, to be changed. Tracing takes most of an export's time, and it is the same for all bits."""
    return _traced(name).clone()


@cache
def built(name: str, bits: int | str) -> tuple[Classifier, dict[str, QuantizedTensor], Built]:
    """A network, its integer weights and its file; built once for all tests that only look."""
    classifier = classifier_of(name)
    weights = weights_of(classifier, bits)
    return (
        classifier,
        weights,
        build_graph(
            classifier,
            weights,
            input_shape=NETS[name][1],
            class_names=[f"class {label}" for label in range(CLASSES)],
            traced=traced(name),
        ),
    )
