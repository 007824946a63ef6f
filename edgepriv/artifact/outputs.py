"""Which of a file's outputs are the scores of the classes: decided by what they hold on real rows, not by their order.

An embedding may stand before the logits, a label beside the probabilities, and the columns of a support vector machine's
scores in reverse. The file's own label output and the true labels of the rows tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from edgepriv.artifact.contract import Contract, Form, Layout, Source, ask, laid_out
from edgepriv.errors import UserError

AGREEING = 0.99
"""Share of the rows on which scores must give the file's own label; ties and rounding account for the rest."""
EXACT = 1e-3
"""How far rows of probabilities may be from a sum of one without being called rounded."""

Codes = Callable[[Sequence[str]], np.ndarray]
"""Names of a file's classes -> int64 [n], the true class of each row among them; UserError where they do not fit."""


@dataclass(frozen=True)
class Scores:
    """Outputs that may be the scores. ``columns``: [n, K]."""

    outputs: tuple[str, ...]
    layout: Layout
    columns: np.ndarray
    names: tuple[str, ...] | None = None
    order: tuple[int, ...] | None = None

    @property
    def classes(self) -> int:
        """K."""
        return self.columns.shape[1]

    @property
    def returns(self) -> Form:
        """What the numbers are."""
        return "probabilities" if _sums_to_one(self.columns, self.layout) is not None else "logits"

    def predicted(self) -> np.ndarray:
        """int64 [n]: the class of the largest score."""
        columns = self.columns
        if self.layout == "single":
            threshold = 0.5 if self.returns == "probabilities" else 0.0
            columns = np.stack([np.full(len(columns), threshold), columns[:, 1]], axis=1)
        return (columns if self.order is None else columns[:, self.order]).argmax(axis=1)

    def by(self, contract: Contract) -> np.ndarray:
        """The scores [n, K], as ``contract.scores_in`` has them."""
        columns = self.columns
        if self.layout == "single" and contract.returns == "probabilities":
            columns = np.concatenate([1 - columns[:, 1:], columns[:, 1:]], axis=1)
        return columns if self.order is None else columns[:, self.order]

    def class_names(self) -> tuple[str, ...]:
        """The file's own, or the numbers of the columns."""
        return self.names or tuple(map(str, range(self.classes)))

    def accuracy(self, codes_of: Codes) -> float | None:
        """On the rows; None where the labels do not fit."""
        try:
            return float((self.predicted() == codes_of(self.class_names())).mean())
        except UserError:
            return None


@dataclass(frozen=True)
class Found:
    """Everything that a file returned for some rows: what may be scores, and the labels that it chose, if it says."""

    scores: list[Scores]
    label: tuple[str, np.ndarray] | None
    shapes: dict[str, str]


def replaced_order(scores: Scores, order: tuple[int, ...] | None) -> Scores:
    """The same scores with the classes in another order."""
    return replace(scores, order=order)


def declared_classes(model: onnx.ModelProto) -> tuple[str, ...] | None:
    """The classes as the graph's own classifier operators name them (``classlabels_*``); None without such operators."""
    found: list[tuple[str, ...]] = []
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name.startswith("classlabels_") or attribute.name == "cats_int64s":
                stored = [label.decode(errors="replace") for label in attribute.strings] or list(
                    map(str, attribute.ints)
                )
                found += [tuple(stored)] if len(stored) > 1 else []
    return found[-1] if found and len(set(found)) == 1 else None


def collect(session: ort.InferenceSession, source: Source, fed: np.ndarray, names: Sequence[str] | None) -> Found:
    """Run the rows ``fed`` (as the file takes them) through every output and sort what comes back."""
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
    return Found(named, label, shapes)


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


def choose(
    found: Found, source: Source, codes_of: Codes, classes: int, output_name: str | None
) -> tuple[Contract, list[str]]:
    """The contract of a file, and what there is to say about how it was chosen.

    ``classes``: of the data. ``output_name``: what the user says. Raises UserError, in one sentence, where no output fits or
    several do.
    """
    if output_name is not None:
        return _named(found, source, codes_of, classes, output_name)
    if not found.scores:
        if found.label is None:
            raise UserError(
                f"the model must return one number for each class, [N, K] (its outputs are: {_list(found)})"
            )
        return _label_contract(found, source, classes)
    if found.label is not None:
        agreeing = [one for one in map(lambda scores: _as_labelled(scores, found), found.scores) if one is not None]
        if not agreeing:
            raise UserError(
                f"none of the model's outputs gives the labels that the model itself returns: {_accuracies(found, codes_of)}; "
                "say which holds the scores of the classes with --output-name"
            )
        best = next((one for one in agreeing if one.returns == "probabilities"), agreeing[0])
        return _contract(best, source), _said(best, found)
    fits = [one for one in found.scores if one.classes == classes] or found.scores
    if len(fits) > 1:
        fits = _same_or_clear(fits, codes_of)
    if len(fits) != 1:
        raise UserError(
            f"several outputs of the model may be the scores of the {classes} classes: {_accuracies(found, codes_of)}; say "
            "which with --output-name"
        )
    return _contract(fits[0], source), _said(fits[0], found)


def first_of(found: Found, source: Source, classes: int) -> Contract:
    """The contract by the first scores, or by the label alone: for files whose outputs nobody needs to doubt."""
    return _contract(found.scores[0], source) if found.scores else _label_contract(found, source, classes)[0]


