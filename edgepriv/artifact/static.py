"""Activations of 8 bits on fixed grids: QuantizeLinear and DequantizeLinear around what onnxruntime computes on integers.

onnxruntime replaces DequantizeLinear -> Conv -> QuantizeLinear by one QLinearConv, and so for the other operators of
``integer_plan``; the arithmetic on weights before it is computed once, when the session is opened. Every other runtime computes
the same in floating point, for the graph holds operators of the ONNX standard only.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.blocks import column, one_if_equal
from edgepriv.artifact.calibration import Grid, Ranges, TrainedRanges, calibrate
from edgepriv.artifact.emit import SCALE, ZERO_POINT, Emitter
from edgepriv.artifact.fold import drop_unused_initializers
from edgepriv.artifact.integer_plan import COMPUTING, KEEPING, Plan, Product, plan_integers
from edgepriv.artifact.lower import Lowered, Static, integers_of, restore, weights_read
from edgepriv.models.rounded_activations import LEVELS
from edgepriv.training.quantization import QuantizedTensor

_LARGEST_BIAS = 2**30
"""Of an integer bias: the sum of products is added to it in 32 bits."""
_SMALLEST_SCALE = 1e-30
_UNIT = Grid(np.float32(1 / LEVELS), 0)
"""[0, 1]."""
_HARD = {"HardSigmoid": (0.2, 0.5), "HardSwish": (1 / 6, 0.5)}
"""Slope and offset of a hard sigmoid where its node does not say."""


def lower_statically(
    model: ir.Model, weights: Mapping[str, QuantizedTensor], calibration: np.ndarray | TrainedRanges
) -> Lowered:
    """Rewrite a graph so that what ``plan_integers`` names computes on 8-bit codes.

    Weights are stored at exactly their bits. ``integer - zero_point`` becomes int8 by constant arithmetic; zero points of
    weights are gone then, as the kernels want it. A bias has the scale of the products that it is added to.

    Args:
        model: with batch normalizations folded; changed in place.
        weights: integers by name.
        calibration: the ranges that the network was trained with, or real inputs float32 [n >= 1, ...] in [0, 1], whose
            activations are the ranges.

    Returns:
        What became of the weights, and what computes on integers.
    """
    graph = model.graph
    plan = plan_integers(graph, weights, trained=isinstance(calibration, TrainedRanges))
    ranges = (
        calibration.of(plan) if isinstance(calibration, TrainedRanges) else calibrate(model, weights, plan, calibration)
    )
    writer = _Writer(graph, plan, ranges, weights)
    writer.write()
    left_float: dict[str, str] = {}
    rest = {name: tensor for name, tensor in weights.items() if name not in writer.stored}
    for name, tensor, weight in weights_read(graph, rest, left_float):
        graph.initializers.pop(name)
        weight.replace_all_uses_with(restore(writer.emit, name, tensor))
    drop_unused_initializers(graph)
    convolutions = sum(product.node.op_type == "Conv" for product in plan.products)
    static = Static(
        convolutions,
        len(plan.products) - convolutions,
        writer.in_float(),
        dict(plan.left_float),
        writer.regridded,
        ranges.examples,
    )
    return Lowered(0, left_float, static=static)


class _Writer:
    """Writes a plan into its graph. ``stored``: weights in it as int8. ``regridded``: channels with coarser integers."""

    def __init__(self, graph: ir.Graph, plan: Plan, ranges: Ranges, weights: Mapping[str, QuantizedTensor]) -> None:
        self.graph, self.emit, self.plan, self.ranges = graph, Emitter(graph), plan, ranges
        self.weights = weights
        self.grids: dict[ir.Value, Grid] = {}
        self.stored: dict[str, tuple[ir.Value, ir.Value, np.ndarray]] = {}
        self.regridded = 0

    def write(self) -> None:
        """Everything, once."""
        bent = [node for node in self.plan.computed if node.op_type in _HARD or node.op_type == "Relu"]
        for value, source in self.plan.grids.items():
            if not self._made_hard(value):
                self._quantize(value, source)
        for value in self.plan.entries:
            self._quantize_entry(value)
        for node in bent:
            self._bend(node)
        least = self._least_scales()
        for product in self.plan.products:
            self._multiply(product, least)

    def in_float(self) -> dict[str, int]:
        """Operators that are left in floating point behind the first product, with their counts."""
        own = {product.node for product in self.plan.products}
        downstream: set[ir.Value] = set()
        counts: Counter[str] = Counter()
        for node in self.graph:
            if node in own:
                downstream |= {*node.outputs}
            elif downstream & {*node.inputs}:
                downstream |= {*node.outputs}
                on_codes = node.op_type in COMPUTING | KEEPING and all(
                    read in self.grids for read in node.inputs[: 1 if node.op_type in KEEPING else None]
                )
                if not on_codes and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                    counts[node.op_type] += 1
        return dict(counts.most_common())

    def _grid(self, source: ir.Value) -> Grid:
        """Of a value that only a hard swish reads, what is below its zero makes no difference."""
        readers = [use.node for use in source.uses()]
        if readers and all(node.op_type == "HardSwish" for node in readers):
            return self.ranges.grid(source, least=-3.0)
        return self.ranges.grid(source)

    def _made_hard(self, value: ir.Value) -> bool:
        """Whether a hard sigmoid makes this value: ``_quantize`` of what it reads, or ``_bend``, see to it then."""
        producer = value.producer()
        return producer is not None and producer.op_type == "HardSigmoid"

    def _pair(self, x: ir.Value, into: Grid, out: Grid, after: ir.Node | None, before: ir.Node | None) -> ir.Value:
        quantize = ir.node("QuantizeLinear", [x, *self._constants(into)])
        dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], *self._constants(out)])
        if after is not None:
            self.graph.insert_after(after, [quantize, dequantize])
        else:
            assert before is not None
            self.graph.insert_before(before, [quantize, dequantize])
        self.grids[dequantize.outputs[0]] = out
        return dequantize.outputs[0]

    def _constants(self, grid: Grid) -> list[ir.Value]:
        return [
            self.emit.constant(np.array(grid.scale, np.float32)),
            self.emit.constant(np.array(grid.zero_point, np.uint8)),
        ]

    def _quantize(self, value: ir.Value, source: ir.Value) -> None:
        """All readers of a value read its codes instead, on the grid of ``source``."""
        producer, x = value.producer(), value
        assert producer is not None
        saturating = next((own for own, cut in self.plan.saturated.items() if cut is value), None)
        readers = list(value.uses())
        if saturating is not None:
            relu, x = producer, saturating
            producer = x.producer()
            assert producer is not None
        hard = readers[0].node if len(readers) == 1 and readers[0].node.op_type == "HardSigmoid" else None
        if hard is not None and hard in self.plan.computed:
            codes = self._pair(x, _hard_grid(hard), _UNIT, producer, None)
            hard.outputs[0].replace_all_uses_with(codes)
            self.graph.remove(hard, safe=True)
        else:
            grid = self._grid(source)
            codes = self._pair(x, grid, grid, producer, None)
            for use in readers:
                use.node.replace_input_with(use.idx, codes)
        if saturating is not None:
            self.graph.remove(relu, safe=True)

    def _quantize_entry(self, value: ir.Value) -> None:
        """Only the products that read a value read its codes; it may be the input of the graph."""
        reading = [product.node for product in self.plan.products if product.x is value]
        order = {node: place for place, node in enumerate(self.graph)}
        first = min(reading, key=lambda node: order[node])
        codes = self._pair(value, self.ranges.grid(value), self.ranges.grid(value), None, first)
        for node in reading:
            node.replace_input_with(0, codes)

    def _bend(self, node: ir.Node) -> None:
        """What has no kernel from codes to codes, by what has."""
        if node.graph is None:
            return  # done with what it reads
        x, output = node.inputs[0], node.outputs[0]
        assert x is not None
        if node.op_type == "Relu":
            bent = ir.node("LeakyRelu", [x], {"alpha": 0.0})
            self.graph.insert_before(node, bent)
            result = bent.outputs[0]
        else:
            # A leaky rectifier of slope 1 does nothing but carry codes from one grid to another.
            carried = ir.node("LeakyRelu", [x], {"alpha": 1.0})
            self.graph.insert_before(node, carried)
            result = self._pair(carried.outputs[0], _hard_grid(node), _UNIT, None, node)
            if node.op_type == "HardSwish":
                product = ir.node("Mul", [x, result])
                self.graph.insert_before(node, product)
                result = product.outputs[0]
        output.replace_all_uses_with(result)
        self.graph.remove(node, safe=True)

    def _multiply(self, product: Product, least: Mapping[str, np.ndarray]) -> None:
        node, name = product.node, product.weight.name
        assert name is not None
        if name not in self.stored:
            self.stored[name] = self._store(name, least[name])
        integers, scale_value, scale = self.stored[name]
        axis = {} if scale.size == 1 else {"axis": int(product.transposed)}
        if product.transposed:
            integers = self.emit.node("Transpose", [integers], perm=[1, 0])
        # The kernels of matrix products want the zero point written out.
        zeros = [] if node.op_type == "Conv" else [self.emit.constant(np.zeros(scale.shape, np.int8))]
        restored = self.emit.node("DequantizeLinear", [integers, scale_value, *zeros], **axis)
        old = node.inputs[1]
        node.replace_input_with(1, restored)
        if product.transposed and old is not None and not old.uses():
            transpose = old.producer()
            assert transpose is not None
            self.graph.remove(transpose, safe=True)
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is not None:
            node.replace_input_with(2, self._bias(bias, node.inputs[0], scale_value, scale))

    def _bias(self, bias: ir.Value, x: ir.Value | None, scale_value: ir.Value, scale: np.ndarray) -> ir.Value:
        assert x is not None
        step = self.grids[x].scale
        products = (scale * step).astype(np.float32)
        integers = np.rint(_array(bias) / products.astype(np.float64)).astype(np.int32)
        of_products = self.emit.node("Mul", [scale_value, self.emit.constant(np.array(step, np.float32))])
        axis = {} if scale.size == 1 else {"axis": 0}
        zeros = self.emit.constant(np.zeros(scale.shape, np.int32))
        return self.emit.node("DequantizeLinear", [self.emit.constant(integers), of_products, zeros], **axis)

    def _store(self, name: str, least: np.ndarray) -> tuple[ir.Value, ir.Value, np.ndarray]:
        """int8 integers without zero points, and their scales as a value and as an array."""
        tensor = self.weights[name]
        coarse = tensor.scale < least
        if coarse.any():
            self.regridded += int(coarse.sum())
            tensor = _coarsened(tensor, np.maximum(tensor.scale, least).astype(np.float32))
        self.graph.initializers.pop(name)
        # What is computed as the file is opened stays in memory until all of it is: a byte for each weight, where that will do.
        wide = ir.DataType.INT8 if tensor.bits < 8 else ir.DataType.INT32
        value = self.emit.node("Cast", [integers_of(self.emit, name, tensor)], to=wide)
        zero_point = one_if_equal(tensor.zero_point)
        if zero_point.any():
            shaped = column(zero_point, tensor)
            if zero_point.size == 1:
                stored = self.emit.constant(shaped.astype(wide.numpy()))
            else:
                store = self.emit.nibbles if tensor.bits <= 4 else self.emit.named
                stored = self.emit.node("Cast", [store(name + ZERO_POINT, shaped)], to=wide)
            value = self.emit.node("Sub", [value, stored])
        if wide != ir.DataType.INT8:
            value = self.emit.node("Cast", [value], to=ir.DataType.INT8)
        scale = one_if_equal(tensor.scale)
        scale = scale.reshape(()) if scale.size == 1 else scale
        return value, self.emit.named(name + SCALE, scale), scale

    def _least_scales(self) -> dict[str, np.ndarray]:
        """Weight -> the smallest scale of each channel with which every bias fits 32 bits: a dead channel's is too small."""
        least: dict[str, np.ndarray] = {}
        for product in self.plan.products:
            name, node = product.weight.name, product.node
            assert name is not None
            assert node.inputs[0] is not None
            size = self.weights[name].scale.size
            needed = least.setdefault(name, np.full(size, _SMALLEST_SCALE))
            bias = node.inputs[2] if len(node.inputs) > 2 else None
            if bias is not None:
                step = float(self.grids[node.inputs[0]].scale)
                own = np.abs(_array(bias)) / (_LARGEST_BIAS * step)
                least[name] = np.maximum(needed, own if size > 1 else own.max())
        return least


def _hard_grid(node: ir.Node) -> Grid:
    """The grid whose ends are where a hard sigmoid reaches 0 and 1: its codes are those of the result on [0, 1]."""
    slope, offset = _HARD[node.op_type]
    if node.op_type == "HardSigmoid":
        slope = node.attributes["alpha"].as_float() if "alpha" in node.attributes else slope
        offset = node.attributes["beta"].as_float() if "beta" in node.attributes else offset
    return Grid(np.float32(1 / (slope * LEVELS)), int(np.floor(offset * LEVELS + 0.5)))


def _coarsened(tensor: QuantizedTensor, scale: np.ndarray) -> QuantizedTensor:
    """The same weight on a coarser grid, rounded."""
    ratio = tensor.spread((tensor.scale.astype(np.float64) / scale).astype(np.float64))
    zero_point = tensor.spread(tensor.zero_point.astype(np.float64))
    integers = np.rint((tensor.integers - zero_point) * ratio) + zero_point
    return replace(tensor, integers=integers.astype(tensor.integers.dtype), scale=scale)


def _array(value: ir.Value) -> np.ndarray:
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)
