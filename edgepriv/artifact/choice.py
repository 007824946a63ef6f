"""Which of a file's outputs are the scores of the classes: decided by what they hold on real rows, not by their order.

An embedding may stand before the logits, a label beside the probabilities, and the columns of a support vector machine's
scores in reverse. The file's own label output and the true labels of the rows tell.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgepriv.artifact.contract import Contract, Source
from edgepriv.artifact.outputs import EXACT, Codes, ModelOutputs, Scores, sums_to_one
from edgepriv.errors import UserError

AGREEING = 0.99
"""Share of the rows on which scores must give the file's own label; ties and rounding account for the rest."""


def choose(
    outputs: ModelOutputs, source: Source, codes_of: Codes, classes: int, output_name: str | None
) -> tuple[Contract, list[str]]:
    """Decide which outputs of a file are the class scores.

    Args:
        outputs: what the file returned for some rows.
        source: its input.
        codes_of: names of classes -> int64 [n], the true class of each row among them.
        classes: number of classes of the data.
        output_name: the output that the user names; None to decide.

    Returns:
        The contract of the file, and notes on how it was chosen.

    Raises:
        UserError: where no output fits, or several do.
    """
    outputs = replace(outputs, scores=[_in_form(one, codes_of) for one in outputs.scores])
    if output_name is not None:
        return _named(outputs, source, codes_of, classes, output_name)
    if not outputs.scores:
        if outputs.label is None:
            raise UserError(
                f"the model must return one number for each class, [N, K] (its outputs are: {_list(outputs)})"
            )
        return _label_contract(outputs, source, classes)
    if outputs.label is not None:
        agreeing = [one for one in map(lambda scores: _as_labelled(scores, outputs), outputs.scores) if one is not None]
        if not agreeing:
            raise UserError(
                f"none of the model's outputs gives the labels that the model itself returns: "
                f"{_accuracies(outputs, codes_of)}; say which holds the scores of the classes with --output-name"
            )
        best = _fullest(agreeing)
        return _contract(best, source), _notes(best, outputs, codes_of)
    fits = [one for one in outputs.scores if one.classes == classes] or outputs.scores
    if len(fits) > 1:
        fits = _same_or_clear(fits, codes_of)
    if len(fits) != 1:
        raise UserError(
            f"several outputs of the model may be the scores of the {classes} classes: {_accuracies(outputs, codes_of)}; say "
            "which with --output-name"
        )
    return _contract(fits[0], source), _notes(fits[0], outputs, codes_of)


def _in_form(scores: Scores, codes_of: Codes) -> Scores:
    """Positive numbers that do not sum to one are either logits, of which a softmax is taken, or in proportion to
    probabilities. Which of the two gives the true classes more is decided without a look at who was a member."""
    losses = scores.losses(codes_of)
    return replace(scores, unnormalized=True) if losses is not None and losses[0] < losses[1] else scores


def _fullest(alike: Sequence[Scores]) -> Scores:
    """Of scores that give the same labels: the probabilities, or those of which they are the softmax, which tell more."""
    best = next((one for one in alike if one.returns == "probabilities"), alike[0])
    if best.returns != "probabilities" or best.layout == "single":
        return best
    for one in alike:
        if (
            one.returns == "logits"
            and one.layout != "single"
            and one.classes == best.classes
            and one.order == best.order
        ):
            powers = np.exp(one.columns.astype(np.float64) - one.columns.max(axis=1, keepdims=True))
            if np.allclose(powers / powers.sum(axis=1, keepdims=True), best.columns, atol=EXACT):
                return one
    return best


def first_of(outputs: ModelOutputs, source: Source, classes: int) -> Contract:
    """The contract by the first scores, or by the label alone: for files whose outputs are known.

    Args:
        outputs: what the file returned.
        source: its input.
        classes: K.

    Returns:
        The contract.
    """
    return _contract(outputs.scores[0], source) if outputs.scores else _label_contract(outputs, source, classes)[0]


def _as_labelled(scores: Scores, outputs: ModelOutputs) -> Scores | None:
    """The scores in the order of the file's own labels; None where these are not its labels."""
    own = _own_labels(scores, outputs)
    if own is None:
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
    tied: np.ndarray = columns[np.arange(len(own)), own] >= columns.max(axis=1) - 1e-6
    return tied


def _same_or_clear(fits: Sequence[Scores], codes_of: Codes) -> list[Scores]:
    """Of outputs with as many columns as there are classes: the one that counts, if that is clear; else all of them."""
    first = fits[0].predicted()
    if all((one.predicted() == first).mean() >= AGREEING for one in fits[1:]):
        return [_fullest(fits)]
    return list(fits)


