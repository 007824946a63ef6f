"""Where a quantized file loses against its float network: noise and cost of each layer, and which to give more bits first."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from edgepriv import progress
from edgepriv.artifact.foreign_graph import Weight
from edgepriv.artifact.layer_pairs import Pair, Side, decibels, paired, powers
from edgepriv.artifact.layers import LayerSummary
from edgepriv.artifact.sensitivity import MOST, affordable_inputs, divergence
from edgepriv.data.groups import halved
from edgepriv.paired import loss
from edgepriv.recipe import FULL_WIDTH, Quantize
from edgepriv.training.quantization import quantized_tensor

WIDENED = 3
"""Layers that are proposed."""
_WIDER = {2: 4, 3: 6, 4: 8, 5: 8, 6: 8, 7: 8}
_MORE_THAN_ROUNDING = 6.0
"""Decibels; quantizers that clip differ by less."""
_FEW_ROWS = 16
"""Examples at a time: every layer's output is in memory."""


class Truth(NamedTuple):
    """``y``: int64 [n], the true classes; ``groups``: int64 [n], whose records they are, None where each is by itself."""

    y: np.ndarray
    groups: np.ndarray | None

    def take(self, index: np.ndarray) -> "Truth":
        """Of some of the inputs.

        Args:
            index: int64 [m].

        Returns:
            The same of these.
        """
        return Truth(self.y[index], None if self.groups is None else self.groups[index])


class Halves(NamedTuple):
    """``choosing``: int64, places of the inputs by which layers are chosen; ``telling``: of those on which it is told what more
    bits for these bring."""

    choosing: np.ndarray
    telling: np.ndarray

    @property
    def same(self) -> bool:
        """Whether both are all inputs."""
        return len(np.intersect1d(self.choosing, self.telling)) > 0


def diagnosed(
    deployed: Side,
    floating: Side,
    summaries: Sequence[LayerSummary],
    x: np.ndarray,
    y: np.ndarray | None,
    groups: np.ndarray | None = None,
) -> dict[str, Any]:
    """Compare a quantized file with the float network that it was made from, layer by layer.

    Args:
        deployed: the quantized file, without a head.
        floating: the float graph, without a head.
        summaries: of the deployed file's weights.
        x: float32 [n >= 1, ...], as ``predict`` takes them.
        y: int64 [n], the true classes; None where they are not known.
        groups: int64 [n], whose records they are; None where each is by itself.

    Returns:
        JSON-ready: ``n`` inputs; of the whole file ``accuracy``: ``float``, ``deployed`` (None without classes),
        ``same_label``,
        ``divergence`` in nats, ``points`` of accuracy lost and their ``ci`` (None without classes); ``layers`` in the order of
        the graph, each with ``name``, ``op``, ``bits``, ``parameters``, ``snr_db`` of its output in the deployed file,
        ``own_snr_db`` with its weights alone quantized, and what these alone cost: ``divergence``, ``points``, ``ci``,
        ``same_label``; ``widen``: the ``layers`` to give more bits first, chosen by one half of the inputs (``chosen_on``), and
        what that brings, ``before`` and ``after``, on the other (``told_on``; ``others``: False where
        these are the same, as inputs are too few); ``notes``.

    Raises:
        UserError: where the files are not of one network.
    """
    pair = paired(deployed, floating, summaries, x)
    n = affordable_inputs(pair.own, x, 2 * len(pair.taps) + 4, 5 * MOST)
    x = x[:n]
    truth = None if y is None else Truth(y[:n], None if groups is None else groups[:n])
    expected, actual, ratios = _accumulated(pair, x)
    halves = _halved(n, None if groups is None else groups[:n])
    by: dict[str, float] = {}
    rows = [
        _row(pair, name, x, truth, expected, halves, by) | {"snr_db": ratios[name]}
        for name in progress.each(pair.taps, "layers", unit="layer", total=len(pair.taps), delay=3)
    ]
    lost = _lost(expected, actual, truth)
    notes = _notes(pair, rows, truth, halves)
    return {
        "n": n,
        "accuracy": None
        if truth is None
        else {"float": _right(expected, truth.y), "deployed": _right(actual, truth.y)},
        **lost,
        "same_label": _agreement(expected, actual),
        "layers": rows,
        "widen": _widen(pair, rows, by, x, truth, expected, halves),
        "notes": notes,
    }


