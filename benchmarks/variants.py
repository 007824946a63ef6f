"""The networks that are compared, and every variant in which one is written to a file.

Weights are random from one seed, because neither the size nor the speed of a file depends on their values. What a variant
computes is compared with the float network as well, and for that to mean something two things are fitted to the random
inputs: the statistics of the batch normalizations, without which the signal dies on its way through a deep random network,
and the last layer, which tells apart the patterns that the inputs are noisy copies of. Without the latter labels hang on
differences that any rounding changes.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnx_ir as ir
import peers
import torch
from torch import nn

from edgepriv.artifact import parity
from edgepriv.artifact.computing import Calibration
from edgepriv.artifact.export import export
from edgepriv.artifact.session import open_session, predict
from edgepriv.artifact.trace import trace
from edgepriv.errors import UserError
from edgepriv.models import build_classifier
from edgepriv.recipe import Export, Model, Quantize
from edgepriv.training import quantize_weights
from edgepriv.training.quantization import QuantizedTensor

SEED = 0
PATTERNS = 10
CALIBRATION = 40
"""Inputs, the first ones, that the network is fitted to."""
NOISE = 0.3
LOGIT_SPREAD = 10.0
PROOF = 64
"""Inputs of the proof of parity."""
TIMERS = {name: Path(__file__).with_name(f"{name}_timer.py") for name in ("openvino", "litert")}
"""Scripts that time a file in another runtime than onnxruntime, and answer with it."""


@dataclass(frozen=True)
class Network:
    """``shape``: of one input. ``convolutional``: counted as such in the targets."""

    model: Model
    shape: tuple[int, ...]
    classes: int
    convolutional: bool = True


NETWORKS = {
    "lenet": Network(Model(name="lenet"), (1, 28, 28), 10),
    "scattering-28": Network(Model(name="linear", features="scattering"), (1, 28, 28), 10),
    "scattering-32": Network(Model(name="linear", features="scattering"), (3, 32, 32), 10),
    "resnet20": Network(Model(name="resnet20"), (3, 32, 32), 10),
    "mlp-6170": Network(Model(name="mlp", args={"widths": [1024, 512, 256, 128]}), (6170,), 100, convolutional=False),
    "resnet18-32": Network(Model(name="resnet18"), (3, 32, 32), 10),
    "resnet18-224": Network(Model(name="resnet18"), (3, 224, 224), 1000),
    "mobilenet-224": Network(Model(name="mobilenet_v3_small"), (3, 224, 224), 1000),
    "mobilenet-v2-224": Network(Model(name="mobilenet_v2"), (3, 224, 224), 1000),
}


@dataclass(frozen=True)
class Subject:
    """A network with random weights. ``traced``: its float32 graph, nothing folded. ``x``: float32 [n, *shape]."""

    network: Network
    classifier: nn.Module
    weights: Mapping[str, QuantizedTensor]
    traced: ir.Model
    x: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """float32 [CALIBRATION, *shape]: what every tool that calibrates may look at."""
        return self.x[:CALIBRATION]

    def float_proto(self) -> onnx.ModelProto:
        """A copy of the float32 graph for tools that take one."""
        return ir.to_proto(self.traced)


@dataclass(frozen=True)
class Variant:
    """``write(subject, path)``: makes the file; else it is the file of the variant ``same_as``. ``needs``: packages.
    ``runtime``: a key of TIMERS, empty for onnxruntime. ``suffix``: of the file. ``one_at_a_time``: whether the file takes a
    batch of one example alone."""

    write: Callable[[Subject, Path], None] | None = None
    same_as: str = ""
    needs: tuple[str, ...] = ()
    runtime: str = ""
    suffix: str = ".onnx"
    one_at_a_time: bool = False


def subject_of(network: Network, rule: Quantize, inputs: int) -> Subject:
    """The network with random weights, its integers and ``inputs`` random inputs."""
    torch.manual_seed(SEED)
    patterns = min(network.classes, PATTERNS)
    x = random_inputs(network.shape, inputs, patterns)
    classifier = build_classifier(network.model, network.classes, network.shape)
    settle(classifier, torch.from_numpy(x[:CALIBRATION]), patterns)
    weights = quantize_weights(classifier.network, rule)
    return Subject(network, classifier, weights, trace(classifier, network.shape), x)


def random_inputs(shape: Sequence[int], count: int, patterns: int) -> np.ndarray:
    """float32 [count, *shape] in [0, 1): input i is a noisy copy of pattern i modulo ``patterns``.

    Patterns of images are 4 x 4 coloured patches: what is finer is averaged away by pooling, and all images look alike.
    """
    generator = np.random.default_rng(SEED)
    patches = generator.random((patterns, *((shape[0], 4, 4) if len(shape) == 3 else shape)), dtype=np.float32)
    if len(shape) == 3:
        size = -(-max(shape[1:]) // 4)
        patches = patches.repeat(size, axis=2).repeat(size, axis=3)[:, :, : shape[1], : shape[2]]
    x = generator.random((count, *shape), dtype=np.float32)
    x *= NOISE
    for row, each in enumerate(x):
        each += (1 - NOISE) * patches[row % patterns]
    return x


@torch.no_grad()
def settle(classifier: nn.Module, x: torch.Tensor, patterns: int) -> None:
    """Fit the batch normalizations to ``x``, and the first ``patterns`` rows of the last layer: the logit of a class is
    highest for the features nearest to their mean over that pattern (in ``x`` every ``patterns``-th row)."""
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain average
    classifier.train()
    classifier(x)
    classifier.eval()
    last = [module for module in classifier.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    classifier(x)
    hook.remove()
    centre = seen[0].mean(dim=0)
    means = torch.stack([seen[0][first::patterns].mean(dim=0) for first in range(patterns)]) - centre
    scale = LOGIT_SPREAD / means.square().sum(dim=1).mean()
    last.weight[:patterns] = scale * means
    last.bias[:patterns] = -scale * (means @ centre + means.square().sum(dim=1) / 2)
    # The classes that no input belongs to stay random, out of reach.
    last.weight[patterns:] *= 0.1
    last.bias[patterns:] -= LOGIT_SPREAD


@contextmanager
def traced_once(traced: ir.Model) -> Iterator[None]:
    """Let exports of one network start from copies of one trace: torch takes longer for it than all else together."""
    with mock.patch("edgepriv.artifact.export.trace", side_effect=lambda *_: traced.clone()):
        yield


def own(settings: Export | None, calibrated: bool = False) -> Callable[[Subject, Path], None]:
    """Writes our file for ``settings``; the float twin for None. ``calibrated``: ranges of activations are seen on the inputs
    that the peers see."""

    def write(subject: Subject, path: Path) -> None:
        network = subject.network
        names = [str(label) for label in range(network.classes)]
        # Random weights answer every class nearly alike: labels that change are told (label_agreement), not refused.
        with traced_once(subject.traced), mock.patch.object(parity, "LARGEST_CHANGE", 1.0):
            export(
                subject.classifier,
                {} if settings is None else subject.weights,
                input_shape=network.shape,
                class_names=names,
                x=subject.x[:PROOF],
                path=path,
                settings=settings or Export(),
                calibration=Calibration(subject.seen, "random inputs") if calibrated else None,
            )

    return write


VARIANTS = {
    "float": Variant(own(None)),
    "latency": Variant(own(Export(profile="latency"))),
    "memory": Variant(own(Export(profile="memory"))),
    "portable": Variant(own(Export(profile="portable"))),
    "latency-int8": Variant(own(Export(profile="latency", compute="int8"))),
    "memory-int8": Variant(own(Export(profile="memory", compute="int8"))),
    "latency-int8-static": Variant(own(Export(profile="latency", compute="int8-static"), calibrated=True)),
    "naive-qdq": Variant(lambda subject, path: peers.naive_qdq(subject.float_proto(), subject.weights, path)),
    "ort-dynamic-int8": Variant(lambda subject, path: peers.quantized_dynamically(subject.float_proto(), path)),
    "ort-static-int8": Variant(
        lambda subject, path: peers.quantized_statically(subject.float_proto(), subject.seen, path)
    ),
    "ort-matmul-4bit": Variant(lambda subject, path: peers.matmul_nbits(subject.float_proto(), path)),
    "openvino-float": Variant(same_as="float", needs=("openvino",), runtime="openvino"),
    "openvino-portable": Variant(same_as="portable", needs=("openvino",), runtime="openvino"),
    "openvino-nncf-4bit": Variant(
        lambda subject, path: peers.compressed_by_nncf(subject.float_proto(), path),
        needs=("nncf", "openvino"),
        runtime="openvino",
        suffix=".xml",
    ),
    "openvino-nncf-int8": Variant(
        lambda subject, path: peers.quantized_by_nncf(subject.float_proto(), subject.seen, path),
        needs=("nncf", "openvino"),
        runtime="openvino",
        suffix=".xml",
    ),
    "litert-float": Variant(
        lambda subject, path: peers.converted_to_litert(subject.classifier, subject.network.shape, path),
        needs=("litert_torch", "ai_edge_litert"),
        runtime="litert",
        suffix=".tflite",
        one_at_a_time=True,
    ),
    "litert-int8": Variant(
        lambda subject, path: peers.quantized_for_litert(subject.classifier, subject.seen, path),
        needs=("litert_torch", "ai_edge_quantizer", "ai_edge_litert"),
        runtime="litert",
        suffix=".tflite",
        one_at_a_time=True,
    ),
}


def written(subject: Subject, names: Sequence[str], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Files of the variants by name, and the reason for each one that there is none of."""
    paths: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for name in names:
        variant = VARIANTS[name]
        absent = next((package for package in variant.needs if importlib.util.find_spec(package) is None), None)
        if absent:
            skipped[name] = f"{absent} is not installed"
            continue
        source = variant.same_as or name
        path = folder / f"{source}{variant.suffix}"
        try:
            if not path.exists():
                if source in skipped:
                    raise UserError(skipped[source])
                write = VARIANTS[source].write
                assert write is not None
                write(subject, path)
            paths[name] = path
        except Exception as error:  # a peer raises whatever it likes, and a benchmark goes on without it
            skipped[name] = reason_of(error)
    return paths, skipped


def answers(name: str, path: Path, x: np.ndarray, threads: int = 0) -> np.ndarray:
    """float32 [n, K]: what the variant's runtime computes."""
    runtime = VARIANTS[name].runtime
    if runtime:
        asked: np.ndarray = importlib.import_module(TIMERS[runtime].stem).probabilities(path, x, threads)
        return asked
    return predict(open_session(path, threads), x, batch=32)


def agreement(expected: np.ndarray, actual: np.ndarray) -> dict[str, float | int]:
    """``max_difference`` of a probability and share of equal labels; ``labels``: how many different ones were expected."""
    labels = expected.argmax(axis=1)
    return {
        "inputs": len(expected),
        "labels": len(np.unique(labels)),
        "max_difference": float(np.abs(expected - actual).max()),
        "label_agreement": float((labels == actual.argmax(axis=1)).mean()),
    }


def reason_of(error: Exception) -> str:
    """One line of an exception's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text[:300]}"