def _named(
    outputs: ModelOutputs, source: Source, codes_of: Codes, classes: int, output_name: str
) -> tuple[Contract, list[str]]:
    if output_name not in outputs.shapes:
        raise UserError(
            f"--output-name {output_name!r}: there is no such output; the model's outputs are {_list(outputs)}"
        )
    if outputs.label is not None and output_name == outputs.label[0]:
        return _label_contract(outputs, source, classes)
    scores = next((one for one in outputs.scores if output_name in one.outputs), None)
    if scores is None:
        raise UserError(
            f"--output-name {output_name!r}: it holds {outputs.shapes[output_name]}, not one number for each class of a row"
        )
    turned = _as_labelled(scores, outputs) if outputs.label is not None else None
    return _contract(turned or scores, source), _notes(turned or scores, outputs, codes_of)


def _label_contract(outputs: ModelOutputs, source: Source, classes: int) -> tuple[Contract, list[str]]:
    assert outputs.label is not None
    name, labels = outputs.label
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
    off = sums_to_one(scores.columns, scores.layout)
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


def _own_labels(scores: Scores, outputs: ModelOutputs) -> np.ndarray | None:
    """int64 [n]: the labels that the file returns beside the scores, as their classes; None where it returns none of them."""
    if outputs.label is None:
        return None
    places = {name: place for place, name in enumerate(scores.class_names())}
    own = np.array([places.get(str(label), -1) for label in outputs.label[1].tolist()])
    return None if (own < 0).any() else own


def _right_labels(outputs: ModelOutputs, codes_of: Codes) -> float | None:
    """The share of the rows for which the file's own label is the true one; None where it is not known."""
    for scores in outputs.scores:
        own = _own_labels(scores, outputs)
        if own is not None:
            with contextlib.suppress(UserError):
                return float((own == codes_of(scores.class_names())).mean())
    return None


def _differing(scores: Scores, outputs: ModelOutputs, codes_of: Codes) -> list[str]:
    """Where a file's own labels are not the classes of its largest scores, as of a support vector machine that breaks ties by
    votes or has probabilities of its own: which of the two its accuracy is of."""
    own = _own_labels(scores, outputs)
    predicted = scores.predicted()
    if own is None:
        return []
    assert outputs.label is not None
    if (own == predicted).all():
        return [
            "accuracy and attacks go by the largest score, which is the label that the file returns in "
            f"{outputs.label[0]!r} for all of {len(own)} rows that were tried; --output-name "
            f"{outputs.label[0]} audits the labels"
        ]
    try:
        truth = codes_of(scores.class_names())
    except UserError:
        return []
    return [
        f"the labels that the file returns in {outputs.label[0]!r} differ from its largest scores for "
        f"{(own != predicted).mean():.1%} of {len(own)} rows (right for {(own == truth).mean():.1%} and "
        f"{(predicted == truth).mean():.1%}): accuracy and attacks go by the scores; --output-name {outputs.label[0]} audits "
        "the labels"
    ]


def _notes(scores: Scores, outputs: ModelOutputs, codes_of: Codes) -> list[str]:
    names = (
        " and ".join(map(repr, scores.outputs)) if len(scores.outputs) < 4 else f"{scores.outputs[0]!r} and the like"
    )
    notes = []
    if len(outputs.shapes) > 1:
        notes.append(f"of its outputs ({_list(outputs)}) {names} is read as the scores of the {scores.classes} classes")
    notes += _differing(scores, outputs, codes_of)
    if scores.order is not None:
        notes.append(f"the two columns of {names} are in reverse order of the labels that the file returns")
    if scores.layout == "single":
        what = "probability" if scores.returns == "probabilities" else "score"
        notes.append(f"the one number of {names} is read as the {what} of the second of two classes")
    elif scores.returns == "unnormalized":
        notes.append(
            f"the numbers of {names} are positive and do not sum to one: each row is divided by its sum, which gives the true "
            "classes more than a softmax would, and attacks read both"
        )
    elif scores.returns == "logits":
        notes.append(
            f"{names} holds scores, not probabilities: a softmax turns them into probabilities, and attacks read both"
        )
    off = sums_to_one(scores.columns, scores.layout)
    if off is not None and off > EXACT:
        notes.append(
            f"the probabilities of {names} are rounded: rows sum to one within {off:.2g}, and are divided by their sum"
        )
    return notes


def _list(outputs: ModelOutputs) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in outputs.shapes.items()) or "none"


def _accuracies(outputs: ModelOutputs, codes_of: Codes) -> str:
    parts = []
    for one in outputs.scores:
        accuracy = one.accuracy(codes_of)
        right = "does not fit the labels" if accuracy is None else f"is right for {accuracy:.1%} of the rows"
        parts.append(f"{' + '.join(one.outputs)} ({outputs.shapes[one.outputs[0]]}) {right}")
    if outputs.label is not None:
        share = _right_labels(outputs, codes_of)
        told = "" if share is None else f" and right for {share:.1%}"
        parts.append(f"{outputs.label[0]} ({outputs.shapes[outputs.label[0]]}) is the label{told}")
    return ", ".join(parts)
