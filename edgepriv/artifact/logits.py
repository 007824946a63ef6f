"""Where the logits of a graph are, behind whatever makes probabilities of them.

A softmax whose largest probability is exactly 1 has no gradient, and neither have clipped or rounded probabilities: attacks
that climb on them stand still, and the model looks robust. All of these leave the order of the classes as it is, so a twin
may take what stands before them instead. The caller checks the result on real answers (``keeps_order``).
"""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

_RISING = {
    *("Identity", "Cast", "Dropout", "Clip", "Round", "Floor", "Ceil", "Exp", "Log", "Sqrt", "Sigmoid", "HardSigmoid"),
    *("Tanh", "Erf", "Atan", "Relu", "LeakyRelu", "Elu", "Celu", "Selu", "Softplus", "Softsign", "ThresholdedRelu"),
    *("QuantizeLinear", "DequantizeLinear", "CastLike"),
}
"""Functions of each number that never fall (the quantizers as far as one scale serves all classes)."""
_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
_DISTRIBUTIONS = {"Softmax", "LogSoftmax"}
_ROW_WISE = {
    "Log",
    "Identity",
    "Cast",
    "Add",
    "Clip",
    "Max",
    "Sqrt",
    "Reciprocal",
    "Abs",
    "Unsqueeze",
    "Expand",
    "Reshape",
}
_REDUCTIONS = {"ReduceSum", "ReduceMax", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "GlobalMaxPool"}
_LABELS = {"Identity", "Cast", "Squeeze", "Reshape", "Flatten"}
_DEEPEST = 100


def expose(model: onnx.ModelProto, output: str) -> tuple[str, list[NodeProto]]:
    """The tensor nearest to the logits that orders the classes as an output does.

    Args:
        model: the graph.
        output: name of the tensor to start from.

    Returns:
        Its name, ``output`` itself where nothing stands between them; and the nodes that compute it behind those of ``model``:
        views between the two, repeated.
    """
    graph = _Graph(model)
    return graph.before(output, _DEEPEST), graph.added


def scores_before_argmax(model: onnx.ModelProto, labels: str) -> str | None:
    """The scores of which a graph returns the largest one's position.

    Args:
        model: the graph.
        labels: name of the tensor that holds the labels.

    Returns:
        Name of the tensor; None where no ArgMax or TopK makes the labels.
    """
    graph = _Graph(model)
    node = graph.producers.get(labels)
    while node is not None and node.op_type in _LABELS:
        labels = node.input[0]
        node = graph.producers.get(labels)
    if node is None or not (node.op_type == "ArgMax" or (node.op_type == "TopK" and node.output[1:] == [labels])):
        return None
    scores: str | None = node.input[0]
    return scores


def keeps_order(logits: np.ndarray, answers: np.ndarray) -> bool:
    """Whether answers rise, or stay, as logits do, in every row.

    Args:
        logits: [n, K].
        answers: [n, K].

    Returns:
        False for other shapes, too.
    """
    if logits.shape != answers.shape:
        return False
    ordered = np.take_along_axis(answers, np.argsort(logits, axis=1, kind="stable"), axis=1)
    return bool((np.diff(ordered, axis=1) >= -1e-5 * np.abs(answers).max(initial=1.0)).all())


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.own_nodes = len(model.graph.node)
        self.added: list[NodeProto] = []
        self.producers = {output: node for node in model.graph.node for output in node.output}
        self.constants: Mapping[str, onnx.TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}

    def before(self, name: str, deepest: int) -> str:
        node = self.producers.get(name)
        if node is None or deepest == 0 or node.output[0] != name:
            return name

        def further(inside: str) -> str:
            return self.before(inside, deepest - 1)

        if node.op_type in _RISING | _DISTRIBUTIONS and self._one_scale(node):
            return further(node.input[0])
        if node.op_type in _VIEWS:
            inside = further(node.input[0])
            return name if inside == node.input[0] else self._again(node, [inside, *node.input[1:]])
        if node.op_type == "Concat":
            return self._pair(node, further) or name
        varying = self._scaled(node)
        return name if varying is None else further(varying)

    def _scaled(self, node: NodeProto) -> str | None:
        """The input that a positive number, or one number for each example, is multiplied with or added to."""
        if len(node.input) != 2 or node.op_type not in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"):
            return None
        first, second = node.input
        if self._harmless(node.op_type, second):
            return str(first)
        if node.op_type in ("Add", "Mul", "Max", "Min") and self._harmless(node.op_type, first):
            return str(second)
        return None

    def _harmless(self, operator: str, name: str) -> bool:
        number = self._number(name)
        if number is not None:
            return operator in ("Add", "Sub", "Max", "Min") or number > 0
        return operator not in ("Pow", "Max", "Min") and self._for_each_row(name)

    def _for_each_row(self, name: str) -> bool:
        """Whether all classes of an example share this number."""
        for _ in range(_DEEPEST):
            node = self.producers.get(name)
            if node is None:
                return False
            if node.op_type in _REDUCTIONS:
                return True
            if node.op_type not in _ROW_WISE or any(self._array(other) is None for other in node.input[1:]):
                return False
            name = node.input[0]
        return False

    def _pair(self, node: NodeProto, further: Callable[[str], str]) -> str | None:
        """Two classes by one logit x: (1 - p, p), p = sigmoid(x), or the sigmoids of -x and x: their logits side by side."""
        if len(node.input) != 2:
            return None
        parts = [self.producers.get(name) for name in node.input]
        for position, part in enumerate(parts):
            other = node.input[1 - position]
            if (
                part is not None
                and part.op_type == "Sub"
                and part.input[1] == other
                and self._array(part.input[0]) is not None
            ):
                inside = further(other)
                negative = self._new("Neg", [inside])
                return self._again(node, [negative, inside] if position == 0 else [inside, negative])
        first, second = parts
        same = first is not None and second is not None and first.op_type == second.op_type and first.op_type in _RISING
        if not same or first is None or second is None or [*first.attribute] != [*second.attribute]:
            return None
        return self._again(node, [first.input[0], second.input[0]]) if first.input[1:] == second.input[1:] else None

    def _one_scale(self, node: NodeProto) -> bool:
        """Other inputs, such as bounds and scales, are one number for all classes."""
        if node.op_type == "CastLike":
            return True
        return all(not name or self._number(name) is not None for name in node.input[1:])

    def _number(self, name: str) -> float | None:
        array = self._array(name)
        return float(array.reshape(())) if array is not None and array.size == 1 else None

    def _array(self, name: str) -> np.ndarray | None:
        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        node = self.producers.get(name)
        if node is None or node.op_type != "Constant":
            return None
        value = onnx.helper.get_attribute_value(node.attribute[0])
        return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)

    def _again(self, node: NodeProto, inputs: list[str]) -> str:
        copy = NodeProto()
        copy.CopyFrom(node)
        return self._added(copy, inputs)

    def _new(self, operator: str, inputs: list[str]) -> str:
        return self._added(onnx.helper.make_node(operator, inputs, [""]), inputs)

    def _added(self, node: NodeProto, inputs: list[str]) -> str:
        name = f"logits exposed {self.own_nodes + len(self.added)}"
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.append(name)
        node.name = name
        self.added.append(node)
        self.producers[name] = node
        return name
