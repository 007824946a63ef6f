"""A quantized file and the float network that it was made from, their layers side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir

from edgepriv.artifact.contract import Contract, as_fed
from edgepriv.artifact.emit import INTEGER_MARK
from edgepriv.artifact.fold import fold_batch_norms
from edgepriv.artifact.foreign_graph import Weight, at_one_opset, readied, turn, weights_of
from edgepriv.artifact.layers import LayerSummary
from edgepriv.artifact.metadata import metadata_of
from edgepriv.artifact.sensitivity import Overridable, overridable
from edgepriv.artifact.session import started
from edgepriv.artifact.taps import exposed, matched, rows_of, tapped
from edgepriv.errors import UserError
from edgepriv.recipe import FULL_WIDTH

_LARGEST_RATIO = 200.0
"""Decibels of what is the same up to the rounding of float32, or entirely."""
_UNRELATED = 0.0
"""Decibels of weights below which they are no rounding of the float ones: of two networks that have nothing in common but their
architecture they are -3."""


@dataclass(frozen=True)
class Side:
    """A file and how it is read."""

    model: onnx.ModelProto
    contract: Contract
    name: str


@dataclass(frozen=True)
class Pair:
    """The layers of both files. ``own``: the float graph with batch norms folded as in the other file, whose weights can be
    replaced; ``deployed``: the other. ``taps``: weight -> the values of the layer's output in both. ``rows``: weight -> what
    the deployed file has, in the shape of the float weight; without those that cannot be read. ``summaries``: weight -> how the
    deployed file stores it; without those of which it does not say."""

    own: Overridable
    deployed: Overridable
    taps: Mapping[str, tuple[str, str]]
    rows: Mapping[str, np.ndarray]
    summaries: Mapping[str, LayerSummary]


def paired(deployed: Side, floating: Side, summaries: Sequence[LayerSummary], x: np.ndarray) -> Pair:
    """Match the layers of two files.

    Args:
        deployed: the quantized file, without a head.
        floating: the float graph, without a head.
        summaries: of the deployed file's weights.
        x: float32 [n >= 1, ...], of which one batch is fed.

    Returns:
        The layers of both.

    Raises:
        UserError: where the files are not of one network, or of two trainings.
    """
    parsed = readied(at_one_opset(floating.model))
    weights, _ = weights_of(parsed.graph)
    if not weights:
        raise UserError(f"{floating.name} has no float weights of convolutions, Linears or embeddings")
    # Batch norms are folded into a Gemm that reads its weight with one row for each output, as in the file.
    turn(parsed.graph, {name: weight for name, weight in weights.items() if weight.op == "Gemm"})
    fold_batch_norms(parsed.graph, {})
    folded = ir.to_proto(parsed)
    weights, _ = weights_of(readied(folded).graph)
    own, other = tapped(folded), tapped(deployed.model)
    feed = {
        deployed.contract.input_name: as_fed(x[: deployed.contract.fixed_batch or 1], deployed.contract.input_dtype)
    }
    floats = {name: layer for name in weights for layer in own.layers if name in layer.names}
    theirs = matched(other.layers, list(floats))
    if theirs is None:
        listed = ", ".join([*floats][:4])
        raise UserError(
            f"{deployed.name} and {floating.name} are not of one network: {len(other.layers)} layers against {len(floats)} "
            f"({listed}, ...), and their weights do not have the same names"
        )
    if len(feed[deployed.contract.input_name]) < (deployed.contract.fixed_batch or 1):
        raise UserError(f"{deployed.name} takes {deployed.contract.fixed_batch} inputs at a time: give as many")
    read = rows_of(other, feed)
    rows = {}
    for name, layer in theirs.items():
        if layer in read:
            fitted = _in_shape(read[layer], weights[name].rows)
            if fitted is None and layer.node.op_type != "MatMulNBits":
                raise UserError(
                    f"{deployed.name} and {floating.name} are not of one network: the weight of {weights[name].layer} has "
                    f"shape {list(read[layer].shape)} against {list(weights[name].rows.shape)}"
                )
            if fitted is not None:
                rows[name] = fitted
    _refuse_unrelated(deployed, floating, weights, rows)
    taps = {name: (floats[name].output, theirs[name].output) for name in floats}
    session = started(exposed(other.model, [tap for _, tap in taps.values()]).SerializeToString(), deployed.name)
    return Pair(
        overridable(folded, floating.contract, [tap for tap, _ in taps.values()]),
        Overridable(session, deployed.contract, {}),
        taps,
        rows,
        {
            name: summary
            for name, layer in theirs.items()
            for summary in _as_asked(summaries, metadata_of(deployed.model))
            if {summary.name, summary.name.replace(INTEGER_MARK, "_")} & layer.names
        },
    )


def _as_asked(summaries: Sequence[LayerSummary], metadata: Mapping[str, str]) -> list[LayerSummary]:
    """The layers with the bits that they were rounded to: the standard's own types have no 2, 3, 5, 6 or 7."""
    told = [int(bits) for bits in metadata.get("bits", "").split(",") if bits.isdigit()]
    layers = []
    for summary in summaries:
        narrower = [bits for bits in told if bits < summary.bits]
        stored_wider = summary.bits < FULL_WIDTH and summary.bits not in told and narrower
        layers.append(replace(summary, bits=max(narrower)) if stored_wider else summary)
    return layers


def _in_shape(array: np.ndarray, wanted: np.ndarray) -> np.ndarray | None:
    """The weight of a layer in the shape that the float network has it in. A convolution as a matrix product has its columns by
    tap and channel or by channel and tap: the nearer of the two is meant."""
    if array.shape == wanted.shape:
        return array
    if array.size != wanted.size or array.shape[0] != wanted.shape[0] or array.ndim != 2 or wanted.ndim < 3:
        return None
    rows, channels = wanted.shape[:2]
    by_channel = array.reshape(wanted.shape)
    by_tap = np.moveaxis(array.reshape(rows, *wanted.shape[2:], channels), -1, 1)
    return min(by_channel, by_tap, key=lambda one: float(np.square(one - wanted).sum()))


def _refuse_unrelated(
    deployed: Side, floating: Side, weights: Mapping[str, Weight], rows: Mapping[str, np.ndarray]
) -> None:
    ratios = [decibels(*powers(weights[name].rows, array)) for name, array in rows.items()]
    if ratios and np.median(ratios) < _UNRELATED:
        raise UserError(
            f"the weights of {deployed.name} are not those of {floating.name} with fewer bits: they were trained in between, "
            "or are of another training. Give the float network that the file was exported from: of a hardened model that is "
            "its checkpoint, model.pt; model.fp32.onnx is the model before hardening"
        )


def powers(signal: np.ndarray, noisy: np.ndarray) -> tuple[float, float]:
    """Of a signal and of what is different from it.

    Args:
        signal: any numbers.
        noisy: as many.

    Returns:
        The two sums of squares.
    """
    signal = signal.astype(np.float64)
    return float(np.square(signal).sum()), float(np.square(signal - noisy).sum())


def decibels(signal: float, noise: float) -> float:
    """A signal-to-noise ratio.

    Args:
        signal: power.
        noise: power.

    Returns:
        10 log10 of their ratio, within +-200.
    """
    if noise <= 0:
        return _LARGEST_RATIO
    if signal <= 0:
        return -_LARGEST_RATIO
    return float(np.clip(10 * np.log10(signal / noise), -_LARGEST_RATIO, _LARGEST_RATIO))