def _as_labelled(scores: Scores, found: Found) -> Scores | None:
    """The scores in the order of the file's own labels; None where these are not its labels."""
    assert found.label is not None
    names = scores.class_names()
    places = {name: place for place, name in enumerate(names)}
    own = np.array([places.get(str(label), -1) for label in found.label[1].tolist()])
    if (own < 0).any():
        return None
    for order in (scores.order, (1, 0)) if scores.classes == 2 else (scores.order,):
        turned = replace(scores, order=order)
        if (_tied(turned, own) | (turned.predicted() == own)).mean() >= AGREEING:
            return turned
    return None


def _tied(scores: Scores, own: np.ndarray) -> np.ndarray:
    """bool [n]: whether the file's own label shares the largest score."""
    if scores.layout == "single":
        return np.zeros(len(own), bool)
    columns = scores.columns if scores.order is None else scores.columns[:, scores.order]
    return columns[np.arange(len(own)), own] >= columns.max(axis=1) - 1e-6


def _same_or_clear(fits: Sequence[Scores], codes_of: Codes) -> list[Scores]:
    """Of outputs with as many columns as there are classes: the one that counts, if that is clear; else all of them."""
    first = fits[0].predicted()
    if all((one.predicted() == first).mean() >= AGREEING for one in fits[1:]):
        return [next((one for one in fits if one.returns == "probabilities"), fits[0])]
    return list(fits)


def _named(found: Found, source: Source, codes_of: Codes, classes: int, output_name: str) -> tuple[Contract, list[str]]:
    if output_name not in found.shapes:
        raise UserError(f"--output-name {output_name!r}: the model's outputs are {_list(found)}")
    if found.label is not None and output_name == found.label[0]:
        return _label_contract(found, source, classes)
    scores = next((one for one in found.scores if output_name in one.outputs), None)
    if scores is None:
        raise UserError(
            f"--output-name {output_name!r}: it holds {found.shapes[output_name]}, not one number for each class of a row"
        )
    turned = _as_labelled(scores, found) if found.label is not None else None
    return _contract(turned or scores, source), _said(turned or scores, found)


def _label_contract(found: Found, source: Source, classes: int) -> tuple[Contract, list[str]]:
    assert found.label is not None
    name, labels = found.label
    values = sorted({str(label) for label in labels.tolist()})
    plain = all(value.isdigit() and int(value) < classes for value in values)
    names = None if plain else tuple(values)
    contract = Contract(
        source.name,
        source.row_shape,
        source.fixed_batch,
        (name,),
        classes if plain else len(values),
        "label",
        source.dtype,
        "label",
        names=names,
    )
    return contract, [f"its output {name!r} holds the label alone"]


def _contract(scores: Scores, source: Source) -> Contract:
    off = _sums_to_one(scores.columns, scores.layout)
    return Contract(
        source.name,
        source.row_shape,
        source.fixed_batch,
        scores.outputs,
        scores.classes,
        scores.returns,
        source.dtype,
        scores.layout,
        scores.order,
        scores.names,
        rounded=off is not None and off > EXACT,
    )


def _sums_to_one(columns: np.ndarray, layout: Layout) -> float | None:
    """How far rows are from a sum of one, at most; None where they are no probabilities."""
    if not (np.isfinite(columns).all() and (columns >= 0).all() and (columns <= 1 + EXACT).all()):
        return None
    if layout == "single":
        return 0.0
    off = float(np.abs(columns.sum(axis=1, dtype=np.float64) - 1).max())
    # Each probability rounded to a step of 1/255 is off by half of one at most.
    return off if off <= max(EXACT, min(0.25, columns.shape[1] / 500)) else None


def _said(scores: Scores, found: Found) -> list[str]:
    names = (
        " and ".join(map(repr, scores.outputs)) if len(scores.outputs) < 4 else f"{scores.outputs[0]!r} and the like"
    )
    said = []
    if len(found.shapes) > 1:
        said.append(f"of its outputs ({_list(found)}) {names} is read as the scores of the {scores.classes} classes")
    if scores.order is not None:
        said.append(f"the two columns of {names} stand in reverse order of the labels that the file returns")
    if scores.layout == "single":
        what = "probability" if scores.returns == "probabilities" else "score"
        said.append(f"the one number of {names} is read as the {what} of the second of two classes")
    elif scores.returns == "logits":
        said.append(f"the numbers of {names} are no probabilities: a softmax makes them such")
    off = _sums_to_one(scores.columns, scores.layout)
    if off is not None and off > EXACT:
        said.append(
            f"the probabilities of {names} are rounded: rows sum to one within {off:.2g}, and are divided by their sum"
        )
    return said


def _list(found: Found) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in found.shapes.items()) or "none"


def _accuracies(found: Found, codes_of: Codes) -> str:
    parts = []
    for one in found.scores:
        accuracy = one.accuracy(codes_of)
        right = "does not fit the labels" if accuracy is None else f"is right for {accuracy:.1%} of the rows"
        parts.append(f"{' + '.join(one.outputs)} ({found.shapes[one.outputs[0]]}) {right}")
    if found.label is not None:
        parts.append(f"{found.label[0]} ({found.shapes[found.label[0]]}) is the label")
    return ", ".join(parts)
