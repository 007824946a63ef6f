"""How a third-party file is fed and read: as the user states, else in the way that classifies the examples best.

The usual ways of feeding an image are compared by accuracy. Only where the plain one is as good as any other, and better
than chance, is it taken without a word from the user.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgepriv import data
from edgepriv.artifact import choice, outputs
from edgepriv.artifact.contract import Contract, as_fed, as_probabilities, source_of
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.outputs import declared_classes
from edgepriv.audit.examples import Examples
from edgepriv.audit.feeding import Feeding, Told
from edgepriv.audit.statistics import wilson
from edgepriv.audit.ways import Way, refuse_unfit, ways_of
from edgepriv.errors import UserError

_ROWS, _NUMBERS = 256, 2**24
"""Members, and as many others, that the ways are compared on; fewer of large images."""
_LESS = 0.05
"""By how many nats the loss must be lower to tell one way from another."""
_SURE = 2.576  # of a normal distribution: 99%, two-sided

Turned = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Reading:
    """How the file is fed and read, what there is to say about that, and the same for a program. ``doubts``: warnings that it
    does no better than chance on its members."""

    feeding: Feeding
    contract: Contract
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    facts: dict[str, object]


@dataclass(frozen=True)
class _Tried:
    """A way, and what the file answers to it: ``right`` bool [n], ``loss`` float64 [n], the cross-entropy, None of
    labels alone. ``problem``: why its outputs cannot be read then."""

    way: Way
    right: np.ndarray
    contract: Contract | None
    notes: tuple[str, ...]
    predicted: np.ndarray
    truth: np.ndarray
    loss: np.ndarray | None = None
    problem: str = ""


def read(model: DeployedModel, turned: Turned, examples: Examples, told: Told) -> Reading:
    """Decide how a third-party file is fed and read.

    Args:
        model: the file.
        turned: puts the axes of inputs [n, ...] into the file's order.
        examples: members and non-members, in the user's units.
        told: what the user states about the file.

    Returns:
        The way that is taken, and what there is to say about it.

    Raises:
        UserError: where inputs do not fit the file, where its outputs cannot be read, where another way of feeding it
            classifies the members better, and where it does no better than chance on them, unless the user accepts that.
    """
    path, source = model.path, source_of(model.session)
    names = model.class_names or declared_classes(model.graph)
    rows, members = _rows(examples)
    inputs = examples.inputs(rows)
    labels = examples.dataset
    refuse_unfit(path, source.row_shape, turned(inputs[:1]).shape[1:], labels.input_shape)

    def codes_of(classes: Sequence[str]) -> np.ndarray:
        codes: np.ndarray = data.with_classes(labels, tuple(classes)).y[rows]
        return codes

    def tried(way: Way) -> _Tried:
        nothing = np.zeros(len(rows), np.int64)
        try:
            feeding = replace(way.feeding, double=source.dtype == "float64")
            fed = as_fed(turned(feeding(inputs[:, ::-1] if way.reversed else inputs)), source.dtype)
            returned = outputs.collect(model.session, source, np.ascontiguousarray(fed), names)
            contract, notes = choice.choose(returned, source, codes_of, labels.num_classes, told.output_name)
            truth = codes_of(contract.names or tuple(map(str, range(contract.classes))))
        except UserError as error:
            return _Tried(way, nothing == 1, None, (), nothing, nothing, None, str(error))
        predicted = _predicted(returned, contract)
        return _Tried(
            way, predicted == truth, contract, tuple(notes), predicted, truth, _loss(returned, contract, truth)
        )

    ways = ways_of(examples, told, source.dtype)
    results = [tried(way) for way in ways]
    plain = results[0]
    _refuse_better(path, results, members, examples)
    if plain.contract is None:
        raise UserError(f"{path}: {plain.problem}")
    doubts = _doubted(path, results, members, told)
    notes = [f"{path.name}: {sentence}" for sentence in plain.notes]
    if len(ways) > 1 or (told.of_inputs and examples.kind == "bytes"):
        right = plain.right[members]
        notes.insert(
            0,
            f"{path.name}: inputs are {plain.way.phrase}, with which it is right for {right.mean():.1%} of "
            f"{len(right)} members",
        )
    if examples.kind == "other":
        notes.insert(0, f"{path.name}: {_range_note(examples)}")
    facts: dict[str, object] = {
        "fed": plain.way.phrase,
        "outputs": list(plain.contract.outputs),
        "returns": plain.contract.returns,
        "probed_accuracy": {one.way.phrase: float(one.right[members].mean()) for one in results},
    }
    return Reading(plain.way.feeding, plain.contract, tuple(notes), tuple(doubts), facts)


def _refuse_better(path: Path, results: list[_Tried], members: np.ndarray, examples: Examples) -> None:
    """Raise UserError where the file is right more often if it is fed in another way than the first."""
    plain = results[0]
    better = [one for one in results[1:] if _clearly_better(one, plain, members) and not _near_chance(one, members)]
    if better and all(one.way.reversed for one in better):
        raise UserError(
            f"{path}: the channels of these pictures stand in another order than the model was trained with: "
            f"{_table([plain, *better], members)}; save them in that order"
        )
    if better:
        raise UserError(
            f"{path}: it is not stated how these {'bytes' if examples.kind == 'bytes' else 'inputs'} are fed, and the "
            f"accuracy depends on it: {_table(results, members)}; pass the options of the right way"
        )


def _rows(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Positions of some members and some others, mixed so that no batch is of one kind; and which of them are members."""
    inside = examples.dataset.known_members or 0
    rng = np.random.default_rng(0)
    each = max(16, min(_ROWS, _NUMBERS // examples.dataset.x[0].size))
    chosen = [rng.permutation(inside)[:each], inside + rng.permutation(len(examples.dataset) - inside)[:each]]
    rows = rng.permutation(np.concatenate(chosen))
    return rows, rows < inside


def _predicted(returned: outputs.ModelOutputs, contract: Contract) -> np.ndarray:
    if contract.layout == "label":
        assert returned.label is not None
        names = contract.names or tuple(map(str, range(contract.classes)))
        places = {name: place for place, name in enumerate(names)}
        return np.array([places.get(str(label), -1) for label in returned.label[1].tolist()], np.int64)
    scores = next(one for one in returned.scores if one.outputs == contract.outputs)
    return outputs.replaced_order(scores, contract.order).predicted()


def _clearly_better(one: _Tried, other: _Tried, members: np.ndarray) -> bool:
    """By accuracy; or, where that does not tell, by the loss on members: a network that is fed too weakly is right but never
    sure. One that is fed too strongly is surer too, but its mistakes on other examples cost more."""
    if one.contract is None:
        return False
    gained, lost = int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())
    if abs(gained - lost) > _SURE * np.sqrt(gained + lost):
        return gained > lost
    if one.loss is None or other.loss is None:
        return False
    less = other.loss - one.loss
    errors = [_SURE * less[part].std() / np.sqrt(max(1, part.sum())) for part in (members, ~members)]
    lower = less[members].mean() > max(_LESS, errors[0])
    return bool(lower and -less[~members].mean() < max(_LESS, errors[1]))


def _loss(returned: outputs.ModelOutputs, contract: Contract, truth: np.ndarray) -> np.ndarray | None:
    if contract.layout == "label":
        return None
    scores = next(one for one in returned.scores if one.outputs == contract.outputs)
    if contract.returns == "logits" and ((scores.columns >= 0) & (scores.columns <= 1)).all():
        return None  # sigmoids, each by itself: a softmax of them is never sure, however the file is fed
    try:
        answers = as_probabilities(contract, outputs.replaced_order(scores, contract.order).by(contract))
    except UserError:
        return None
    own = answers[np.arange(len(truth)), truth].astype(np.float64)
    result: np.ndarray | None = -np.log(np.maximum(own, np.finfo(np.float32).tiny))
    return result


def _near_chance(one: _Tried, members: np.ndarray) -> bool:
    """Whether the model does no better on its members than the largest class, nor than guessing within each class."""
    truth, right = one.truth[members], one.right[members]
    counts = np.bincount(truth)
    if wilson(int(right.sum()), len(right))[0] > counts.max() / len(truth):
        return False
    recalls = np.bincount(truth[right], minlength=len(counts))[counts > 0] / counts[counts > 0]
    chance = 1 / len(recalls)
    return bool(recalls.mean() < chance + 0.1 * (1 - chance)) if len(recalls) > 1 else bool(right.mean() < 0.5)


def _doubted(path: Path, results: list[_Tried], members: np.ndarray, told: Told) -> list[str]:
    if not _near_chance(results[0], members):
        return []
    largest = np.bincount(results[0].truth[members]).max() / members.sum()
    observed = (
        f"is right for {results[0].right[members].mean():.1%} of {int(members.sum())} members, and always answering their "
        f"largest class for {largest:.1%}"
    )
    doubt = "these are not the examples of this model, or it is not fed and read as in training"
    if told.accept:
        return [f"{path.name} {observed}: {doubt} (accepted by --accept-accuracy-loss)"]
    tried = f" ({_table(results, members)})" if len(results) > 1 else ""
    raise UserError(
        f"{path} {observed}{tried}: {doubt}; say how with "
        "--mean, --std, --input-range or --output-name, or pass --accept-accuracy-loss to audit it as it is"
    )


def _table(results: list[_Tried], members: np.ndarray) -> str:
    rows = sorted(results, key=lambda one: -float(one.right.mean()))
    return "of the members it is right for " + ", ".join(
        f"{one.right[members].mean():.1%}{_loss_note(one)} {one.way.phrase} ({one.way.options})"
        if one.contract is not None
        else f"none {one.way.phrase} ({one.way.options})"
        for one in rows
    )


def _loss_note(one: _Tried) -> str:
    return "" if one.loss is None else f" with a loss of {one.loss.mean():.2g}"


def _range_note(examples: Examples) -> str:
    if examples.per_feature:
        return "features are fed as they are"
    return (
        f"inputs are fed as they are; they lie in [{float(examples.low):g}, {float(examples.high):g}], and perturbations are "
        "measured in these units and stay in this range"
    )
