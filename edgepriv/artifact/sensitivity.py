"""What each layer of a float model loses at each width, one layer at a time."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import torch
from torch import nn

from edgepriv import progress
from edgepriv.artifact.contract import Contract, as_fed, as_probabilities, scores_in
from edgepriv.artifact.foreign_graph import Weight, at_one_opset, readied, weights_of
from edgepriv.artifact.parity import torch_logits
from edgepriv.artifact.session import started
from edgepriv.paired import loss
from edgepriv.recipe import Quantize
from edgepriv.training.quantization import quantized_tensor, widths

SECONDS = 30.0
"""What the table may take unless it is said."""
MOST, FEWEST = 200, 4
"""Inputs that each cell is measured on; fewer where all cells would take longer."""
_ROWS = 32
_TINY = 1e-12


@dataclass(frozen=True)
class Overridable:
    """A float graph whose weights can be replaced in each run. ``weights``: by name."""

    session: ort.InferenceSession
    contract: Contract
    weights: Mapping[str, Weight]

    def probabilities(self, x: np.ndarray, replaced: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """Answers with other numbers in some weights.

        Args:
            x: float32 [n, ...], as ``predict`` takes them.
            replaced: rows of weights by name.

        Returns:
            float64 [n, K].
        """
        return np.concatenate([answers for answers, _ in self.runs(x, replaced)])

    def runs(
        self,
        x: np.ndarray,
        replaced: Mapping[str, np.ndarray] | None = None,
        also: Sequence[str] = (),
        rows: int | None = None,
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Answers with other numbers in some weights, and other values of the graph, a batch at a time.

        Args:
            x: float32 [n, ...], as ``predict`` takes them.
            replaced: rows of weights by name.
            also: names of values that the session returns.
            rows: in a batch, of a graph that leaves it open; None for a few.

        Yields:
            Probabilities float64 [batch, K], and the values.
        """
        others = {
            name: np.ascontiguousarray(array.T if self.weights[name].turned else array)
            for name, array in (replaced or {}).items()
        }
        size = self.contract.fixed_batch or rows or _ROWS
        scored = len(self.contract.outputs)
        for start in range(0, len(x), size):
            part = x[start : start + size]
            count = len(part)
            if self.contract.fixed_batch and count < size:
                part = np.concatenate([part, np.repeat(part[-1:], size - count, axis=0)])
            fed = {self.contract.input_name: as_fed(part, self.contract.input_dtype)}
            answers = self.session.run([*self.contract.outputs, *also], fed | others)
            scores = scores_in(self.contract, [answer[:count] for answer in answers[:scored]], count)
            yield as_probabilities(self.contract, scores).astype(np.float64), answers[scored:]


def overridable(model: onnx.ModelProto, contract: Contract, also: Sequence[str] = ()) -> Overridable:
    """A session of a float graph whose weights can be replaced in each run.

    Args:
        model: the float graph; left as it is.
        contract: how it is read.
        also: names of values in it that the session returns too, when it is asked for them.

    Returns:
        The session with its weights.
    """
    parsed = readied(at_one_opset(model))
    weights, _ = weights_of(parsed.graph)
    proto = ir.to_proto(parsed)
    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            proto.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    present = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(also) if name not in present)
    return Overridable(started(proto.SerializeToString(), "the model"), contract, weights)


def divergence(expected: np.ndarray, actual: np.ndarray) -> float:
    """How far answers have moved: the mean of the Kullback-Leibler divergence of each row, in nats.

    Args:
        expected: probabilities [n, K].
        actual: the same, of the changed model.

    Returns:
        0 where nothing has changed.
    """
    p, q = expected.astype(np.float64), np.maximum(actual.astype(np.float64), _TINY)
    return float(np.maximum(np.sum(p * (np.log(np.maximum(p, _TINY)) - np.log(q)), axis=1), 0).mean())


