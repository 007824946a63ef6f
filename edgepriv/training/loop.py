"""The one training loop, whatever it minimises: what is particular to a task is in its objectives."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.training.augment import augmented
from edgepriv.training.average import Average, averaged, in_place
from edgepriv.training.batch_dependent import TRIED
from edgepriv.training.device import PROCESSOR, generator_state, set_generator_state
from edgepriv.training.dp_draws import secret
from edgepriv.training.examples import Examples, correct
from edgepriv.training.generators import Generator, generator_of, permutation
from edgepriv.training.loss import Setup, backward, finish, frozen_logits, laid_out, setup_of
from edgepriv.training.optimizer import optimizer_of, scheduled
from edgepriv.training.pgd import perturbed, pgd_budget
from edgepriv.training.quantization import attach_steps
from edgepriv.training.quantizers import SMALLEST_STEP
from edgepriv.training.ranges import see_ranges, seen_in
from edgepriv.training.selection import Best, remember, take_best
from edgepriv.training.stacked import models_in
from edgepriv.training.task import Task
from edgepriv.training.traces import LossTrace
from edgepriv.training.watch import Watch

_VALIDATION_STEPS = 10


@dataclass
class State:
    """Everything that a killed stage needs to go on as if nothing had happened."""

    epoch: int = 0
    model: dict[str, Tensor] | None = None
    optimizer: dict[str, Any] | None = None
    generator: Tensor | None = None
    global_generator: Tensor | None = None
    device_generator: Tensor | None = None
    draws: list[Tensor] = field(default_factory=list)
    average: Average | None = None
    updates: int = 0
    best: list[Best] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.best = [Best(**own) if isinstance(own, dict) else own for own in self.best]  # as read from a file


@dataclass(frozen=True)
class Hooks:
    """What is called while a stage is trained. ``after_step``: after each batch. ``progress``: receives each epoch's row, with
    a ``warning`` where ``watch`` finds that the model has gone astray. ``after_epoch``: receives the state to keep. ``trace``:
    records the loss of each member after each epoch."""

    after_step: Callable[[], None] = lambda: None
    watch: Watch | None = None
    trace: LossTrace | None = None
    after_epoch: Callable[[State], None] = lambda state: None
    progress: Callable[[dict[str, Any]], None] = lambda row: None


NOTHING_CALLED = Hooks()


@dataclass(frozen=True)
class _Training:
    """What stays the same from epoch to epoch. ``learned``: steps of the quantizer, by width in bits."""

    setup: Setup
    members: Examples
    validation: Examples | None
    optimizer: torch.optim.Optimizer
    learned: dict[int, list[nn.Parameter]]
    seed: int | Sequence[int]

    @property
    def classifier(self) -> Classifier:
        return self.setup.classifier

    @property
    def task(self) -> Task:
        return self.setup.task


def fit(
    classifier: Classifier,
    members: Examples,
    task: Task,
    *,
    seed: int | Sequence[int],
    holdout: Examples | None = None,
    validation: Examples | None = None,
    state: State | None = None,
    hooks: Hooks = NOTHING_CALLED,
) -> list[dict[str, Any]]:
    """Train ``classifier`` in place for ``task.stage.epochs``.

    Deterministic for equal arguments on one machine with equal thread count. It is computed on ``task.device``, where the
    classifier is while this lasts, ``after_epoch`` included; afterwards it is on the processor. While perturbing, batch
    normalization uses its running statistics; while updating, those of the batch.

    Args:
        classifier: the network behind its normalisation, or a ``Stack`` of several.
        members: what it is trained on; StackedExamples for a Stack.
        task: what is minimised, and how.
        seed: of the order of examples and of every draw; of a Stack, one for each of its models.
        holdout: non-members, for objectives that compare with them.
        validation: chooses the epoch when the stage asks for the best one.
        state: of the same stage, to resume it; None begins it.
        hooks: what is called meanwhile.

    Returns:
        One row for each epoch, with ``epoch`` (from 1), ``loss`` and ``accuracy``, and ``validation_accuracy`` where an epoch
        is chosen; of a Stack, means over its models.

    Raises:
        UserError: without ``validation`` where the best epoch is to be kept; where the loss is no longer finite.
    """
    stage, state = task.stage, state or State()
    if stage.select == "best" and not validation:
        raise UserError(
            "keeping the best epoch needs a validation set: set data.validation above 0 (groups may be too few for "
            "it), or select = 'last'"
        )
    training = _prepared(classifier, members, task, seed, holdout, validation)
    generator, optimizer = training.setup.generator, training.optimizer
    _restore(state, classifier, optimizer, generator, task)
    for epoch in range(state.epoch, stage.epochs):
        if state.best and all(own.stopped for own in state.best):
            break
        see_ranges(training.setup)
        row = _train_epoch(training, state, epoch, hooks.after_step)
        answered: list[Tensor] = []
        with in_place(state.average, classifier):
            see_ranges(training.setup)
            if state.average is not None:
                state.average |= seen_in(classifier)
            if validation and len(validation) and stage.select == "best":
                row |= _choose(training, state, epoch, answered)
            if hooks.watch is not None:
                classifier.eval()
                warning = hooks.watch.after(epoch + 1, answered, frozen_logits(training.setup))
                row |= {} if warning is None else {"warning": warning}
            if hooks.trace is not None:
                classifier.eval()
                hooks.trace.after(epoch + 1, frozen_logits(training.setup), training.members)
        state.history.append(row)
        _keep(state, classifier, optimizer, generator, epoch, task)
        hooks.after_epoch(state)
        hooks.progress(row)
    if state.best:
        take_best(state.best, classifier)
    elif state.average is not None:
        classifier.load_state_dict(state.average)
    classifier.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    classifier.to(PROCESSOR).eval()
    return state.history


def _prepared(
    classifier: Classifier,
    members: Examples,
    task: Task,
    seed: int | Sequence[int],
    holdout: Examples | None,
    validation: Examples | None,
) -> _Training:
    """Everything on the device of the task, and what the epochs have in common."""
    classifier.to(task.device)
    members = members.on(task.device)
    holdout, validation = (each and each.on(task.device) for each in (holdout, validation))
    torch.manual_seed(seed if isinstance(seed, int) else seed[0])
    generator = generator_of(seed)
    if any(each.secret for each in task.objectives):
        torch.manual_seed(int.from_bytes(os.urandom(7)))  # of the device too
        torch.set_rng_state(secret().get_state())
        generator = secret()
    if task.channels_last:
        _lay_channels_last(classifier)
    learned = attach_steps(classifier.network, task.quantize)
    tried = members.batch(torch.arange(min(TRIED, len(members))))[0] if classifier.alone else None
    setup = setup_of(classifier, task, generator, members=len(members), holdout=holdout, examples=tried)
    optimizer = optimizer_of(classifier.network, task.stage, learned)
    return _Training(setup, members, validation, optimizer, learned, seed)


def _train_epoch(training: _Training, state: State, epoch: int, after_step: Callable[[], None]) -> dict[str, Any]:
    """One pass over the members; ``epoch``, ``loss`` and ``accuracy`` of it. ``state`` receives the moving average."""
    task, models = training.task, models_in(training.classifier)
    stage, optimizer = task.stage, training.optimizer
    steps_per_epoch = steps_of(len(training.members), task)
    training.classifier.train()
    seen: list[int] = []
    measured: list[Tensor] = []  # fetched once: a GPU would wait for the processor after each batch
    for position, parts in enumerate(_drawn(training, epoch)):
        done = (epoch * steps_per_epoch + position) / (steps_per_epoch * stage.epochs)
        for group in optimizer.param_groups:
            group["lr"] = stage.lr * group["relative_lr"] * scheduled(stage.schedule, done)
        for _ in range(task.replays):
            optimizer.zero_grad(set_to_none=True)
            answered = [(y, *backward(training.setup, laid_out(x, task), y, taught, epoch)) for x, y, taught in parts]
            finish(training.setup)
            optimizer.step()
            for step in itertools.chain(*training.learned.values()):
                step.detach().clamp_(min=SMALLEST_STEP)
            if stage.ema > 0:
                state.updates += 1
                state.average = averaged(state.average, training.classifier, stage.ema, state.updates)
        for y, loss, logits in answered:
            right = correct(logits, y).sum().float()
            measured.append(torch.stack([loss.to(right), right]))  # of an empty batch the loss is on the processor
            seen.append(len(y))
        after_step()
    losses, counts = torch.stack(measured).T.tolist() if measured else ([], [])
    loss_sum = sum(loss * (own // models) for loss, own in zip(losses, seen, strict=True))
    if not math.isfinite(loss_sum):
        raise UserError(f"the training diverged in epoch {epoch + 1}: lower the learning rate ({stage.lr:g})")
    total = max(1, sum(seen))
    return {"epoch": epoch + 1, "loss": loss_sum / total, "accuracy": sum(counts) / total}


def _choose(training: _Training, state: State, epoch: int, answered: list[Tensor]) -> dict[str, float]:
    """Keep the weights if they are the best so far; the held-out accuracies, means over models. ``answered``: as for
    ``validate``."""
    assert training.validation is not None
    held_out = validate(training.setup, training.validation, training.seed, answered)
    state.best = state.best or [Best() for _ in held_out]
    remember(state.best, held_out, training.classifier, epoch, training.task.stage)
    return {name: sum(own[name] for own in held_out) / len(held_out) for name in held_out[0]}


def _lay_channels_last(classifier: Classifier) -> None:
    """``module.to(memory_format=...)`` asks it of tensors with five axes too, which have no such layout."""
    for value in [*classifier.parameters(), *classifier.buffers()]:
        if value.ndim == 4:
            value.data = value.data.to(memory_format=torch.channels_last)


def validate(
    setup: Setup, examples: Examples, seed: int | Sequence[int], answered: list[Tensor] | None = None
) -> list[dict[str, float]]:
    """Held-out accuracy of each model in a setup's classifier.

    Args:
        setup: what a stage is trained with.
        examples: that were held out.
        seed: of the fixed random start; of a Stack, one for each of its models.
        answered: receives the labels of the clean examples, in parts; None for nothing.

    Returns:
        For each model ``validation_accuracy``, and for an adversarial task ``validation_robust_accuracy``, under PGD-10.
    """
    classifier, task = setup.classifier.eval(), setup.task
    generator, models = generator_of(seed), models_in(classifier)
    logits_of = frozen_logits(setup)
    budget = task.budget and pgd_budget(task.budget.norm, task.budget.eps, _VALIDATION_STEPS, fixed=task.budget.fixed)
    clean, robust = (torch.zeros(models, dtype=torch.int64) for _ in range(2))
    for index in torch.arange(len(examples)).split(256):
        x, y = examples.batch(index)
        x = laid_out(x, task)
        with torch.no_grad():
            logits = logits_of(x)
        clean += correct(logits, y).view(models, -1).sum(1).cpu()
        if answered is not None:
            answered.append(logits.argmax(1).cpu())
        if budget:
            x = perturbed(logits_of, x, y, budget, generator)
            with torch.no_grad():
                robust += correct(logits_of(x), y).view(models, -1).sum(1).cpu()
    names = ("validation_accuracy", "validation_robust_accuracy")
    counts = zip(clean.tolist(), robust.tolist(), strict=True)
    return [
        {name: count / len(examples) for name, count in zip(names[: 2 if budget else 1], own, strict=False)}
        for own in counts
    ]


def steps_of(members: int, task: Task) -> int:
    """How many batches an epoch has.

    Args:
        members: records that are trained on.
        task: with the size of a batch, or the user's own batches.

    Returns:
        1 or more.
    """
    if task.pipeline is not None and task.pipeline.loader is not None:
        return max(1, task.pipeline.steps)
    return max(1, math.ceil(members / task.stage.batch_size))


_Part = tuple[Tensor, Tensor, Tensor | None]
"""Of a batch: inputs, labels, and a teacher's answers where there is one."""


