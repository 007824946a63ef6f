"""Whether the answer to an input is its own: the same alone, among others, in another order, and the same twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

Ask = Callable[[np.ndarray], np.ndarray]

ROUNDING = 1e-3
"""Probabilities that differ by less are equal: matrix products are summed in another order in another batch."""
LARGEST, LARGEST_QUANTIZED = 0.005, 0.05
"""How far the rest of a batch may move a probability, without changing a label, before a model is refused; and where kernels
quantize a whole batch by its own range, which moves it a little."""
RELATIVE = 1e-3
"""Of the largest logarithm of a probability: how far those of half of all answers may move where kernels are exact. A model
that is sure of everything has probabilities that hardly move, and attacks read their logarithms."""
_SMALLEST = 1e-12
_BY_BATCH = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
_MOST, _LEAST, _NUMBERS = 48, 8, 2**20


@dataclass(frozen=True)
class Steadiness:
    """How far a model's answers to ``n`` inputs depend on chance and on the batch.

    ``repeat_difference``: largest difference of a probability between two equal queries; ``batches``: the same between an
    input alone and in batches; ``labels_changed``: inputs whose label changes with the batch; ``logarithms``: how far half of
    all answers move at least in the logarithm of a probability, and ``scale``: the largest of these.
    """

    n: int
    repeat_difference: float
    batches: float
    labels_changed: int
    tolerance: float = LARGEST
    logarithms: float = 0.0
    scale: float = 1.0

    @property
    def random(self) -> bool:
        """Whether equal questions get different answers."""
        return self.repeat_difference > 1e-6

    @property
    def batch_dependent(self) -> bool:
        """Whether answers depend on the rest of the batch by more than can be passed over."""
        return not self.random and (self.labels_changed > 0 or self.batches > self.tolerance or self._shifted)

    @property
    def _shifted(self) -> bool:
        """Whether most answers move by more than sums in another order explain; where kernels quantize, all do."""
        return self.tolerance <= LARGEST and self.logarithms > RELATIVE * max(1.0, self.scale)

    @property
    def moved(self) -> bool:
        """Whether answers depend on the rest of the batch at all."""
        return not self.random and self.batches > ROUNDING

    def sentence(self) -> str:
        """What was found, as a clause that follows the model's name."""
        if self.random:
            return f"answers the same input differently each time (probabilities differ by up to {self.repeat_difference:.2g})"
        return (
            f"answers an input by the batch that it stands in: of {self.n} inputs asked alone and in batches, "
            f"{self.labels_changed} change their label, and probabilities move by up to {self.batches:.2g}"
            + (f", the logarithms of half of them by {self.logarithms:.2g} or more" if self._shifted else "")
        )


def tolerance_of(model: onnx.ModelProto) -> float:
    """How far the rest of a batch may move a probability.

    Args:
        model: the graph.

    Returns:
        ``LARGEST``, or ``LARGEST_QUANTIZED`` for a graph that quantizes activations.
    """
    quantized = any(node.op_type in _BY_BATCH or _inexact(node) for node in model.graph.node)
    return LARGEST_QUANTIZED if quantized else LARGEST


def _inexact(node: onnx.NodeProto) -> bool:
    """Whether it is a MatMulNBits that quantizes activations (accuracy level 4)."""
    return any(attribute.name == "accuracy_level" and attribute.i == 4 for attribute in node.attribute)


def steadiness(ask: Ask, x: np.ndarray, tolerance: float = LARGEST) -> Steadiness:
    """How much answers depend on what else is asked.

    Some inputs are asked alone, all in one batch, in reverse order, and each beside copies of one of them.

    Args:
        ask: float32 [n, ...] -> probabilities [n, K].
        x: float32 [N, ...], of which some are asked about.
        tolerance: of ``tolerance_of``.

    Returns:
        What moved.
    """
    few = x[: max(_LEAST, min(_MOST, _NUMBERS // max(1, x[0].size)))]
    together, again = ask(few), ask(few)
    alone = np.concatenate([ask(few[row : row + 1]) for row in range(len(few))])
    copies = [
        ask(np.concatenate([few[row : row + 1], np.repeat(few[:1], 7, axis=0)]))[:1] for row in range(min(8, len(few)))
    ]
    others = [together, ask(few[::-1])[::-1]]
    moved = np.max([np.abs(other - alone).max(axis=1) for other in others], axis=0)
    moved[: len(copies)] = np.maximum(
        moved[: len(copies)], np.abs(np.concatenate(copies) - alone[: len(copies)]).max(axis=1)
    )
    changed = np.any([other.argmax(axis=1) != alone.argmax(axis=1) for other in others], axis=0) & (moved > ROUNDING)
    repeat_difference = max(float(np.abs(together - again).max()), float(np.abs(alone[0] - ask(few[:1])[0]).max()))
    logarithms, scale = _moved_logarithms(alone, others)
    return Steadiness(len(few), repeat_difference, float(moved.max()), int(changed.sum()), tolerance, logarithms, scale)


def _moved_logarithms(alone: np.ndarray, others: Sequence[np.ndarray]) -> tuple[float, float]:
    """The median over rows of the largest move, and the largest logarithm."""
    first, *rest = (np.log(np.maximum(answers.astype(np.float64), _SMALLEST)) for answers in [alone, *others])
    moved = np.max([np.abs(other - first).max(axis=1) for other in rest], axis=0)
    return float(np.median(moved)), float(np.abs(first).max())
