"""Which parts of a network compute on 8-bit codes, in a file whose activations are quantized statically."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgepriv.artifact.lower import linear_uses
from edgepriv.training.quantization import QuantizedTensor

LARGEST_WEIGHT = 64
"""Largest ``|integer - zero_point|`` that a layer multiplies codes with. Processors without an instruction for such products
(x86 before VNNI) add two of them in 16 bits, which holds 255 * (64 + 64) and saturates above, without a word."""

KEEPING = {"MaxPool", "Reshape", "Flatten", "Transpose", "Slice", "Squeeze", "Unsqueeze"}
"""Operators whose output has the codes of its input."""
COMPUTING = {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu"}
"""Operators with a kernel from codes to codes, whose output has a grid of its own."""
BENDING = {"Relu", "HardSigmoid", "HardSwish"}
"""Operators without such a kernel of their own, which saturating codes, or one of ``COMPUTING``, express."""
SATURATING = {"Relu", "Clip"}
"""Operators that the saturation of the codes behind them makes superfluous."""


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product with an integer weight. ``x``: the activation. ``node``: that multiplies. ``transposed``:
    whether it reads the weight as [K, N]."""

    node: ir.Node
    x: ir.Value
    weight: ir.Value
    transposed: bool = False


@dataclass
class Plan:
    """``products``: in the order of the graph. ``computed``: other nodes from codes to codes. ``grids``: value -> the value
    whose range it is quantized by, itself unless a node of ``KEEPING`` made it. ``saturated``: value -> the value behind the
    ``SATURATING`` node that is left out. ``left_float``: weight -> why it multiplies floats."""

    products: list[Product] = field(default_factory=list)
    computed: list[ir.Node] = field(default_factory=list)
    grids: dict[ir.Value, ir.Value] = field(default_factory=dict)
    saturated: dict[ir.Value, ir.Value] = field(default_factory=dict)
    left_float: dict[str, str] = field(default_factory=dict)

    def coded(self, value: ir.Value) -> ir.Value:
        """The value that is quantized for the output of a node.

        Args:
            value: that the node makes.

        Returns:
            The same, or what the saturating node behind it makes.
        """
        return self.saturated.get(value, value)

    @property
    def entries(self) -> list[ir.Value]:
        """Floats that products read, which are quantized for them alone."""
        return list(dict.fromkeys(product.x for product in self.entering))

    @property
    def entering(self) -> list[Product]:
        """Products that read such floats."""
        return [product for product in self.products if product.x not in self.grids]

    @property
    def ranged(self) -> list[ir.Value]:
        """Values with a range of their own: sources of the grids, without those whose codes a hard sigmoid fixes."""
        return [value for value in dict.fromkeys(self.grids.values()) if not self._fixed(value)]

    def _fixed(self, value: ir.Value) -> bool:
        producer, reader = value.producer(), _only_reader(value)
        hard = [node for node in (producer, reader) if node is not None and node.op_type == "HardSigmoid"]
        return any(node is producer or node in self.computed for node in hard)


def plan_integers(graph: ir.Graph, weights: Mapping[str, QuantizedTensor], *, trained: bool = False) -> Plan:
    """Decide what computes on codes.

    Products with integer weights do. So does a node of another kind if all that it reads are codes already and some node that
    computes on codes reads what it makes.

    Args:
        graph: with batch normalizations folded; left as it is.
        weights: integers by name.
        trained: make the plan for any integers of these widths, as training needs it, which changes them.

    Returns:
        The plan.
    """
    plan = Plan()
    products = _products(graph, weights, plan.left_float, trained)
    sources: dict[ir.Value, ir.Value] = {}
    candidates: list[ir.Node] = []
    saturating: set[ir.Node] = set()
    for node in graph:
        if node in saturating:
            continue
        if node in products:
            plan.products.append(products[node])
        elif not _on_codes(node, sources):
            continue
        else:
            candidates.append(node)
        if node in products and products[node].transposed:
            continue  # its bias is added in float behind it
        output = node.outputs[0]
        if node.op_type in KEEPING:
            assert node.inputs[0] is not None
            sources[output] = sources[node.inputs[0]]
            continue
        reader = _only_reader(output)
        if reader is not None and reader.op_type in SATURATING and node.op_type != "HardSigmoid":
            plan.saturated[output] = reader.outputs[0]
            saturating.add(reader)
        sources[plan.coded(output)] = plan.coded(output)
    _keep_what_is_read(plan, candidates, sources)
    return plan


