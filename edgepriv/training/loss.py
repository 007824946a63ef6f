"""The gradient of one batch for every task, by the objectives that the task has."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepriv.models import Classifier
from edgepriv.models.rounded_activations import has_places
from edgepriv.training.batch_dependent import each_alone, why_not_in_one_pass
from edgepriv.training.device import generator_state, set_generator_state
from edgepriv.training.examples import Examples
from edgepriv.training.fused import Fused, fuse
from edgepriv.training.generators import Generator
from edgepriv.training.objectives import Batch
from edgepriv.training.pgd import Logits
from edgepriv.training.recorded import Recorder, Replayed
from edgepriv.training.simulation import Simulation, simulation_of
from edgepriv.training.stacked import models_in
from edgepriv.training.task import Task

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": lambda logits, y: functional.cross_entropy(logits, y, reduction="sum"),
    "squared": lambda logits, y: functional.mse_loss(logits.softmax(1), y, reduction="sum") / y.shape[1],
}
"""Summed over the batch."""


@dataclass(frozen=True)
class Setup:
    """What stays the same from batch to batch of a stage: see ``setup_of``. ``one_pass``: an attack on a network whose answers
    depend on the batch asks for all examples by themselves in one pass (``each_alone``). ``recorder``: of an attack's passes;
    None where each is a plain one."""

    classifier: Classifier
    task: Task
    generator: Generator
    members: int
    holdout: Examples | None
    fused: Fused | None
    simulation: Simulation | None
    one_pass: bool = False
    recorder: Recorder | None = None

    def weights(self) -> dict[str, Tensor]:
        """What stands in for some of the network's parameters, differentiable."""
        return {} if self.simulation is None else self.simulation.weights()

    def activations(self) -> AbstractContextManager[None]:
        """While this lasts the network rounds what the quantizer rounds beside the weights."""
        return nullcontext() if self.simulation is None else self.simulation.activations()


def setup_of(
    classifier: Classifier,
    task: Task,
    generator: Generator,
    *,
    members: int = 0,
    holdout: Examples | None = None,
    examples: Tensor | None = None,
) -> Setup:
    """What a stage is trained with.

    The classifier keeps its modules and parameters while this is used; learned steps of quantization must be attached.

    Args:
        classifier: to be trained.
        task: what is minimised.
        generator: of every draw.
        members: how many examples are trained on.
        holdout: non-members, for objectives that compare with them.
        examples: float32 [n, ...], a few inputs on which to try how a network can be attacked whose answers depend on the
            batch.

    Returns:
        What stays the same from batch to batch.
    """
    network = classifier.network
    # A folded network makes other calls than those at which activations are rounded.
    attacked_fused = task.budget is not None and task.fold_norms and not classifier.alone and not has_places(network)
    return Setup(
        classifier,
        task,
        generator,
        members,
        holdout,
        fused=fuse(network) if attacked_fused else None,
        simulation=None if task.quantize is None else simulation_of(network, task.quantize),
        one_pass=task.budget is not None and examples is not None and classifier.alone and _maps(classifier, examples),
        # Ranges of rounded activations change beside the weights.
        recorder=Recorder()
        if task.budget is not None and task.device.type == "cuda" and not classifier.alone and not has_places(network)
        else None,
    )


def _maps(classifier: Classifier, examples: Tensor) -> bool:
    mode = classifier.training
    try:
        return not why_not_in_one_pass(classifier.eval(), examples)
    finally:
        classifier.train(mode)


