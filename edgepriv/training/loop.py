"""The one training loop: clean or adversarial, with full or fake-quantized weights, with or without flattening."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Quantize, Stage
from edgepriv.training.adversary import Budget, perturbed
from edgepriv.training.fused import Fused, fuse
from edgepriv.training.privacy import flattening_loss
from edgepriv.training.quantizer import fake_quantized

_VALIDATION_STEPS = 10
_COLLAPSE = 0.20


@dataclass(frozen=True)
class Examples:
    """``x``: uint8 or float32 [N, ...]; ``y``: int64 [N], or soft labels: float32 [N, K], rows that sum to 1."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """float32 inputs in [0, 1] and labels at ``index``."""
        x = self.x[index]
        return (x.float().div_(255) if x.dtype == torch.uint8 else x), self.y[index]


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """bool [N]: whether the largest of ``logits`` [N, K] is the label, or the most probable of soft labels."""
    return logits.argmax(1) == (y.argmax(1) if y.is_floating_point() else y)


@dataclass(frozen=True)
class Task:
    """What one stage minimises. ``budget`` None: clean. ``quantize`` None: full-width weights.

    ``bfloat16``, ``channels_last``, ``fold_norms`` (in attacks) say how it is computed.
    """

    stage: Stage
    budget: Budget | None
    quantize: Quantize | None
    bfloat16: bool
    channels_last: bool
    fold_norms: bool


@dataclass
class State:
    """Everything that a killed stage needs to go on as if nothing had happened."""

    epoch: int = 0
    model: dict[str, Tensor] | None = None
    optimizer: dict[str, Any] | None = None
    generator: Tensor | None = None
    global_generator: Tensor | None = None
    best: float = -1.0
    best_epoch: int = 0
    best_model: dict[str, Tensor] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def fit(
    classifier: Classifier,
    members: Examples,
    task: Task,
    *,
    seed: int,
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
    ``after_step`` is called after each batch. Deterministic for equal arguments on one machine with equal thread count.

    While perturbing, batch normalization uses its running statistics; while updating, those of the batch.
    """
    stage, state = task.stage, state or State()
    if stage.flatten > 0 and not holdout:
        raise UserError("posterior flattening needs a privacy holdout: set data.holdout above 0")
    if stage.select == "best" and not validation:
        raise UserError(
            "keeping the best epoch needs a validation set: set data.validation above 0, or select = 'last'"
        )
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    if task.channels_last:
        classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fused = fuse(classifier.network) if task.budget is not None and task.fold_norms else None
    optimizer = _optimizer(classifier.network, stage)
    _restore(state, classifier, optimizer, generator)
    steps_per_epoch = max(1, math.ceil(len(members) / stage.batch_size))
    total_steps = steps_per_epoch * stage.epochs
    for epoch in range(state.epoch, stage.epochs):
        if _should_stop(state, stage):
            break
        classifier.train()
        loss_sum, right, seen = 0.0, 0, 0
        order = torch.randperm(len(members), generator=generator)
        for position, index in enumerate(order.split(stage.batch_size)):
            if len(index) == 1 < stage.batch_size and len(members) > 1:
                index = order[-2:]  # batch normalization cannot train on one example
            for group in optimizer.param_groups:
                group["lr"] = stage.lr * _schedule(stage.schedule, (epoch * steps_per_epoch + position) / total_steps)
            x, y = members.batch(index)
            x = _laid_out(augmented(x, stage.augment, generator), task)
            loss, logits = _loss(classifier, x, y, task, holdout, generator, fused)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum += float(loss.detach()) * len(index)
            right += int(correct(logits, y).sum())
            seen += len(index)
            after_step()
        if not math.isfinite(loss_sum):
            raise UserError(f"the training diverged in epoch {epoch + 1}: lower the learning rate ({stage.lr:g})")
        row: dict[str, Any] = {"epoch": epoch + 1, "loss": loss_sum / seen, "accuracy": right / seen}
        if validation and len(validation) and stage.select == "best":
            row |= validate(classifier, validation, task, seed, fused)
        state.history.append(row)
        _remember_best(state, row, classifier, epoch)
        _keep(state, classifier, optimizer, generator, epoch)
        after_epoch(state)
        progress(row)
    if stage.select == "best" and state.best_model is not None:
        classifier.load_state_dict(state.best_model)
    classifier.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    classifier.eval()
    return state.history