class Replaceable(Protocol):
    """A float model whose weights can be replaced in each run. ``weights``: by name."""

    @property
    def weights(self) -> Mapping[str, Weight]:
        """Those that can be rounded, output channels first."""

    def probabilities(self, x: np.ndarray, replaced: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """Answers with other numbers in some weights.

        Args:
            x: float32 [n, ...], as the model takes them.
            replaced: rows of weights by name.

        Returns:
            float64 [n, K].
        """


@dataclass(frozen=True)
class Network:
    """The same of a network in torch. ``classifier``: in eval mode, with its float weights."""

    classifier: nn.Module
    weights: Mapping[str, Weight]

    def probabilities(self, x: np.ndarray, replaced: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """Answers with other numbers in some weights.

        Args:
            x: float32 [n, ...] in [0, 1].
            replaced: rows of weights by name.

        Returns:
            float64 [n, K].
        """
        answers: np.ndarray = torch_logits(self.classifier, {}, x, replaced or {}).softmax(1).double().numpy()
        return answers


def of_network(classifier: nn.Module, network: nn.Module) -> Network:
    """A network whose weights can be replaced in each run.

    Args:
        classifier: the network behind its normalisation.
        network: the network itself, whose layers a rule of bits names.

    Returns:
        The classifier with the weights that such a rule could quantize.
    """
    parameters, modules = dict(network.named_parameters()), dict(network.named_modules())
    weights = {}
    for name in widths(network, Quantize(bits=8)):
        layer = name.rpartition(".")[0]
        weights[name] = Weight(
            name, parameters[name].detach().float().cpu().numpy(), False, type(modules[layer]).__name__, layer
        )
    return Network(classifier, weights)


def affordable_inputs(own: Replaceable, x: np.ndarray, cells: int, most: int = MOST, seconds: float = SECONDS) -> int:
    """How many inputs a model can be run on so often in the time that there is.

    Args:
        own: the model.
        x: float32 [n >= 1, ...].
        cells: how often.
        most: inputs, at most.
        seconds: that all may take.

    Returns:
        From ``FEWEST``, or all there are, up to ``most``.
    """
    few = min(len(x), FEWEST if most <= MOST else _ROWS)
    own.probabilities(x[:FEWEST])  # the first call prepares the model
    started_at = time.monotonic()
    own.probabilities(x[:few])
    per_input = (time.monotonic() - started_at) / few
    if len(x) <= FEWEST:
        return len(x)
    return int(np.clip(seconds / max(1, cells) / max(per_input, 1e-9), FEWEST, min(len(x), most)))


def sensitivity(
    own: Replaceable,
    x: np.ndarray,
    y: np.ndarray | None,
    rule: Quantize,
    widths: Sequence[int],
    *,
    groups: np.ndarray | None = None,
    most: int = MOST,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """What each layer loses at each width, the others at full width.

    Args:
        own: the float model.
        x: float32 [n, ...], as it takes them.
        y: int64 [n], the true classes; None where they are not known.
        rule: quantizer and granularity.
        widths: in bits.
        groups: int64 [n], whose records they are; None where each is by itself.
        most: inputs that each cell is measured on, if there is time for as many.
        seconds: what the table may take.

    Returns:
        ``n`` inputs, ``widths``, ``rows``: for each layer its ``name``, ``op``, ``parameters``, ``divergence`` in nats,
        ``points`` of accuracy lost by width and their ``ci`` (both None without classes), the layer that loses most at the
        narrowest width first; ``skipped``: layers for which there was no time.
    """
    n = affordable_inputs(own, x, len(own.weights) * len(widths), most, seconds)
    x = x[:n]
    y, groups = (None if part is None else part[:n] for part in (y, groups))
    expected = own.probabilities(x)
    begun, rows, skipped = time.monotonic(), [], []
    for name, weight in progress.each(
        own.weights.items(), "sensitivity", unit="layer", total=len(own.weights), delay=3
    ):
        if time.monotonic() - begun > 2 * seconds:
            skipped.append(weight.layer)
            continue
        row: dict[str, Any] = {"name": weight.layer, "op": weight.op, "parameters": weight.rows.size}
        apart, points, intervals = {}, {}, {}
        for bits in widths:
            rounded = quantized_tensor(torch.tensor(weight.rows), bits, rule).dequantize()
            actual = own.probabilities(x, {name: rounded})
            apart[str(bits)] = divergence(expected, actual)
            if y is not None:
                lost = loss(expected.argmax(1) == y, actual.argmax(1) == y, groups)
                points[str(bits)], intervals[str(bits)] = lost["points"], lost["ci"]
        rows.append(row | {"divergence": apart, "points": points or None, "ci": intervals or None})
    rows.sort(key=lambda row: -row["divergence"][str(min(widths))])
    return {"n": n, "widths": list(widths), "rows": rows, "skipped": skipped}