def _accumulated(pair: Pair, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float | None]]:
    """Answers of both files, and each layer's signal-to-noise ratio in the deployed one."""
    rows = pair.deployed.contract.fixed_batch or pair.own.contract.fixed_batch or _FEW_ROWS
    names = list(pair.taps)
    totals: dict[str, list[float] | None] = {name: [0.0, 0.0] for name in names}
    sides = (
        pair.own.runs(x, None, [pair.taps[name][0] for name in names], rows),
        pair.deployed.runs(x, None, [pair.taps[name][1] for name in names], rows),
    )
    expected, actual = [], []
    for (floats, signals), (answers, noisy) in zip(*sides, strict=True):
        expected.append(floats)
        actual.append(answers)
        for name, signal, other in zip(names, signals, noisy, strict=True):
            total = totals[name]
            if total is None or signal.shape != other.shape:
                totals[name] = None
                continue
            for place, power in enumerate(powers(signal, other)):
                total[place] += power
    ratios = {name: None if total is None else decibels(*total) for name, total in totals.items()}
    return np.concatenate(expected), np.concatenate(actual), ratios


def _halved(n: int, groups: np.ndarray | None) -> Halves:
    """Both are all inputs where these are too few to be halved."""
    everything = np.arange(n)
    choosing = np.sort(halved(groups, everything, np.random.default_rng(17)))
    telling = np.setdiff1d(everything, choosing)
    return Halves(choosing, telling) if len(choosing) and len(telling) else Halves(everything, everything)


def _row(
    pair: Pair,
    name: str,
    x: np.ndarray,
    truth: Truth | None,
    expected: np.ndarray,
    halves: Halves,
    by: dict[str, float],
) -> dict[str, Any]:
    """What one layer's weights cost, all others at full width; into ``by`` what they cost the inputs that choose."""
    weight, summary = pair.own.weights[name], pair.summaries.get(name)
    row: dict[str, Any] = {
        "name": weight.layer,
        "op": weight.op,
        "bits": summary.bits if summary is not None else None,
        "parameters": weight.rows.size,
        "own_snr_db": None,
        "divergence": None,
        "points": None,
        "ci": None,
        "same_label": None,
        "trained": False,
    }
    if name not in pair.rows:
        return row
    replaced, tap = {name: pair.rows[name]}, [pair.taps[name][0]]
    signal = noise = 0.0
    answers = []
    for (_, [float_output]), (alone, [output]) in zip(
        pair.own.runs(x, None, tap), pair.own.runs(x, replaced, tap), strict=True
    ):
        more = powers(float_output, output)
        signal, noise = signal + more[0], noise + more[1]
        answers.append(alone)
    actual = np.concatenate(answers)
    by[weight.layer] = divergence(expected[halves.choosing], actual[halves.choosing])
    return row | {
        "own_snr_db": decibels(signal, noise),
        **_lost(expected, actual, truth),
        "same_label": _agreement(expected, actual),
        "trained": _is_trained(weight, pair.rows[name], summary),
    }


def _widen(
    pair: Pair,
    rows: Sequence[Mapping[str, Any]],
    by: Mapping[str, float],
    x: np.ndarray,
    truth: Truth | None,
    expected: np.ndarray,
    halves: Halves,
) -> dict[str, Any] | None:
    """The layers whose weights cost most on one half of the inputs, and what more bits for them would bring the other half,
    with float activations. On the half that chose them it would look like more."""
    names = {weight.layer: name for name, weight in pair.own.weights.items()}
    known = {row["name"]: row["bits"] for row in rows if row["bits"] is not None}
    narrow = [row for row in rows if row["name"] in by and known.get(row["name"], FULL_WIDTH) < FULL_WIDTH]
    if not narrow:
        return None
    worst = sorted(narrow, key=lambda row: -by[row["name"]])[:WIDENED]
    wider = {row["name"]: _WIDER.get(row["bits"], 16 if row["bits"] < 16 else FULL_WIDTH) for row in worst}
    replaced = dict(pair.rows)
    for layer, bits in wider.items():
        floats = pair.own.weights[names[layer]].rows
        replaced[names[layer]] = _rounded(floats, bits, pair.summaries[names[layer]])
    x, expected = x[halves.telling], expected[halves.telling]
    truth = None if truth is None else truth.take(halves.telling)
    before = _lost(expected, pair.own.probabilities(x, pair.rows), truth)
    after = _lost(expected, pair.own.probabilities(x, replaced), truth)
    return {
        "layers": [{"name": row["name"], "bits": row["bits"], "to": wider[row["name"]]} for row in worst],
        "option": f"--bits '{option_of(known, wider)}'",
        "chosen_on": len(halves.choosing),
        "told_on": len(halves.telling),
        "others": not halves.same,
        "before": before,
        "after": after,
    }


