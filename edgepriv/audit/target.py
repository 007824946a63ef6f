"""A model file opened behind one door: examples as a Dataset holds them go in, probabilities of the data's classes come out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv import data
from edgepriv.artifact import session
from edgepriv.artifact.batches import steadiness, tolerance_of
from edgepriv.artifact.compiler import Untwinnable
from edgepriv.artifact.contract import TOKENS, as_fed, row_shape, source_of
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.foreign_inputs import example_shape
from edgepriv.audit.examples import Examples
from edgepriv.audit.feeding import Fed, Feeding, Told, feeding_of
from edgepriv.audit.reading import read
from edgepriv.audit.run import Target
from edgepriv.data import Dataset
from edgepriv.device import memguard
from edgepriv.errors import UserError

_FEW = 8
_PROBED = 64


@dataclass(frozen=True)
class Opened:
    """``examples``: under the classes of the model. ``notes``: what was assumed of the file, in sentences; ``doubts``: warnings
    that it does no better than chance; ``warnings``: of what else makes figures doubtful. ``reading``: the same for a
    program."""

    target: Target
    examples: Examples
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    warnings: tuple[str, ...]
    reading: dict[str, object]


def open_target(model: DeployedModel, examples: Examples, told: Told) -> Opened:
    """Prepare a file for an audit.

    Files written by edgepriv state how they are fed and read. For any other file the user states it (``told``), or it is
    decided by which way classifies the examples best.

    Args:
        model: the opened file.
        examples: members and non-members, in the user's units.
        told: what the user states about the file.

    Returns:
        The target with its examples under the file's classes, and notes and warnings about how it is read.

    Raises:
        UserError: where the way is not clear, where answers depend on the batch, and where the model is no better than chance.
    """
    guard, opened = model.guard, model.session
    axes = _wanted_axes(row_shape(opened), examples.dataset.input_shape)

    def turned(x: np.ndarray) -> np.ndarray:
        return x if axes is None else x.transpose(axes)

    if told.input_shape is not None:
        _refuse_other_sizes(model, turned(examples.dataset.inputs(slice(1))).shape[1:], told.input_shape)
    notes: list[str] = []
    doubts: tuple[str, ...] = ()
    facts: dict[str, object] = {}
    if model.is_ours:
        _refuse_told(model.path, told)
        few = examples.dataset.inputs(slice(_FEW))
        session.check_contract(opened, turned(few), classes=examples.dataset.num_classes)
        feeding = feeding_of(0.0, 1.0, None, None, examples.dataset.input_shape)
        names = model.class_names
    else:
        reading = read(model, turned, examples, told)
        feeding, names = reading.feeding, reading.contract.names
        notes, doubts, facts = [*reading.notes], reading.doubts, reading.facts
        session.agree_on(opened, reading.contract)
    contract = model.contract
    feeding = replace(feeding, double=contract.input_dtype == "float64")
    names = names or tuple(map(str, range(contract.classes)))
    examples = replace(examples, dataset=data.with_classes(examples.dataset, names))
    if contract.input_dtype in TOKENS:
        _refuse_fractions(model, feeding(examples.inputs(np.arange(len(examples.dataset.y)))))
    batch = 1 if told.batch_dependent else 256

    def scores(x: np.ndarray) -> np.ndarray:
        answers = session.answers(opened, turned(feeding(x)), batch)
        # Logarithms of what is in proportion to probabilities are logits, and order examples as the numbers do.
        positive = contract.returns == "unnormalized"
        return np.log(np.maximum(answers, np.finfo(np.float32).tiny)) if positive else answers

    def predict(x: np.ndarray) -> np.ndarray:
        fed = turned(feeding(x))
        answers = session.predict(opened, fed, batch)
        return answers if guard is None else memguard.guarded(guard, answers, as_fed(fed, contract.input_dtype))

    few = examples.inputs(_some(examples.dataset, _PROBED))
    warnings = tuple(_steady(model, predict, few, told, contract.fixed_batch))
    notes += _notes_on_batches(model, contract.fixed_batch, told)
    labels_only = contract.returns == "label"
    exact = examples.inputs if not feeding.idle or examples.kind == "other" else None
    before_softmax = scores if guard is None and contract.returns in ("logits", "unnormalized") else None
    target = Target(
        predict, None, "", labels_only, exact, before_softmax,
        contract.input_dtype == "uint8", model.answers_through, model.sha256, tolerance_of(model.graph),
    )  # fmt: skip
    try:
        inner = model.differentiable(turned(feeding(few[:_FEW])), contract.classes)
    except Untwinnable as reason:
        return Opened(replace(target, no_twin=str(reason)), examples, tuple(notes), doubts, warnings, facts)
    twin = _twin(inner, feeding, axes, alone=told.batch_dependent and contract.fixed_batch is None)
    return Opened(replace(target, twin=twin), examples, tuple(notes), doubts, warnings, facts)


def _notes_on_batches(model: DeployedModel, fixed_batch: int | None, told: Told) -> list[str]:
    if told.batch_dependent and fixed_batch is None:
        return ["every input is run on its own, as on a device that runs one input at a time (--batch-dependent)"]
    if fixed_batch == 1:
        return [f"{model.name} takes one input at a time: every input is run on its own"]
    if fixed_batch is not None and fixed_batch > 1:
        return [f"the file takes {fixed_batch} inputs at a time: the last batch is padded with zeros"]
    return []


def _twin(inner: nn.Module, feeding: Feeding, axes: tuple[int, ...] | None, *, alone: bool) -> nn.Module:
    """The differentiable file behind what it is fed; ``alone``: asked for each input by itself."""
    parts: list[nn.Module] = [
        *([] if feeding.idle else [Fed(feeding)]),
        *([] if axes is None else [_Transposed(axes)]),
        inner,
    ]
    whole: nn.Module = inner if len(parts) == 1 else nn.Sequential(*parts)
    return _OneByOne(whole) if alone else whole


def _refuse_told(path: Path, told: Told) -> None:
    """A file of ours says itself how it is fed and read."""
    asked = [
        option
        for option, value in (
            ("--input-range", told.input_range),
            ("--mean", told.mean),
            ("--std", told.std),
            ("--output-name", told.output_name),
        )
        if value is not None
    ]
    if asked:
        raise UserError(
            f"{path} was written by edgepriv and states how it is fed and read: leave out {' and '.join(asked)}"
        )


def _refuse_other_sizes(model: DeployedModel, fed: tuple[int, ...], asked: tuple[int, ...]) -> None:
    """The examples have the sizes that the file gets; a user who states others means other examples, or another file."""
    example_shape(source_of(model.session), asked)
    if fed != asked:
        own, stated = (",".join(map(str, sizes)) for sizes in (fed, asked))
        raise UserError(
            f"--input-shape {stated}: {model.path} would be fed examples of {own}, as members and non-members are"
        )


def _refuse_fractions(model: DeployedModel, fed: np.ndarray) -> None:
    apart = int((np.abs(fed - np.rint(fed)) > 1e-3).reshape(len(fed), -1).any(axis=1).sum())
    if apart:
        raise UserError(
            f"{model.path} takes tokens, which are whole numbers, and {apart:,} of {len(fed):,} examples hold fractions: these "
            "are not the inputs of this model"
        )


def _some(dataset: Dataset, count: int) -> np.ndarray:
    """Positions of some examples, members and others mixed."""
    return np.random.default_rng(0).permutation(len(dataset))[:count]


def _steady(
    model: DeployedModel, predict: Callable[[np.ndarray], np.ndarray], few: np.ndarray, told: Told, fixed: int | None
) -> list[str]:
    path, steady = model.path, steadiness(predict, few, tolerance_of(model.graph))
    if steady.random:
        return [f"{path.name} {steady.sentence()}: all figures are of one run, and may differ in the next"]
    if steady.batch_dependent and not told.batch_dependent:
        remedy = (
            "pass --batch-dependent to audit it as a device runs it that takes one input at a time"
            if fixed is None
            else f"and it takes {fixed} at a time: export it with a free batch size, or with a batch of 1"
        )
        raise UserError(f"{path} {steady.sentence()}; {remedy}")
    return [f"{path.name} {steady.sentence()}"] if steady.moved else []


def _wanted_axes(row: tuple[int | None, ...], input_shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The transposition of images [N, C, H, W] for a foreign model that takes [N, H, W, C]; None for any other."""

    def fits(shape: tuple[int, ...]) -> bool:
        return len(row) == len(shape) and all(size in (None, have) for size, have in zip(row, shape, strict=True))

    channels_last = (*input_shape[1:], input_shape[0])
    return (0, 2, 3, 1) if len(input_shape) == 3 and fits(channels_last) and not fits(input_shape) else None


class _Transposed(nn.Module):
    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.axes)


class _OneByOne(nn.Module):
    """A twin whose answers depend on the batch, asked for each input alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.inner(row) for row in x.split(1)])
