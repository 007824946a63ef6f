"""What each layer of a float graph loses at each width, one layer at a time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import torch

from edgepriv import progress
from edgepriv.artifact.contract import Contract, as_fed, as_probabilities, scores_in
from edgepriv.artifact.foreign_graph import Weight, at_one_opset, readied, weights_of
from edgepriv.artifact.session import started
from edgepriv.recipe import Quantize
from edgepriv.training.quantization import quantized_tensor

SECONDS = 30.0
"""What the table may take."""
MOST, FEWEST = 200, 4
"""Inputs that each cell is measured on; fewer where all cells would take longer than ``SECONDS``."""
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
        others = {
            name: np.ascontiguousarray(rows.T if self.weights[name].turned else rows)
            for name, rows in (replaced or {}).items()
        }
        size = self.contract.fixed_batch or 32
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            count = len(part)
            if self.contract.fixed_batch and count < size:
                part = np.concatenate([part, np.repeat(part[-1:], size - count, axis=0)])
            fed = {self.contract.input_name: as_fed(part, self.contract.input_dtype)}
            answers = self.session.run(list(self.contract.outputs), fed | others)
            parts.append(scores_in(self.contract, [answer[:count] for answer in answers], count))
        return as_probabilities(self.contract, np.concatenate(parts)).astype(np.float64)


def overridable(model: onnx.ModelProto, contract: Contract) -> Overridable:
    """A session of a float graph whose weights can be replaced in each run.

    Args:
        model: the float graph; left as it is.
        contract: how it is read.

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


def sensitivity(
    model: onnx.ModelProto,
    contract: Contract,
    x: np.ndarray,
    y: np.ndarray | None,
    rule: Quantize,
    widths: Sequence[int],
) -> dict[str, Any]:
    """What each layer loses at each width, the others at full width.

    Args:
        model: the float graph.
        contract: how it is read.
        x: float32 [n, ...], as ``predict`` takes them.
        y: int64 [n], the true classes; None where they are not known.
        rule: quantizer and granularity.
        widths: in bits.

    Returns:
        ``n`` inputs, ``widths``, ``rows``: for each layer its ``name``, ``op``, ``parameters``, ``divergence`` in nats and
        ``points`` of accuracy lost by width (None without classes), the layer that loses most at the narrowest width first;
        ``skipped``: layers for which there was no time.
    """
    own = overridable(model, contract)
    started_at = time.monotonic()
    own.probabilities(x[: min(len(x), FEWEST)])
    per_input = (time.monotonic() - started_at) / min(len(x), FEWEST)
    cells = max(1, len(own.weights) * len(widths))
    n = int(np.clip(SECONDS / cells / max(per_input, 1e-9), FEWEST, min(len(x), MOST))) if len(x) > FEWEST else len(x)
    x, y = x[:n], None if y is None else y[:n]
    expected = own.probabilities(x)
    begun, rows, skipped = time.monotonic(), [], []
    for name, weight in progress.each(
        own.weights.items(), "sensitivity", unit="layer", total=len(own.weights), delay=3
    ):
        if time.monotonic() - begun > 2 * SECONDS:
            skipped.append(weight.layer)
            continue
        row: dict[str, Any] = {"name": weight.layer, "op": weight.op, "parameters": weight.rows.size}
        apart, points = {}, {}
        for bits in widths:
            rounded = quantized_tensor(torch.tensor(weight.rows), bits, rule).dequantize()
            actual = own.probabilities(x, {name: rounded})
            apart[str(bits)] = divergence(expected, actual)
            if y is not None:
                lost = np.mean(expected.argmax(1) == y) - np.mean(actual.argmax(1) == y)
                points[str(bits)] = float(100 * lost)
        rows.append(row | {"divergence": apart, "points": points or None})
    rows.sort(key=lambda row: -row["divergence"][str(min(widths))])
    return {"n": n, "widths": list(widths), "rows": rows, "skipped": skipped}
