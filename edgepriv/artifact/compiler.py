"""An ONNX graph as the steps of a torch module: what depends on the input is kept as a step, the rest is computed at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import AttributeProto, TensorProto
from torch import Tensor, nn

from edgepriv.artifact.contract import Contract
from edgepriv.artifact.operators import ARITHMETIC, Attributes, Operator, Unsupported
from edgepriv.artifact.operators_layers import LAYERS
from edgepriv.artifact.operators_more import MORE
from edgepriv.artifact.operators_recurrent import RECURRENT
from edgepriv.artifact.operators_resize import RESIZING
from edgepriv.artifact.operators_shapes import SHAPES
from edgepriv.artifact.operators_types import CASTS, TYPES, unpacked_matrix

OPERATORS = ARITHMETIC | LAYERS | SHAPES | CASTS | MORE | RESIZING | RECURRENT
_STANDARD = ("", "ai.onnx", "com.microsoft")
_SHOWN = 4


class Untwinnable(Exception):
    """There is no differentiable twin of this graph; the message says why. Black-box attacks still apply."""


@dataclass(frozen=True)
class _Step:
    """One node: which slots it reads (-1: an input left out) and writes, and which slots no later step reads."""

    name: str
    operator: Operator
    attributes: Attributes
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    dead: tuple[int, ...]


class Twin(nn.Module):
    """float32 [N, ...] in [0, 1] -> logits [N, K], whose largest is the file's label.

    A graph that takes bytes is fed 255 x, not rounded, so that gradients reach x. ``max_difference``: of its probabilities
    from onnxruntime's, as measured when the twin was made. ``straight_through``: operators that round, in the words of
    ``named``; gradients pass through them as if they did not.
    """

    def __init__(
        self, steps: Sequence[_Step], constants: dict[int, Tensor], slots: int, source: int, result: int
    ) -> None:
        super().__init__()
        self.max_difference = 0.0
        self.fixed_batch: int | None = None
        self.log_output = False
        self.straight_through: tuple[str, ...] = ()
        self.input_scale = 1.0
        self.doubles = False
        self.reading: Contract | None = None
        self._steps, self._slots, self._source, self._result = tuple(steps), slots, source, result
        self._constants = tuple(constants)
        for slot, tensor in constants.items():
            self.register_buffer(f"constant{slot}", tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of inputs [N, ...] in [0, 1]; a last batch is filled up where the file takes only so many at a time."""
        if self.fixed_batch is None or len(x) == self.fixed_batch:
            return self._run(x)
        size = self.fixed_batch
        parts = [
            self._run(torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])]))[: len(part)]
            for part in x.split(size)
        ]
        return torch.cat(parts)

    def _run(self, x: Tensor) -> Tensor:
        values: list[Any] = [None] * (self._slots + 1)
        for slot in self._constants:
            values[slot] = getattr(self, f"constant{slot}")
        fed = x if self.input_scale == 1 else x * self.input_scale
        values[self._source] = fed.double() if self.doubles else fed
        for step in self._steps:
            try:
                computed = step.operator(step.attributes, *[values[slot] for slot in step.inputs])
            except (Unsupported, RuntimeError, TypeError, KeyError, IndexError, ValueError) as error:
                raise Unsupported(f"{step.name}: {str(error).splitlines()[0] if str(error) else error!r}") from error
            for slot, value in zip(
                step.outputs, computed if isinstance(computed, tuple) else (computed,), strict=False
            ):
                values[slot] = value
            for slot in step.dead:
                values[slot] = None
        result = values[self._result].to(x.dtype)
        return result if self.reading is None else _in_order(result.flatten(1), self.reading, self.log_output)


def compiled(model: onnx.ModelProto, contract: Contract, result: str, added: Sequence[onnx.NodeProto] = ()) -> Twin:
    """The twin of a part of a graph.

    Args:
        model: the graph.
        contract: how it is fed and read.
        result: name of the tensor that the twin computes, from the graph's input.
        added: nodes behind those of the graph.

    Returns:
        The twin.

    Raises:
        Untwinnable: for what has no counterpart in torch.
    """
    nodes = [*model.graph.node, *added]
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    needed = _ancestors(result, nodes)
    _refuse_unknown(needed)
    compiler = _Compiler(model, contract.input_name, opset)
    for node in needed:
        compiler.add(node)
    twin = compiler.finish(result)
    twin.fixed_batch = contract.fixed_batch
    twin.reading = None if contract.layout == "label" else contract
    twin.doubles = contract.input_dtype == "float64"
    twin.input_scale = 255.0 if contract.input_dtype == "uint8" else 1.0
    return twin


def _in_order(result: Tensor, contract: Contract, log_output: bool) -> Tensor:
    """Logits [N, K] of what the graph returns, the classes in order."""
    tiny = torch.finfo(result.dtype).tiny
    if contract.layout == "single":
        other = 1 - result if log_output else torch.zeros_like(result)
        result = torch.cat([other, result], dim=1)
    if log_output:
        # The logarithm of probabilities is one of the logits that give them.
        result = result.clamp(min=tiny).log()
    return result if contract.order is None else result[:, list(contract.order)]


def named(node: onnx.NodeProto) -> str:
    """What an operator is called in a message.

    Args:
        node: of a graph.

    Returns:
        Its type, its domain if it is not ONNX's own, and its name.
    """
    kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    return f"{kind} (node {node.name})" if node.name else kind