def option_of(bits: Mapping[str, int], wider: Mapping[str, int]) -> str:
    """The rules that give some layers of a file more bits, and leave the others as they are.

    Args:
        bits: of every layer, by name.
        wider: new bits of some.

    Returns:
        What ``--bits`` takes.
    """
    usual, _ = (
        Counter(width for name, width in bits.items() if name not in wider).most_common(1)[0]
        if len(bits) > len(wider)
        else (next(iter(wider.values())), 0)
    )
    others = {name: width for name, width in bits.items() if name not in wider and width != usual}
    rules = [f"{_pattern(name)}={width}" for name, width in {**wider, **others}.items()]
    return ",".join([*rules, f"*={usual}"])


def _pattern(name: str) -> str:
    """A name as the rules match it: what means something to them stands for any character."""
    return re.sub(r"[\[\]*,='\s]", "?", name)


def _notes(pair: Pair, rows: Sequence[Mapping[str, Any]], truth: Truth | None, halves: Halves) -> list[str]:
    notes = []
    if halves.same:
        notes.append(
            "the inputs are too few to choose layers by one half of them and to tell of the other: both are of all, which "
            "flatters the bits that are proposed"
        )
    if truth is None:
        notes.append(
            "the examples have no labels: what is measured is how often the float network's label is kept, not accuracy"
        )
    unread = [row["name"] for row in rows if row["own_snr_db"] is None]
    if unread:
        notes.append(f"the weights of {', '.join(unread)} cannot be read from this layout: they are not measured alone")
    elsewhere = [row["name"] for row in rows if row["snr_db"] is None]
    if elsewhere:
        notes.append(
            f"the output of {', '.join(elsewhere)} is laid out otherwise than in the float file: it is not compared"
        )
    trained = [row["name"] for row in rows if row["trained"]]
    if trained:
        notes.append(
            f"the weights of {', '.join(trained[:6])}{', ...' if len(trained) > 6 else ''} differ from the float ones by more "
            "than rounding: the file was trained in between, and that is in the figures; the checkpoint that it was exported "
            "from shows rounding alone"
        )
    return notes


def _rounded(rows: np.ndarray, bits: int, summary: LayerSummary) -> np.ndarray:
    if bits > 16:
        return rows
    rule = Quantize(bits=bits, granularity="tensor" if summary.granularity == "tensor" else "channel")
    return quantized_tensor(torch.tensor(rows), bits, rule).dequantize()


def _is_trained(weight: Weight, deployed: np.ndarray, summary: LayerSummary | None) -> bool:
    """Whether a weight is further from the float one than rounding it takes."""
    if summary is None or summary.bits > 16:
        return False
    rounded = decibels(*powers(weight.rows, _rounded(weight.rows, summary.bits, summary)))
    return rounded - decibels(*powers(weight.rows, deployed)) > _MORE_THAN_ROUNDING


def _lost(expected: np.ndarray, actual: np.ndarray, truth: Truth | None) -> dict[str, Any]:
    """``divergence`` in nats; ``points`` of accuracy lost and their ``ci``, None without classes."""
    lost: dict[str, Any] = {"points": None, "ci": None}
    if truth is not None:
        lost = loss(expected.argmax(1) == truth.y, actual.argmax(1) == truth.y, truth.groups)
    return {"divergence": divergence(expected, actual), "points": lost["points"], "ci": lost["ci"]}


def _agreement(expected: np.ndarray, actual: np.ndarray) -> float:
    return float(np.mean(expected.argmax(1) == actual.argmax(1)))


def _right(answers: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(answers.argmax(1) == y))