def validate(
    classifier: Classifier, examples: Examples, task: Task, seed: int, fused: Fused | None
) -> dict[str, float]:
    """Held-out clean accuracy and, for an adversarial task, accuracy under PGD-10 from a fixed random start."""
    classifier.eval()
    generator = torch.Generator().manual_seed(seed)
    logits_of = _frozen_logits(classifier, task, fused)
    steps = _VALIDATION_STEPS
    budget = task.budget and Budget(task.budget.norm, task.budget.eps, 2.5 * task.budget.eps / steps, steps)
    clean = robust = 0
    for index in torch.arange(len(examples)).split(256):
        x, y = examples.batch(index)
        x = _laid_out(x, task)
        with torch.no_grad():
            clean += int(correct(logits_of(x), y).sum())
        if budget:
            x = perturbed(logits_of, x, y, budget, generator)
            with torch.no_grad():
                robust += int(correct(logits_of(x), y).sum())
    result = {"validation_accuracy": clean / len(examples)}
    return result | ({"validation_robust_accuracy": robust / len(examples)} if budget else {})


def augmented(x: Tensor, how: str, generator: torch.Generator) -> Tensor:
    """Random crops of the zero-padded image (by an eighth of its size), and mirror images; tables are left alone."""
    if how == "none" or x.ndim != 4:
        return x
    count, _, height, width = x.shape
    pad = max(1, height // 8)
    rows = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator) + torch.arange(height)
    columns = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator) + torch.arange(width)
    if how == "crop_flip":
        mirrored = torch.rand(count, generator=generator) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = functional.pad(x, (pad, pad, pad, pad))
    examples = torch.arange(count)[:, None, None]
    return padded[examples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _loss(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    task: Task,
    holdout: Examples | None,
    generator: torch.Generator,
    fused: Fused | None,
) -> tuple[Tensor, Tensor]:
    flatten = task.stage.flatten
    clean = x
    if task.budget is not None:
        classifier.eval()
        x = perturbed(_frozen_logits(classifier, task, fused), x, y, task.budget, generator)
        classifier.train()
    weights = fake_quantized(classifier.network, task.quantize) if task.quantize else {}
    logits = _logits(classifier, weights, x, task)
    loss = functional.cross_entropy(logits, y)
    if flatten > 0 and holdout is not None:
        others, _ = holdout.batch(torch.randint(len(holdout), (len(y),), generator=generator))
        compared = _logits(classifier, weights, torch.cat([clean, _laid_out(others, task)]), task)
        loss = loss + flatten * flattening_loss(compared[: len(y)], compared[len(y) :])
    return loss, logits.detach()


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


def _optimizer(network: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if stage.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, stage.lr, stage.momentum, weight_decay=stage.weight_decay, nesterov=stage.momentum > 0
        )
    return torch.optim.AdamW(parameters, stage.lr, weight_decay=stage.weight_decay)


def _schedule(name: str, done: float) -> float:
    """Factor on the learning rate after a share ``done`` of all steps; cyclic peaks at 40% (Wong, Rice & Kolter 2020)."""
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if name == "cyclic":
        return max(0.01, done / 0.4 if done < 0.4 else (1 - done) / 0.6)
    return 1.0


def _remember_best(state: State, row: dict[str, Any], classifier: Classifier, epoch: int) -> None:
    held_out = [row[name] for name in ("validation_accuracy", "validation_robust_accuracy") if name in row]
    if not held_out:
        return
    # The mean of both, since the robust accuracy of a few hundred examples alone is too noisy to rank epochs by.
    score = sum(held_out) / len(held_out)
    if score > state.best:
        state.best, state.best_epoch = score, epoch
        state.best_model = {name: value.detach().clone() for name, value in classifier.state_dict().items()}


def _should_stop(state: State, stage: Stage) -> bool:
    if not state.history or stage.select != "best":
        return False
    if stage.patience is not None and state.epoch - 1 - state.best_epoch >= stage.patience:
        return True
    # FGSM training can collapse: robust accuracy falls to nothing within an epoch and does not come back.
    robust = [row["validation_robust_accuracy"] for row in state.history if "validation_robust_accuracy" in row]
    return bool(robust) and robust[-1] < max(robust) - _COLLAPSE


def _keep(
    state: State, classifier: Classifier, optimizer: torch.optim.Optimizer, generator: torch.Generator, epoch: int
) -> None:
    state.epoch = epoch + 1
    state.model = classifier.state_dict()
    state.optimizer = optimizer.state_dict()
    state.generator = generator.get_state()
    state.global_generator = torch.get_rng_state()


def _restore(
    state: State, classifier: Classifier, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> None:
    if state.model is None or state.optimizer is None or state.generator is None or state.global_generator is None:
        return
    classifier.load_state_dict(state.model)
    optimizer.load_state_dict(state.optimizer)
    generator.set_state(state.generator)
    torch.set_rng_state(state.global_generator)