def _ancestors(result: str, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Those of ``nodes`` that the result depends on, in their order."""
    producers = {output: node for node in nodes for output in node.output}
    needed, pending = set(), [result]
    while pending:
        name = pending.pop()
        if name in producers and name not in needed:
            needed.add(name)
            pending.extend(producers[name].input)
    return [node for node in nodes if needed & {*node.output}]


def _refuse_unknown(nodes: Sequence[onnx.NodeProto]) -> None:
    known = {*OPERATORS, "MatMulNBits", "Constant"}
    unknown = {node.op_type: node for node in nodes if node.op_type not in known or node.domain not in _STANDARD}
    if unknown:
        names = [named(unknown[kind]) for kind in sorted(unknown)]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise Untwinnable(f"no differentiable counterpart of {', '.join(names[:_SHOWN])}{more}")


class _Compiler:
    """Nodes of a graph in order -> the steps that depend on the input; the others are computed here and now."""

    def __init__(self, model: onnx.ModelProto, source: str, opset: int) -> None:
        self.opset = opset
        self.slots: dict[str, int] = {source: 0}
        self.constants: dict[int, Tensor] = {}
        self.nodes: list[tuple[str, Operator, Attributes, tuple[int, ...], tuple[int, ...]]] = []
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name != source}

    def add(self, node: onnx.NodeProto) -> None:
        attributes = Attributes(
            {attribute.name: attribute_value(attribute) for attribute in node.attribute}, self.opset
        )
        attributes["outputs"] = len(node.output)
        if node.op_type == "Constant":
            self._fix(node.output[0], _constant(attributes))
            return
        operator = OPERATORS.get(node.op_type)
        inputs = [self._slot(name) for name in node.input]
        if node.op_type == "MatMulNBits":
            operator, inputs = self._as_linear(attributes, inputs)
        assert operator is not None
        while inputs and inputs[-1] == -1:
            inputs.pop()
        if all(slot == -1 or slot in self.constants for slot in inputs):
            self._compute(node, operator, attributes, inputs)
            return
        outputs = tuple(self.slots.setdefault(name, len(self.slots)) if name else -1 for name in node.output)
        self.nodes.append((named(node), operator, attributes, tuple(inputs), outputs))

    def finish(self, result: str) -> Twin:
        result_slot = self._slot(result)
        last_reader = {slot: position for position, (*_, inputs, _) in enumerate(self.nodes) for slot in inputs}
        steps = []
        for position, (name, operator, attributes, inputs, outputs) in enumerate(self.nodes):
            dead = {slot for slot in inputs if last_reader[slot] == position and slot not in self.constants}
            steps.append(_Step(name, operator, attributes, inputs, outputs, tuple(dead - {-1, result_slot})))
        used = {slot for step in steps for slot in step.inputs} | {result_slot}
        constants = {slot: tensor for slot, tensor in self.constants.items() if slot in used}
        return Twin(steps, constants, len(self.slots), 0, result_slot)

    def _slot(self, name: str) -> int:
        if not name:
            return -1
        if name not in self.slots and name in self._initializers:
            self._fix(name, _tensor(self._initializers[name]))
        if name not in self.slots:
            raise Untwinnable(f"the graph reads {name!r}, which nothing computes")
        return self.slots[name]

    def _fix(self, name: str, value: Tensor) -> int:
        slot = self.slots.setdefault(name, len(self.slots))
        self.constants[slot] = value
        return slot

    def _compute(self, node: onnx.NodeProto, operator: Operator, attributes: Attributes, inputs: Sequence[int]) -> None:
        with torch.no_grad():
            try:
                computed = operator(attributes, *[self.constants.get(slot) for slot in inputs])
            except (Unsupported, RuntimeError, TypeError, KeyError, IndexError, ValueError) as error:
                raise Untwinnable(f"{named(node)} of constants cannot be computed in torch: {error}") from error
        for name, value in zip(node.output, computed if isinstance(computed, tuple) else (computed,), strict=False):
            self._fix(name, value)

    def _as_linear(self, attributes: Attributes, inputs: list[int]) -> tuple[Operator, list[int]]:
        """MatMulNBits of constants becomes a product with the float matrix that they stand for."""
        if any(slot not in self.constants for slot in inputs[1:] if slot != -1):
            raise Untwinnable("MatMulNBits with weights that are computed from the input")
        x, *packed = inputs
        try:
            weight, scales, *offsets = [self.constants.get(slot) for slot in packed[:4]]
            assert weight is not None
            assert scales is not None
            matrix = unpacked_matrix(attributes, weight, scales, *offsets)
        except Unsupported as error:
            raise Untwinnable(str(error)) from error
        slot = self._fix(f"matrix of {len(self.nodes)}", matrix)
        bias = packed[4:5]
        return (lambda a, x, weight, bias=None: nn.functional.linear(x, weight, bias)), [x, slot, *bias]


def attribute_value(attribute: AttributeProto) -> Any:
    """An attribute as Python, numpy or torch holds it.

    Args:
        attribute: of a node.

    Returns:
        A number, a text, a tensor, or a list.

    Raises:
        Untwinnable: for one that holds a graph.
    """
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TensorProto):
        return _tensor(value)
    if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
        raise Untwinnable("the graph branches or loops")
    return list(value) if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def _constant(attributes: Attributes) -> Tensor:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in attributes:
            value = attributes[name]
            return value if isinstance(value, Tensor) else torch.tensor(value)
    raise Untwinnable("a Constant that holds no numbers")


def _tensor(stored: TensorProto) -> Tensor:
    if stored.data_type not in TYPES:
        raise Untwinnable(f"a constant of type {TensorProto.DataType.Name(stored.data_type)}")
    array = onnx.numpy_helper.to_array(stored)
    if stored.data_type in (TensorProto.UINT4, TensorProto.INT4):
        array = array.astype(np.uint8 if stored.data_type == TensorProto.UINT4 else np.int8)
    if stored.data_type in (TensorProto.UINT16, TensorProto.UINT32):
        array = array.astype(np.int32 if stored.data_type == TensorProto.UINT16 else np.int64)
    if stored.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array))