def backward(setup: Setup, x: Tensor, y: Tensor, taught: Tensor | None, epoch: int) -> tuple[Tensor, Tensor]:
    """Leave the gradient of one batch in the weights.

    Args:
        setup: what stays the same from batch to batch, see ``setup_of``.
        x: float32 [N, ...] in [0, 1], augmented, laid out as the task asks.
        y: labels int64 [N], or soft ones float32 [N, K].
        taught: a teacher's log-probabilities [N, K], None without one.
        epoch: counted from 0.

    Returns:
        Its mean loss (of a stack, the sum of its models'), and its logits [N, K].
    """
    objectives = setup.task.objectives
    with ExitStack() as stack:
        for objective in objectives:
            stack.enter_context(objective.around(setup.classifier.network))
        batch = batch_of(setup, x, y, taught, epoch)
        own = next((objective.gradient for objective in objectives if objective.gradient is not None), None)
        if own is not None:
            with setup.activations():
                return own(batch)
        moved = next((objective.moved for objective in objectives if objective.moved is not None), None)
        if moved is not None:
            return _moved_and_back(setup, batch, moved)
        loss, logits = loss_of(batch, setup.task)
        loss.backward()
    return loss.detach(), logits


def finish(setup: Setup) -> None:
    """Do what an objective does to the gradients of a whole batch, once those of its parts are there.

    Args:
        setup: what stays the same from batch to batch, see ``setup_of``.
    """
    for objective in setup.task.objectives:
        if objective.finished is not None:
            objective.finished(setup.classifier.network, setup.members)


def _moved_and_back(
    setup: Setup, batch: Batch, moved: Callable[[nn.Module], AbstractContextManager[None]]
) -> tuple[Tensor, Tensor]:
    """The gradient where ``moved`` takes the weights along that of the same batch: perturbations and whatever is drawn are the
    same in both passes, and the first leaves no trace in the running statistics. Loss and logits are those before the move."""
    network, device = setup.classifier.network, setup.task.device
    before = [(buffer, buffer.clone()) for buffer in network.buffers()]
    drawn = setup.generator.get_state(), torch.get_rng_state(), generator_state(device)
    loss, logits = loss_of(batch, setup.task)
    loss.backward()
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)
    setup.generator.set_state(drawn[0])
    torch.set_rng_state(drawn[1])
    set_generator_state(device, drawn[2])
    with moved(network):
        network.zero_grad(set_to_none=True)
        weights = setup.weights()
        there = replace(batch, weights=weights, logits_of=_asking(setup, weights))
        loss_of(there, setup.task)[0].backward()
    return loss.detach(), logits


def _asking(setup: Setup, weights: Mapping[str, Tensor]) -> Logits:
    """The network as the update sees it, with ``weights`` in place of its own."""

    def logits_of(inputs: Tensor) -> Tensor:
        with setup.activations():
            return _logits(setup.classifier, weights, inputs, setup.task)

    return logits_of


