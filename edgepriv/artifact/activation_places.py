"""Where training must round activations so that the network computes what the file on fixed grids will compute.

The plan of the file is made before training. Each value that it quantizes is looked up among the calls of torch's functions by
its numbers, on random inputs: the first call behind the one that made its inputs which gives the same.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.func import functional_call

from edgepriv.artifact.blocks import simplest
from edgepriv.artifact.calibration import behind_weights, showing
from edgepriv.artifact.fold import drop_zero_biases, fold_batch_norms
from edgepriv.artifact.integer_plan import KEEPING, Plan, Product, plan_integers
from edgepriv.artifact.session import open_session
from edgepriv.artifact.trace import graph_names, trace
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.models.rounded_activations import Counting, Kind, exact_activations
from edgepriv.recipe import Recipe
from edgepriv.training.quantization import QuantizedTensor, quantize_weights

_ROWS = 3
_ALIKE = 1e-3
"""Largest difference of equal values, as a share of the largest number: two ways of summing the same."""
_HARD = {"HardSigmoid": ("hardsigmoid", Kind.HARD_SIGMOID), "HardSwish": ("hardswish", Kind.HARD_SWISH)}
_INSTEAD = "leave out --qat-activations; --compute int8-static finds ranges after training, too"


def activation_places(classifier: Classifier, recipe: Recipe, input_shape: tuple[int, ...]) -> Tensor:
    """The places of a network: those of ``Plan.ranged``, of ``Plan.entering``, and of hard sigmoids, in the plan's order.

    Args:
        classifier: with float weights; left as it is.
        recipe: with the bits of each layer.
        input_shape: of one example.

    Returns:
        int64 [P, 2] as ``rounded_activations.attach`` takes them.

    Raises:
        UserError: where nothing would compute on integers, or torch does not show what is to be rounded.
    """
    with exact_activations(classifier.network), torch.random.fork_rng(devices=[]):
        weights = quantize_weights(classifier.network, recipe.quantize)
        model = trace(classifier, input_shape)
        names = graph_names(classifier)
        drop_zero_biases(model.graph)
        folded = fold_batch_norms(model.graph, {names[name]: simplest(own) for name, own in weights.items()})
        plan = plan_integers(model.graph, folded, trained=True)
        if not plan.products:
            reasons = "; ".join(f"{name}: {why}" for name, why in list(plan.left_float.items())[:3])
            raise UserError(f"--qat-activations: no layer of this network would compute on integers ({reasons})")
        torch.manual_seed(0)
        x = torch.rand(_ROWS, *input_shape)
        calls = _calls(classifier, {name: (names[name], own) for name, own in weights.items()}, x)
        nodes = [*(product.node for product in plan.products), *plan.computed]
        outputs = dict.fromkeys(value for node in nodes for value in (node.outputs[0], plan.coded(node.outputs[0])))
        shown = [value.name for value in outputs if value.name is not None]
        session = open_session(showing(model, folded, shown))
        numbers = session.run(shown, {session.get_inputs()[0].name: x.numpy()})
        search = _Search(model.graph, plan, calls, dict(zip(shown, numbers, strict=True)))
        return torch.tensor(list(search.places(lambda value: not behind_weights(value, folded))))


@dataclass(eq=False)
class _Call:
    """``weight``: name of the quantized weight that it is given; None without one."""

    name: str
    weight: str | None
    result: np.ndarray


class _Listening(Counting):
    def __init__(self, weights: Mapping[int, str]) -> None:
        super().__init__()
        self.weights, self.calls = weights, list[_Call]()

    def after(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> Tensor:
        given = (self.weights.get(id(each)) for each in (*args, *kwargs.values()))
        weight = next((name for name in given if name is not None), None)
        # In-place operations change what was returned before.
        self.calls.append(_Call(func.__name__, weight, result.detach().clone().numpy().ravel()))
        return result


def _calls(classifier: Classifier, weights: Mapping[str, tuple[str, QuantizedTensor]], x: Tensor) -> list[_Call]:
    """The calls of a forward in eval mode, which must be those of one in train mode. ``weights``: by parameter, with the name
    in the graph."""
    network, inputs = classifier.network, classifier.normalised(x)
    replaced = {name: torch.from_numpy(own.dequantize()) for name, (_, own) in weights.items()}
    heard: dict[bool, list[_Call]] = {}
    mode = classifier.training
    for training in (True, False):
        classifier.train(training)
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        listening = _Listening({id(value): weights[name][0] for name, value in replaced.items()})
        with listening, torch.no_grad():
            functional_call(network, replaced | buffers, (inputs,))
        heard[training] = listening.calls
    classifier.train(mode)
    if [call.name for call in heard[True]] != [call.name for call in heard[False]]:
        raise UserError(f"--qat-activations: this network computes otherwise in training than afterwards: {_INSTEAD}")
    return heard[False]


class _Search:
    """Finds the calls that make what a plan quantizes. ``shown``: numbers of the graph's values, by name."""

    def __init__(self, graph: ir.Graph, plan: Plan, calls: list[_Call], shown: Mapping[str, np.ndarray]) -> None:
        self.plan, self.calls, self.shown = plan, calls, shown
        self.at: dict[ir.Value, int] = {}
        self.multiplied: dict[ir.Node, int] = {}
        products = {product.node: product for product in plan.products}
        computed = set(plan.computed)
        for node in graph:
            if node in products:
                self._multiplied(products[node])
            elif node in computed:
                made = [self.at[read] for read in node.inputs if read is not None and read in self.at]
                self._made(node, max(made, default=-1) + 1)

    def places(self, bounded: Callable[[ir.Value], bool]) -> Iterator[tuple[int, Kind]]:
        """(call, kind) of each of ``ranged``, then of the hard sigmoids. ``bounded``: whether an entry is made of the input
        alone."""
        for value in self.plan.ranged:
            read = [use.node.op_type for use in value.uses()]
            alone = bool(read) and all(name == "HardSwish" for name in read)
            yield self._call_of(value), Kind.OUTPUT_FOR_HARD_SWISH if alone else Kind.OUTPUT
        for product in self.plan.entering:
            yield self.multiplied[product.node], Kind.BOUNDED_INPUT if bounded(product.x) else Kind.INPUT
        for node in self.plan.computed:
            if node.op_type in _HARD:
                number = self._call_of(node.outputs[0])
                name, kind = _HARD[node.op_type]
                if self.calls[number].name != name or ("alpha" in node.attributes and not _usual(node)):
                    raise UserError(
                        f"--qat-activations: torch computes a {node.op_type} here in its own way: {_INSTEAD}"
                    )
                yield number, kind

    def _multiplied(self, product: Product) -> None:
        taken = {*self.multiplied.values()}
        name = product.weight.name
        number = next((n for n, call in enumerate(self.calls) if call.weight == name and n not in taken), None)
        if number is None:
            raise UserError(f"--qat-activations: torch multiplies by {name} inside a larger call: {_INSTEAD}")
        self.multiplied[product.node] = number
        self._made(product.node, number)

    def _made(self, node: ir.Node, start: int) -> None:
        """Find the output of a node from a call on; and what cuts it off behind it, which may be the same numbers again."""
        output = node.outputs[0]
        cut = self.plan.coded(output)
        number = self._first(output, start)
        if number is None and node.op_type in KEEPING:
            number = start - 1
        if number is not None:
            self.at[output] = number
        if cut is not output:
            later = self._first(cut, start if number is None else number + 1)
            if later is not None:
                self.at[cut] = later

    def _first(self, value: ir.Value, start: int) -> int | None:
        assert value.name is not None
        wanted = self.shown[value.name].ravel()
        near = _ALIKE * max(float(np.abs(wanted).max(initial=0)), 1e-12)
        for number in range(start, len(self.calls)):
            result = self.calls[number].result
            if result.size == wanted.size and float(np.abs(result - wanted).max(initial=0)) <= near:
                return number
        return None

    def _call_of(self, value: ir.Value) -> int:
        if value not in self.at:
            producer = value.producer()
            operator = "" if producer is None else f" ({producer.op_type})"
            raise UserError(
                f"--qat-activations: torch computes what is rounded behind {value.name}{operator} inside a larger call: "
                f"{_INSTEAD}"
            )
        return self.at[value]


def _usual(node: ir.Node) -> bool:
    slope, offset = (
        node.attributes[name].as_float() if name in node.attributes else None for name in ("alpha", "beta")
    )
    return slope is not None and abs(slope - 1 / 6) < 1e-6 and offset in (None, 0.5)
