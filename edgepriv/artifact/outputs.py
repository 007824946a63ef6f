"""What a file returns for some rows: every output that may be the scores of the classes, and the labels that it chose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from edgepriv.artifact.contract import Contract, Layout, Returned, Source, ask, divided_by_sum, laid_out
from edgepriv.errors import UserError

EXACT = 1e-3
"""How far rows of probabilities may be from a sum of one without being called rounded."""

Codes = Callable[[Sequence[str]], np.ndarray]
"""Names of a file's classes -> int64 [n], the true class of each row among them; UserError where they do not fit."""


@dataclass(frozen=True)
class Scores:
    """Outputs that may be the scores. ``columns``: [n, K]. ``unnormalized``: that they are in proportion to probabilities."""

    outputs: tuple[str, ...]
    layout: Layout
    columns: np.ndarray
    names: tuple[str, ...] | None = None
    order: tuple[int, ...] | None = None
    unnormalized: bool = False

    @property
    def classes(self) -> int:
        """K."""
        count: int = self.columns.shape[1]
        return count

    @property
    def returns(self) -> Returned:
        """What the numbers are."""
        if sums_to_one(self.columns, self.layout) is not None:
            return "probabilities"
        return "unnormalized" if self.unnormalized else "logits"

    def predicted(self) -> np.ndarray:
        """int64 [n]: the class of the largest score."""
        columns = self.columns
        if self.layout == "single":
            threshold = 0.5 if self.returns == "probabilities" else 0.0
            columns = np.stack([np.full(len(columns), threshold), columns[:, 1]], axis=1)
        labels: np.ndarray = (columns if self.order is None else columns[:, self.order]).argmax(axis=1)
        return labels

    def by(self, contract: Contract) -> np.ndarray:
        """The scores, as ``contract.scores_in`` has them.

        Args:
            contract: by which they are read.

        Returns:
            [n, K].
        """
        columns = self.columns
        if self.layout == "single" and contract.returns == "probabilities":
            columns = np.concatenate([1 - columns[:, 1:], columns[:, 1:]], axis=1)
        return columns if self.order is None else columns[:, self.order]

    def losses(self, codes_of: Codes) -> tuple[float, float] | None:
        """Mean cross-entropy of the true classes, by two readings.

        Args:
            codes_of: names of classes -> int64 [n], the true classes among them.

        Returns:
            Where each row is divided by its sum, and where a softmax is taken of it, in nats; None where one of the two
            cannot be, or the labels do not fit.
        """
        columns = self.columns.astype(np.float64)
        if self.layout == "single" or not np.isfinite(columns).all() or (columns < 0).any():
            return None
        try:
            truth = codes_of(self.class_names())
        except UserError:
            return None
        own = (np.arange(len(truth)), truth)
        columns = columns if self.order is None else columns[:, self.order]
        divided = np.log(np.maximum(divided_by_sum(columns)[own], np.finfo(np.float32).tiny))
        below = columns - columns.max(axis=1, keepdims=True)
        softmax = below[own] - np.log(np.exp(below).sum(axis=1))
        return float(-divided.mean()), float(-softmax.mean())

    def class_names(self) -> tuple[str, ...]:
        """The file's own, or the numbers of the columns."""
        return self.names or tuple(map(str, range(self.classes)))

    def accuracy(self, codes_of: Codes) -> float | None:
        """How often the largest score is right.

        Args:
            codes_of: names of classes -> int64 [n], the true classes among them.

        Returns:
            Share of the rows; None where the labels do not fit.
        """
        try:
            return float((self.predicted() == codes_of(self.class_names())).mean())
        except UserError:
            return None


@dataclass(frozen=True)
class ModelOutputs:
    """Everything that a file returned for some rows: what may be scores, and the labels that it chose, if it says."""

    scores: list[Scores]
    label: tuple[str, np.ndarray] | None
    shapes: dict[str, str]


def replaced_order(scores: Scores, order: tuple[int, ...] | None) -> Scores:
    """The same scores with the classes in another order.

    Args:
        scores: any.
        order: of the classes; None for their own.

    Returns:
        The scores.
    """
    return replace(scores, order=order)


def declared_classes(model: onnx.ModelProto) -> tuple[str, ...] | None:
    """The classes as the graph's own classifier operators name them (``classlabels_*``).

    Args:
        model: the graph.

    Returns:
        Their names; None without such operators, or where these disagree.
    """
    declared: list[tuple[str, ...]] = []
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name.startswith("classlabels_") or attribute.name == "cats_int64s":
                stored = [label.decode(errors="replace") for label in attribute.strings] or list(
                    map(str, attribute.ints)
                )
                declared += [tuple(stored)] if len(stored) > 1 else []
    return declared[-1] if declared and len(set(declared)) == 1 else None