def batch_of(setup: Setup, x: Tensor, y: Tensor, taught: Tensor | None, epoch: int) -> Batch:
    """A batch as the objectives of the task have prepared it.

    Args:
        setup: what stays the same from batch to batch, see ``setup_of``.
        x: float32 [N, ...] in [0, 1], augmented, laid out as the task asks.
        y: labels int64 [N], or soft ones float32 [N, K].
        taught: a teacher's log-probabilities [N, K], None without one.
        epoch: counted from 0.

    Returns:
        The batch.
    """
    classifier, task, weights = setup.classifier, setup.task, setup.weights()

    @contextmanager
    def frozen() -> Iterator[Logits]:
        classifier.eval()
        try:
            yield frozen_logits(setup, weights)
        finally:
            classifier.train()

    def others(count: int) -> Tensor:
        assert setup.holdout is not None
        assert isinstance(setup.generator, torch.Generator)  # see ``stackable``
        drawn, _ = setup.holdout.batch(torch.randint(len(setup.holdout), (count,), generator=setup.generator))
        return laid_out(drawn, task)

    def classes() -> int:
        with frozen() as of, torch.no_grad():
            return of(x[:: len(x) // models_in(classifier)]).shape[1]  # a row of each model

    batch = Batch(
        x=x,
        y=y,
        clean=x,
        taught=taught,
        epoch=epoch,
        members=setup.members,
        models=models_in(classifier),
        generator=setup.generator,
        classifier=classifier,
        weights=weights,
        logits_of=_asking(setup, weights),
        frozen=frozen,
        others=others,
        classes=classes,
    )
    for objective in task.objectives:
        batch = objective.prepared(batch)
    return batch


def loss_of(batch: Batch, task: Task) -> tuple[Tensor, Tensor]:
    """The loss of a prepared batch.

    Args:
        batch: of ``batch_of``.
        task: what is minimised.

    Returns:
        The loss, to be differentiated, and the logits [N, K] that it is of.
    """
    logits = batch.logits_of(batch.x)
    own = next((objective.loss for objective in task.objectives if objective.loss is not None), None)
    if own is not None:
        loss = own(batch, logits)
    elif task.pipeline is not None and task.pipeline.loss is not None:
        loss = task.pipeline.loss(logits, batch.y)
    else:
        loss = batch.mean(LOSSES[task.loss](logits, batch.y))
    if batch.taught is not None:
        divergence = batch.mean(divergence_from(batch.taught, logits))
        loss = task.teacher_share * divergence + (1 - task.teacher_share) * loss
    for objective in task.objectives:
        if objective.term is not None:
            loss = loss + objective.term(batch, logits)
    return loss, logits.detach()


def divergence_from(taught: Tensor, logits: Tensor) -> Tensor:
    """KL(f' || f) of the student's softmax f' and the teacher's answers.

    Kassa, Adi & Bouhaddi, section 5.1, in this direction.

    Args:
        taught: the teacher's log-probabilities [N, K].
        logits: the student's, [N, K].

    Returns:
        Nats, summed over the batch.
    """
    return functional.kl_div(taught, logits.log_softmax(1), reduction="sum", log_target=True)


def frozen_logits(setup: Setup, stand_ins: Mapping[str, Tensor] | None = None) -> Logits:
    """The classifier, which is in eval mode, with weights that record no gradient, which spares the attack.

    Args:
        setup: what stays the same from batch to batch, see ``setup_of``.
        stand_ins: ``setup.weights()``, where they are known.

    Returns:
        x [N, ...] in [0, 1] -> logits [N, K].
    """
    classifier, fused = setup.classifier, setup.fused
    network = classifier.network
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    known = setup.weights() if stand_ins is None else stand_ins
    weights |= {name: weight.detach() for name, weight in known.items()}
    if fused is not None:
        weights = fused.absorbed(network, weights)
    elif setup.recorder is not None:
        weights |= dict(network.named_buffers())

    def asked(own: Mapping[str, Tensor], x: Tensor) -> Tensor:
        if fused is None:
            return _logits(classifier, own, x, setup.task, one_pass=setup.one_pass)
        with _autocast(setup.task):
            return fused(own, classifier.normalised(x)).float()

    if setup.recorder is not None:
        return Replayed(asked, weights, setup.recorder)
    return lambda x: asked(weights, x)


def _logits(
    classifier: Classifier, weights: Mapping[str, Tensor], x: Tensor, task: Task, *, one_pass: bool = False
) -> Tensor:
    """With the network's own weights where ``weights`` (by parameter name) has none to replace them."""
    with _autocast(task):
        inputs = classifier.normalised(x)
        logits = each_alone(classifier, weights, inputs) if one_pass else classifier.logits(inputs, weights)
    return logits.float()


def _autocast(task: Task) -> torch.autocast:
    return torch.autocast(task.device.type, dtype=torch.bfloat16, enabled=task.bfloat16)


def laid_out(x: Tensor, task: Task) -> Tensor:
    """Inputs in the memory layout that a task asks for.

    Args:
        x: [N, ...].
        task: what is minimised.

    Returns:
        The same numbers.
    """
    return x.contiguous(memory_format=torch.channels_last) if task.channels_last and x.ndim == 4 else x
