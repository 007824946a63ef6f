"""Sizes of torchvision's networks at several widths, and the time that packing takes. Nothing is run."""

import time
from typing import Any

import onnx_ir as ir
import torch
from variants import SEED, Network, traced_once

from edgepriv.artifact.build import Built, build_graph
from edgepriv.artifact.trace import trace
from edgepriv.models import Classifier, build_classifier
from edgepriv.recipe import Model, Quantize
from edgepriv.training import quantize_weights
from edgepriv.training.quantization import QuantizedTensor

BITS = (2, 3, 4, 6, 8)
NAMES = ("resnet18", "resnet50", "vgg16", "mobilenet_v3_small", "densenet121", "efficientnet_b0", "vit_b_16")
PACKED = ("resnet50", 4)
"""The network and width whose packing is timed."""
REPEATS = 3


def sizes_of(name: str) -> dict[str, Any]:
    """``float_bytes``; for each width ``bytes`` and ``ratio``; ``packing_s`` for the one that is timed."""
    torch.manual_seed(SEED)
    network = Network(Model(name=name), (3, 224, 224), 1000)
    classifier = build_classifier(network.model, network.classes, network.shape).eval()
    traced = trace(classifier, network.shape)
    float_bytes = len(_built(network, classifier, {}, traced).content)
    sizes: dict[str, Any] = {"float_bytes": float_bytes, "bits": {}}
    for bits in BITS:
        weights = quantize_weights(classifier.network, Quantize(bits=bits))
        packing = []
        for _ in range(REPEATS if (name, bits) == PACKED else 1):
            started = time.perf_counter()
            built = _built(network, classifier, weights, traced)
            packing.append(time.perf_counter() - started)
        own = len(built.content)
        sizes["bits"][str(bits)] = {"bytes": own, "ratio": own / float_bytes, "left_float": dict(built.left_float)}
        if (name, bits) == PACKED:
            sizes["packing_s"] = packing
    return sizes


def _built(network: Network, classifier: Classifier, weights: dict[str, QuantizedTensor], traced: ir.Model) -> Built:
    with traced_once(traced):
        names = [str(label) for label in range(network.classes)]
        return build_graph(classifier, weights, input_shape=network.shape, class_names=names)