def collect(
    session: ort.InferenceSession, source: Source, fed: np.ndarray, names: Sequence[str] | None
) -> ModelOutputs:
    """Run a few rows through every output of a file and sort what comes back.

    Args:
        session: of the file.
        source: its input.
        fed: [n, ...], as the file takes them.
        names: the classes by name, if they are known.

    Returns:
        The outputs that may be class scores, the labels that the file chose, if it returns them, and all shapes.
    """
    described = session.get_outputs()
    outputs = [output.name for output in described]
    answers = dict(zip(outputs, _in_batches(session, source, outputs, fed), strict=True))
    scores: list[Scores] = []
    label, singles, shapes = None, [], {}
    for output in described:
        answer = answers[output.name]
        if isinstance(answer, list):
            shapes[output.name] = "a dictionary for each row"
            columns = laid_out("maps", [answer], len(fed))
            if columns is not None and columns.shape[1] > 1:
                scores.append(Scores((output.name,), "maps", columns, tuple(str(key) for key in answer[0])))
            continue
        shapes[output.name] = f"{answer.dtype.name if answer.dtype.kind != 'O' else 'text'} {_shape(answer)}"
        flat = answer.ndim >= 1 and answer.size == len(fed) == len(answer)
        if answer.dtype.kind not in "f":
            label = (
                (output.name, answer.reshape(-1)) if label is None and flat and answer.dtype.kind in "iuOU" else label
            )
        elif flat:
            singles.append(output.name)
        else:
            columns = laid_out("matrix", [answer], len(fed))
            if columns is not None:
                scores.append(Scores((output.name,), "matrix", columns))
    if len(singles) > 1:
        columns = laid_out("parts", [answers[name] for name in singles], len(fed))
        assert columns is not None
        scores.append(Scores(tuple(singles), "parts", columns))
    elif singles:
        columns = laid_out("single", [answers[singles[0]]], len(fed))
        assert columns is not None
        scores.append(Scores((singles[0],), "single", columns))
    if label is not None:
        names = names or _names_in(label[1], scores)
    named = [
        replace(one, names=one.names or (tuple(names) if names and len(names) == one.classes else None))
        for one in scores
    ]
    return ModelOutputs(named, label, shapes)


def _shape(answer: np.ndarray) -> str:
    return "[" + ", ".join(["N", *map(str, answer.shape[1:])]) + "]"


def _in_batches(session: ort.InferenceSession, source: Source, outputs: Sequence[str], fed: np.ndarray) -> list[Any]:
    size = source.fixed_batch or min(256, max(1, 2**22 // fed[0].size))
    parts = []
    for start in range(0, len(fed), size):
        part = fed[start : start + size]
        rows = len(part)
        if source.fixed_batch and rows < size:
            part = np.concatenate([part, np.repeat(part[-1:], size - rows, axis=0)])
        answers = ask(session, outputs, source.name, part)
        parts.append([answer[:rows] if isinstance(answer, list) or np.ndim(answer) else answer for answer in answers])
    return [_joined(column) for column in zip(*parts, strict=True)]


def _joined(column: Sequence[Any]) -> Any:
    if isinstance(column[0], list):
        return [row for part in column for row in part]
    return np.concatenate(column) if np.ndim(column[0]) else column[0]


def _names_in(labels: np.ndarray, scores: Sequence[Scores]) -> tuple[str, ...] | None:
    """The names that a label output uses, where as many different ones were seen as there are columns."""
    seen = sorted({str(label) for label in labels.tolist()}, key=_numbers_first)
    return tuple(seen) if any(len(seen) == one.classes for one in scores) else None


def _numbers_first(name: str) -> tuple[bool, int, str]:
    number = name.lstrip("-").isdigit()
    return not number, int(name) if number else 0, name


def sums_to_one(columns: np.ndarray, layout: Layout) -> float | None:
    """How far rows are from a sum of one, at most.

    Args:
        columns: [n, K].
        layout: of the outputs.

    Returns:
        The difference; None where they are no probabilities.
    """
    if not (np.isfinite(columns).all() and (columns >= 0).all() and (columns <= 1 + EXACT).all()):
        return None
    if layout == "single":
        return 0.0
    off = float(np.abs(columns.sum(axis=1, dtype=np.float64) - 1).max())
    # Each probability rounded to a step of 1/255 is off by half of one at most.
    return off if off <= max(EXACT, min(0.25, columns.shape[1] / 500)) else None