def _drawn(training: _Training, epoch: int) -> Iterator[Iterable[_Part]]:
    """An epoch's batches, each in parts, of which there is one but where gradients are accumulated; the user's own batches
    where he draws them."""
    task, members, generator = training.task, training.members, training.setup.generator
    if task.pipeline is not None and task.pipeline.loader is not None:
        assert isinstance(training.seed, int)  # models that are trained together have no pipeline
        for x, y in task.pipeline.batches(training.seed, epoch):
            yield [(x.to(task.device), y.to(task.device), None)]
        return
    for index in _batches(members, task, generator):
        if task.part is None:
            yield [_part(training, index)]
        else:
            yield map(partial(_part, training), index.split(task.part))


def _part(training: _Training, index: Tensor) -> _Part:
    task, members, generator = training.task, training.members, training.setup.generator
    x, y = members.batch(index)
    if task.extra is not None:
        x, y = task.extra.mixed_into(x, y, generator)
    taught = members.taught(index)
    if task.copies > 1:
        x, y = x.repeat_interleave(task.copies, 0), y.repeat_interleave(task.copies, 0)
        taught = None if taught is None else taught.repeat_interleave(task.copies, 0)
    return augmented(x, task.stage.augment, generator), y, taught


def _batches(members: Examples, task: Task, generator: Generator) -> Iterator[Tensor]:
    """The indices of each batch of an epoch."""
    own = next((objective.batches for objective in task.objectives if objective.batches is not None), None)
    if own is not None:
        yield from own(len(members))
        return
    size, order = task.stage.batch_size, permutation(len(members), generator)
    for index in order.split(size, dim=-1):
        # Batch normalization cannot train on one example.
        yield order[..., -2:] if index.shape[-1] == 1 < size and len(members) > 1 else index


def _keep(
    state: State,
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    generator: Generator,
    epoch: int,
    task: Task,
) -> None:
    state.epoch = epoch + 1
    state.model = classifier.state_dict()
    state.optimizer = optimizer.state_dict()
    state.generator = generator.get_state()
    state.global_generator = torch.get_rng_state()
    state.device_generator = generator_state(task.device)
    state.draws = [own.get_state() for own in _own_draws(task)]


def _restore(
    state: State,
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    generator: Generator,
    task: Task,
) -> None:
    if state.model is None or state.optimizer is None or state.generator is None or state.global_generator is None:
        return
    if state.average is not None:
        state.average = {name: value.to(task.device) for name, value in state.average.items()}
    classifier.load_state_dict(state.model)
    optimizer.load_state_dict(state.optimizer)
    generator.set_state(state.generator)
    torch.set_rng_state(state.global_generator)
    set_generator_state(task.device, state.device_generator)
    for own, kept in zip(_own_draws(task), state.draws, strict=True):
        own.set_state(kept)


def _own_draws(task: Task) -> list[torch.Generator]:
    return [own.draws for own in task.objectives if own.draws is not None]
