"""The range that each activation takes on real inputs, and the grid of 8-bit codes over it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgepriv.artifact.emit import Emitter
from edgepriv.artifact.fold import drop_unused_initializers
from edgepriv.artifact.integer_plan import Plan
from edgepriv.artifact.lower import restore
from edgepriv.artifact.session import open_session
from edgepriv.errors import UserError
from edgepriv.models.rounded_activations import grids
from edgepriv.training.quantization import QuantizedTensor

METHOD = "smallest and largest value seen"
_LARGEST_BATCH = 2**18
"""Numbers fed at once: every activation of the batch is held."""


@dataclass(frozen=True)
class Grid:
    """value = (code - zero_point) * scale, codes uint8."""

    scale: np.float32
    zero_point: int

    @property
    def low(self) -> float:
        """The value of code 0."""
        return -self.zero_point * float(self.scale)


@dataclass(frozen=True)
class TrainedRanges:
    """Ranges that a network was trained with. ``ranges``: float32 [P, 2] of ``Plan.ranged``, then of ``Plan.entering``.
    ``examples``: that they were seen on."""

    ranges: np.ndarray
    examples: int

    def of(self, plan: Plan) -> "Ranges":
        """The same by the names that values have in a graph.

        Args:
            plan: of the graph.

        Returns:
            The ranges.

        Raises:
            UserError: for a plan that quantizes something else.
        """
        values = [*plan.ranged, *(product.x for product in plan.entering)]
        if len(values) != len(self.ranges):
            raise UserError(
                f"the network was trained to round {len(self.ranges)} activations, and its file would round {len(values)}: "
                "train it again with this version"
            )
        pairs = zip(values, self.ranges.tolist(), strict=True)
        return Ranges({str(value.name): (low, high) for value, (low, high) in pairs}, self.examples)


@dataclass(frozen=True)
class Ranges:
    """``seen``: name of a value -> its smallest and largest number. ``examples``: inputs that were looked at."""

    seen: Mapping[str, tuple[float, float]]
    examples: int

    def grid(self, value: ir.Value, least: float = -np.inf) -> Grid:
        """The grid of a value. 0 has a code, so that padding, and what Relu cuts off, are exact.

        Args:
            value: whose range was seen.
            least: below which its numbers make no difference.

        Returns:
            The grid.
        """
        assert value.name is not None
        low, high = self.seen[value.name]
        return grid_over(min(0.0, max(low, least)), max(0.0, high))


def grid_over(low: float, high: float) -> Grid:
    """The grid of a range.

    Args:
        low: at most 0.
        high: at least 0.

    Returns:
        255 steps; the zero point is rounded, so the grid may lie half a step beside the range.
    """
    scale, zero_point = grids(np.array([[low, high]]))
    return Grid(scale[0], int(zero_point[0]))


def calibrate(model: ir.Model, weights: Mapping[str, QuantizedTensor], plan: Plan, inputs: np.ndarray) -> Ranges:
    """Run the network with its integer weights and float activations, and note what each activation spans.

    What is computed from the input before the first product is bounded by the darkest and the brightest input as well, where
    no example may have been.

    Args:
        model: with batch normalizations folded; left as it is.
        weights: integers by name.
        plan: whose values are looked at.
        inputs: float32 [n >= 1, ...] in [0, 1].

    Returns:
        The ranges.
    """
    (source,) = model.graph.inputs
    wanted = dict.fromkeys([*plan.grids.values(), *plan.entries])
    names = [value.name for value in wanted if value is not source and value.name is not None]
    assert len(names) >= len(wanted) - 1, "values without a name"
    seen = {name: (np.inf, -np.inf) for name in names}
    extremes = np.stack([np.zeros_like(inputs[0]), np.ones_like(inputs[0])])
    if names:
        session = open_session(showing(model, weights, names))
        alone = source.shape is not None and source.shape[0] == 1
        rows = 1 if alone else max(1, _LARGEST_BATCH // inputs[0].size)
        for values in _runs(session, names, inputs, rows):
            _widen(seen, values, names)
        entering = [value.name for value in plan.entries if value.name in seen and not behind_weights(value, weights)]
        for values in _runs(session, names, extremes, rows):
            _widen(seen, values, entering)
    assert source.name is not None
    return Ranges(seen | {source.name: (0.0, 1.0)}, len(inputs))


def _runs(
    session: ort.InferenceSession, names: list[str], inputs: np.ndarray, rows: int
) -> Iterable[Mapping[str, np.ndarray]]:
    feed = session.get_inputs()[0].name
    for start in range(0, len(inputs), rows):
        part = np.ascontiguousarray(inputs[start : start + rows], np.float32)
        yield dict(zip(names, session.run(names, {feed: part}), strict=True))


def _widen(seen: dict[str, tuple[float, float]], values: Mapping[str, np.ndarray], names: Iterable[str | None]) -> None:
    for name in names:
        assert name is not None
        low, high = seen[name]
        seen[name] = (min(low, float(values[name].min())), max(high, float(values[name].max())))


def behind_weights(value: ir.Value, weights: Mapping[str, QuantizedTensor]) -> bool:
    """Whether a value depends on a quantized weight.

    Args:
        value: of the graph.
        weights: integers by name.

    Returns:
        False for what is made of the input alone.
    """
    pending, met = [value], set()
    while pending:
        producer = pending.pop().producer()
        if producer is None or producer in met:
            continue
        met.add(producer)
        if any(read is not None and read.name in weights for read in producer.inputs):
            return True
        pending += [read for read in producer.inputs if read is not None]
    return False


def showing(model: ir.Model, weights: Mapping[str, QuantizedTensor], names: list[str]) -> bytes:
    """The file that returns values of a graph, computed with its integer weights and float activations.

    Args:
        model: with batch normalizations folded; left as it is.
        weights: integers by name.
        names: of the values.

    Returns:
        The file.
    """
    shown = model.clone()
    graph = shown.graph
    emit = Emitter(graph)
    for name, tensor in weights.items():
        weight = graph.initializers.get(name)
        if weight is not None and weight.uses():
            graph.initializers.pop(name)
            weight.replace_all_uses_with(restore(emit, name, tensor))
    drop_unused_initializers(graph)
    values = {output.name: output for node in graph for output in node.outputs}
    graph.outputs.clear()
    for name in names:
        values[name].type = ir.TensorType(ir.DataType.FLOAT)
        graph.outputs.append(values[name])
    content: bytes = ir.to_proto(shown).SerializeToString()
    return content
