"""The float file of a checkpoint, which sizes are told by: its bytes, and the numbers in it."""

import math
from dataclasses import dataclass

import onnx

from edgepriv.artifact.build import build_graph
from edgepriv.project import Trained
from edgepriv.recipe import Export
from edgepriv.tuning.space import MEAN_BITS


@dataclass(frozen=True)
class FloatFile:
    """``size``: bytes; ``weights``: numbers in its matrices and filters, which may have few bits; ``others``: numbers that stay
    float, such as biases. What the network has and does not use is in no file, nor are normalizations that fold."""

    size: int
    weights: int
    others: int

    @property
    def least(self) -> int:
        """Bytes that its numbers take at the fewest bits, without scales and graph: no file takes fewer."""
        return int(self.weights * MEAN_BITS[0] / 8 + 4 * self.others)


def float_file(given: Trained, settings: Export) -> FloatFile:
    """Build the float file, without writing it.

    Args:
        given: the opened checkpoint.
        settings: input and output of the file.

    Returns:
        What sizes are told by.

    Raises:
        UserError: when the network cannot be exported.
    """
    dataset, plain = given.dataset, settings.model_copy(update={"compute": Export().compute})
    classifier = given.checkpoint.classifier().eval()
    built = build_graph(
        classifier, {}, input_shape=dataset.input_shape, class_names=dataset.class_names, settings=plain
    )
    shapes = [
        tensor.dims
        for tensor in onnx.load_from_string(built.content).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    ]
    weights = sum(math.prod(dims) for dims in shapes if len(dims) > 1)
    return FloatFile(len(built.content), weights, sum(math.prod(dims) for dims in shapes) - weights)
