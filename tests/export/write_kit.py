"""Write a 4-bit LeNet-5 with its device kit into a folder, for checks on other processors: python write_kit.py FOLDER."""

import sys
from pathlib import Path

import torch

from edgepriv.artifact.build import build_graph
from edgepriv.measure.kit import write_kit
from edgepriv.models import build_classifier
from edgepriv.recipe import Model, Quantize
from edgepriv.training import quantize_weights


def main(folder: Path) -> None:
    """Weights are random from one seed."""
    torch.manual_seed(0)
    shape, names = (1, 28, 28), [str(label) for label in range(10)]
    classifier = build_classifier(Model(name="lenet"), len(names), shape).eval()
    weights = quantize_weights(classifier.network, Quantize(bits=4))
    folder.mkdir(parents=True, exist_ok=True)
    built = build_graph(classifier, weights, input_shape=shape, class_names=names)
    (folder / "model.onnx").write_bytes(built.content)
    write_kit(folder / "model.onnx", force=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
