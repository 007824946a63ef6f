"""The one training loop: clean or adversarial, with full or fake-quantized weights, flattened, relaxed or private."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Dp, Quantize, Stage
from edgepriv.training.adversary import Budget, perturbed
from edgepriv.training.dp import Plan, plan_of, refuse_unsupported, set_private_gradients
from edgepriv.training.draws import Generator, filled, generator_of, permutation
from edgepriv.training.dropout import dropping
from edgepriv.training.examples import Examples, correct
from edgepriv.training.fused import Fused, fuse
from edgepriv.training.grids import SMALLEST_STEP, lsq_highest
from edgepriv.training.privacy import flattening_loss
from edgepriv.training.quantizer import attach_steps, fake_quantized, quantized_activations
from edgepriv.training.relax import relax_loss
from edgepriv.training.selection import Best, remember, take_best
from edgepriv.training.stacked import models_in

_VALIDATION_STEPS = 10
_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": lambda logits, y: functional.cross_entropy(logits, y, reduction="sum"),
    "squared": lambda logits, y: functional.mse_loss(logits.softmax(1), y, reduction="sum") / y.shape[1],
}
"""Summed over the batch."""


@dataclass(frozen=True)
class Task:
    """What one stage minimises. ``budget`` None: clean. ``quantize`` None: full-width weights. ``alpha``: share of the
    teacher's answers in the loss, where the members have a teacher.

    ``bfloat16``, ``channels_last``, ``fold_norms`` (in attacks) say how it is computed. ``loss``: of logits and labels;
    "squared" is the mean squared error of probabilities against soft labels. ``dropout``: see ``dropping``.
    ``dp``: differentially private.
    """

    stage: Stage
    budget: Budget | None
    quantize: Quantize | None
    bfloat16: bool
    channels_last: bool
    fold_norms: bool
    alpha: float = 0.0
    dp: Dp | None = None
    loss: Literal["cross-entropy", "squared"] = "cross-entropy"
    dropout: float = 0.0


@dataclass
class State:
    """Everything that a killed stage needs to go on as if nothing had happened."""

    epoch: int = 0
    model: dict[str, Tensor] | None = None
    optimizer: dict[str, Any] | None = None
    generator: Tensor | None = None
    global_generator: Tensor | None = None
    best: list[Best] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.best = [Best(**own) if isinstance(own, dict) else own for own in self.best]  # as read from a file


def fit(
    classifier: Classifier,
    members: Examples,
    task: Task,
    *,
    seed: int | Sequence[int],
    holdout: Examples | None = None,
    validation: Examples | None = None,
    state: State | None = None,
    after_epoch: Callable[[State], None] = lambda state: None,
    progress: Callable[[dict[str, Any]], None] = lambda row: None,
    after_step: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Train ``classifier`` in place for ``task.stage.epochs`` and return one row for each epoch.

    ``holdout`` are the non-members of the flattening term; ``validation`` chooses the epoch when the stage asks for the
    best one. ``state`` resumes a stage; ``after_epoch`` receives the state to keep. ``progress`` receives each epoch's row,
    ``after_step`` is called after each batch. A ``Stack`` takes StackedExamples and a seed for each of its models, and its
    rows are means over them. Deterministic for equal arguments on one machine with equal thread count.

    While perturbing, batch normalization uses its running statistics; while updating, those of the batch.
    """
    stage, state = task.stage, state or State()
    if stage.flatten > 0 and not holdout:
        raise UserError("posterior flattening needs a privacy holdout: set data.holdout above 0")
    if stage.select == "best" and not validation:
        raise UserError(
            "keeping the best epoch needs a validation set: set data.validation above 0, or select = 'last'"
        )
    plan = _private(classifier, task, members)
    torch.manual_seed(seed if isinstance(seed, int) else seed[0])
    generator, models = generator_of(seed), models_in(classifier)
    if task.channels_last:
        classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learned = attach_steps(classifier.network, task.quantize)
    fused = fuse(classifier.network) if task.budget is not None and task.fold_norms else None
    optimizer = _optimizer(classifier.network, stage, learned)
    _restore(state, classifier, optimizer, generator)
    steps_per_epoch = max(1, math.ceil(len(members) / stage.batch_size))
    total_steps = steps_per_epoch * stage.epochs
    for epoch in range(state.epoch, stage.epochs):
        if state.best and all(own.stopped for own in state.best):
            break
        classifier.train()
        loss_sum, right, seen = 0.0, 0, 0
        for position, index in enumerate(_batches(members, stage, plan, generator)):
            done = (epoch * steps_per_epoch + position) / total_steps
            for group in optimizer.param_groups:
                group["lr"] = stage.lr * group["relative_lr"] * _schedule(stage.schedule, done)
            x, y = members.batch(index)
            x = _laid_out(augmented(x, stage.augment, generator), task)
            optimizer.zero_grad(set_to_none=True)
            if plan is None:
                taught = members.taught(index)
                with dropping(classifier.network, task.dropout):
                    loss, logits = _loss(classifier, x, y, taught, task, holdout, generator, fused, epoch)
                loss.backward()
            else:
                loss, logits = _private_step(classifier, x, y, task, plan, generator)
            optimizer.step()
            for step in itertools.chain(*learned.values()):
                step.detach().clamp_(min=SMALLEST_STEP)
            loss_sum += float(loss.detach()) * index.shape[-1]
            right += int(correct(logits, y).sum())
            seen += index.numel()
            after_step()
        if not math.isfinite(loss_sum):
            raise UserError(f"the training diverged in epoch {epoch + 1}: lower the learning rate ({stage.lr:g})")
        row: dict[str, Any] = {"epoch": epoch + 1, "loss": loss_sum / max(1, seen), "accuracy": right / max(1, seen)}
        if validation and len(validation) and stage.select == "best":
            held_out = validate(classifier, validation, task, seed, fused)
            state.best = state.best or [Best() for _ in held_out]
            remember(state.best, held_out, classifier, epoch, stage)
            row |= {name: sum(own[name] for own in held_out) / models for name in held_out[0]}
        state.history.append(row)
        _keep(state, classifier, optimizer, generator, epoch)
        after_epoch(state)
        progress(row)
    if state.best:
        take_best(state.best, classifier)
    classifier.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    classifier.eval()
    return state.history