def _keep_what_is_read(plan: Plan, candidates: list[ir.Node], sources: Mapping[ir.Value, ir.Value]) -> None:
    """Of the candidates those whose codes somebody reads; of the saturating nodes those behind what is quantized."""
    reading = {product.node for product in plan.products}
    for node in reversed(candidates):
        if any(use.node in reading for use in plan.coded(node.outputs[0]).uses()):
            reading.add(node)
    plan.computed = [node for node in candidates if node in reading]
    for node in [*(product.node for product in plan.products), *plan.computed]:
        value = plan.coded(node.outputs[0])
        if value in sources and (node.op_type == "Conv" or any(use.node in reading for use in value.uses())):
            plan.grids[value] = sources[value]
        else:
            plan.saturated.pop(node.outputs[0], None)


def _products(
    graph: ir.Graph, weights: Mapping[str, QuantizedTensor], left_float: dict[str, str], trained: bool
) -> dict[ir.Node, Product]:
    products: dict[ir.Node, Product] = {}
    for name, tensor in weights.items():
        weight = graph.initializers.get(name)
        if weight is None or not weight.uses():
            continue
        reason = _unfit(tensor, trained)
        own = None if reason else list(_uses(weight))
        if own is None or None in own:
            left_float[name] = reason or "not the weight of a convolution or Linear alone"
        else:
            products |= {product.node: product for product in own if product is not None}
    return products


def _unfit(tensor: QuantizedTensor, trained: bool) -> str | None:
    if tensor.block is not None:
        return "a scale for each block, where the kernels have one for a channel"
    if trained and 2**tensor.bits - 1 > LARGEST_WEIGHT:
        return f"{tensor.bits}-bit integers may lie further than {LARGEST_WEIGHT} from their zero point after training"
    if np.abs(offsets(tensor)).max(initial=0) > LARGEST_WEIGHT:
        return f"{tensor.bits}-bit integers further than {LARGEST_WEIGHT} from their zero point, which 16-bit sums may not hold"
    return None


def offsets(tensor: QuantizedTensor) -> np.ndarray:
    """The integers less their zero points.

    Args:
        tensor: of a scale for the tensor or each channel.

    Returns:
        int32, the weight's shape.
    """
    difference: np.ndarray = tensor.integers.astype(np.int32) - tensor.spread(tensor.zero_point.astype(np.int32))
    return difference


def _uses(weight: ir.Value) -> Iterator[Product | None]:
    linears = linear_uses(weight)
    for linear in linears or ():
        multiplying = next(node for node in linear.nodes if node.op_type in ("Gemm", "MatMul"))
        yield Product(multiplying, linear.activation, weight, multiplying.op_type == "MatMul")
    if linears is None:
        for node, index in weight.uses():
            x, bias = node.inputs[0], node.inputs[2] if len(node.inputs) > 2 else None
            fits = node.op_type == "Conv" and index == 1 and (bias is None or bias.const_value is not None)
            yield Product(node, x, weight) if fits and x is not None else None


def _on_codes(node: ir.Node, sources: Mapping[ir.Value, ir.Value]) -> bool:
    """Whether a node can read codes and is given them."""
    if node.op_type in KEEPING:
        read = node.inputs[:1]
    elif node.op_type in COMPUTING | BENDING:
        read = node.inputs
    else:
        return False
    padded = node.op_type == "AveragePool" and "ceil_mode" in node.attributes and node.attributes["ceil_mode"].as_int()
    return len(node.outputs) == 1 and not padded and all(value in sources for value in read)


def _only_reader(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None