def validate(
    classifier: Classifier, examples: Examples, task: Task, seed: int | Sequence[int], fused: Fused | None
) -> list[dict[str, float]]:
    """For each model in ``classifier``, held-out clean accuracy and, for an adversarial task, accuracy under PGD-10 from a
    fixed random start."""
    classifier.eval()
    generator, models = generator_of(seed), models_in(classifier)
    logits_of = _frozen_logits(classifier, task, fused)
    steps = _VALIDATION_STEPS
    budget = task.budget and Budget(task.budget.norm, task.budget.eps, 2.5 * task.budget.eps / steps, steps)
    clean, robust = (torch.zeros(models, dtype=torch.int64) for _ in range(2))
    for index in torch.arange(len(examples)).split(256):
        x, y = examples.batch(index)
        x = _laid_out(x, task)
        with torch.no_grad():
            clean += correct(logits_of(x), y).view(models, -1).sum(1).cpu()
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


def augmented(x: Tensor, how: str, generator: Generator) -> Tensor:
    """Random crops of the zero-padded image (by an eighth of its size), and mirror images; tables are left alone."""
    if how == "none" or x.ndim != 4:
        return x
    count, _, height, width = x.shape
    pad = max(1, height // 8)

    def offsets() -> Tensor:
        drawn = torch.empty(count, 1, dtype=torch.int64)
        return filled(drawn, lambda part, own: part.random_(0, 2 * pad + 1, generator=own), generator)

    rows, columns = offsets() + torch.arange(height), offsets() + torch.arange(width)
    if how == "crop_flip":
        mirrored = filled(torch.empty(count), lambda part, own: part.uniform_(generator=own), generator) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = functional.pad(x, (pad, pad, pad, pad))
    examples = torch.arange(count)[:, None, None]
    return padded[examples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _batches(members: Examples, stage: Stage, plan: Plan | None, generator: Generator) -> Iterator[Tensor]:
    """The indices of each batch of an epoch."""
    if plan is not None:
        assert isinstance(generator, torch.Generator)  # see ``stackable``
        yield from plan.batches(generator)
        return
    order = permutation(len(members), generator)
    for index in order.split(stage.batch_size, dim=-1):
        # Batch normalization cannot train on one example.
        yield order[..., -2:] if index.shape[-1] == 1 < stage.batch_size and len(members) > 1 else index


def _private(classifier: Classifier, task: Task, members: Examples) -> Plan | None:
    if task.dp is None:
        return None
    refuse_unsupported(classifier.network)
    return plan_of(task.dp, task.stage, len(members))


def _private_step(
    classifier: Classifier, x: Tensor, y: Tensor, task: Task, plan: Plan, generator: Generator
) -> tuple[Tensor, Tensor]:
    assert isinstance(generator, torch.Generator)  # see ``stackable``
    if len(x):
        x = _attacked(classifier, x, y, task, generator, None)
    weights = fake_quantized(classifier.network, task.quantize) if task.quantize else {}
    with quantized_activations(classifier.network, task.quantize):
        return set_private_gradients(classifier.network, weights, classifier.normalised(x), y, plan, generator)


def _loss(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    taught: Tensor | None,
    task: Task,
    holdout: Examples | None,
    generator: Generator,
    fused: Fused | None,
    epoch: int,
) -> tuple[Tensor, Tensor]:
    flatten, relax = task.stage.flatten, task.stage.relax
    clean = x
    x = _attacked(classifier, x, y, task, generator, fused)
    weights = fake_quantized(classifier.network, task.quantize) if task.quantize else {}
    logits = _simulated_logits(classifier, weights, x, task)
    if relax > 0:
        loss = relax_loss(logits, y, relax, epoch, models_in(classifier))
    else:
        # The sum of the models' means; divided so that no model's gradient depends on how many there are.
        loss = _LOSSES[task.loss](logits, y) / (len(y) // models_in(classifier))
    if taught is not None:
        divergence = divergence_from(taught, logits) / (len(y) // models_in(classifier))
        loss = task.alpha * divergence + (1 - task.alpha) * loss
    if flatten > 0 and holdout is not None:
        assert isinstance(generator, torch.Generator)  # see ``stackable``
        others, _ = holdout.batch(torch.randint(len(holdout), (len(y),), generator=generator))
        compared = _simulated_logits(classifier, weights, torch.cat([clean, _laid_out(others, task)]), task)
        loss = loss + flatten * flattening_loss(compared[: len(y)], compared[len(y) :])
    return loss, logits.detach()


def divergence_from(taught: Tensor, logits: Tensor) -> Tensor:
    """KL(f' || f) in nats, summed over the batch, of the student's softmax f' of ``logits`` [N, K] and the teacher's
    log-probabilities [N, K] (Kassa, Adi & Bouhaddi, section 5.1, in this direction)."""
    return functional.kl_div(taught, logits.log_softmax(1), reduction="sum", log_target=True)


def _attacked(
    classifier: Classifier, x: Tensor, y: Tensor, task: Task, generator: Generator, fused: Fused | None
) -> Tensor:
    """``x``, perturbed when the task is adversarial: each example by itself, since the classifier is in eval mode."""
    if task.budget is None:
        return x
    classifier.eval()
    x = perturbed(_frozen_logits(classifier, task, fused), x, y, task.budget, generator)
    classifier.train()
    return x


def _frozen_logits(classifier: Classifier, task: Task, fused: Fused | None) -> Callable[[Tensor], Tensor]:
    """The classifier in eval mode with weights that record no gradient, which spares the attack."""
    network = classifier.network
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    if task.quantize:
        weights |= {name: weight.detach() for name, weight in fake_quantized(network, task.quantize).items()}
    if fused is None:
        return lambda x: _logits(classifier, weights, x, task)
    absorbed = fused.absorbed(network, weights)

    def logits_of(x: Tensor) -> Tensor:
        with _autocast(task):
            return fused(absorbed, classifier.normalised(x)).float()

    return logits_of


def _simulated_logits(classifier: Classifier, weights: Mapping[str, Tensor], x: Tensor, task: Task) -> Tensor:
    with quantized_activations(classifier.network, task.quantize):
        return _logits(classifier, weights, x, task)


def _logits(classifier: Classifier, weights: Mapping[str, Tensor], x: Tensor, task: Task) -> Tensor:
    """With the network's own weights where ``weights`` (by parameter name) has none to replace them."""
    with _autocast(task):
        inputs = classifier.normalised(x)
        logits = (
            functional_call(classifier.network, dict(weights), (inputs,)) if weights else classifier.network(inputs)
        )
    return logits.float()


def _autocast(task: Task) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=task.bfloat16)


def _laid_out(x: Tensor, task: Task) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if task.channels_last and x.ndim == 4 else x


def _optimizer(
    network: nn.Module, stage: Stage, learned: Mapping[int, Sequence[nn.Parameter]]
) -> torch.optim.Optimizer:
    """In one pass over each tensor (``fused``): torch's default makes about ten, a third of a small perceptron's step.

    ``learned``: steps of quantization by bits, which no weight decay pulls to 0. AdamW moves every number by about the
    learning rate, whatever the scale of its gradient; a step starts as 2 / sqrt(Qp) of its weights' mean magnitude, so it
    is given that share of the rate: with the whole, steps of 16 bits grew many times over or fell to the smallest.
    """
    others = {id(step) for steps in learned.values() for step in steps}
    weights = [value for value in network.parameters() if value.requires_grad and id(value) not in others]
    groups: list[dict[str, Any]] = [{"params": weights, "relative_lr": 1.0}]
    for bits, steps in learned.items():
        share = 2 / math.sqrt(lsq_highest(bits)) if stage.optimizer == "adamw" else 1.0
        groups.append({"params": list(steps), "weight_decay": 0.0, "relative_lr": share})
    if stage.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            stage.lr,
            stage.momentum,
            weight_decay=stage.weight_decay,
            nesterov=stage.momentum > 0,
            fused=True,
        )
    return torch.optim.AdamW(groups, stage.lr, weight_decay=stage.weight_decay, fused=True)


def _schedule(name: str, done: float) -> float:
    """Factor on the learning rate after a share ``done`` of all steps; cyclic peaks at 40% (Wong, Rice & Kolter 2020)."""
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if name == "cyclic":
        return max(0.01, done / 0.4 if done < 0.4 else (1 - done) / 0.6)
    return 1.0


def _keep(
    state: State, classifier: Classifier, optimizer: torch.optim.Optimizer, generator: Generator, epoch: int
) -> None:
    state.epoch = epoch + 1
    state.model = classifier.state_dict()
    state.optimizer = optimizer.state_dict()
    state.generator = generator.get_state()
    state.global_generator = torch.get_rng_state()


def _restore(state: State, classifier: Classifier, optimizer: torch.optim.Optimizer, generator: Generator) -> None:
    if state.model is None or state.optimizer is None or state.generator is None or state.global_generator is None:
        return
    classifier.load_state_dict(state.model)
    optimizer.load_state_dict(state.optimizer)
    generator.set_state(state.generator)
    torch.set_rng_state(state.global_generator)
