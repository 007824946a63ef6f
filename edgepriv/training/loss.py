"""The loss of one batch for every task: perturbed, fake-quantized, flattened, relaxed, taught or private."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from edgepriv.models import Classifier
from edgepriv.training.dp import Plan, set_private_gradients
from edgepriv.training.examples import Examples
from edgepriv.training.flattening import flattening_loss
from edgepriv.training.fused import Fused
from edgepriv.training.generators import Generator
from edgepriv.training.pgd import perturbed
from edgepriv.training.quantization import fake_quantized, quantized_activations
from edgepriv.training.relax import relax_loss
from edgepriv.training.stacked import models_in
from edgepriv.training.task import Task

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": lambda logits, y: functional.cross_entropy(logits, y, reduction="sum"),
    "squared": lambda logits, y: functional.mse_loss(logits.softmax(1), y, reduction="sum") / y.shape[1],
}
"""Summed over the batch."""


def private_step(
    classifier: Classifier, x: Tensor, y: Tensor, task: Task, plan: Plan, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Leave the batch's differentially private gradient in the weights; its mean loss and its logits [N, K]."""
    assert isinstance(generator, torch.Generator)  # see ``stackable``
    if len(x):
        x = _attacked(classifier, x, y, task, generator, None)
    weights = fake_quantized(classifier.network, task.quantize) if task.quantize else {}
    with quantized_activations(classifier.network, task.quantize):
        return set_private_gradients(classifier.network, weights, classifier.normalised(x), y, plan, generator)


def loss_of(
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
    """The loss of ``x`` float32 [N, ...] with labels ``y``, to be differentiated, and the logits [N, K] that it is of.

    ``taught``: a teacher's log-probabilities [N, K], None without one; ``holdout``: non-members of the flattening term;
    ``fused``: a faster form of the network for attacks, None for none; ``epoch`` counts from 0 (RelaxLoss alternates).
    """
    flatten, relax = task.stage.flatten, task.stage.relax
    clean = x
    x = _attacked(classifier, x, y, task, generator, fused)
    weights = fake_quantized(classifier.network, task.quantize) if task.quantize else {}
    logits = _simulated_logits(classifier, weights, x, task)
    if relax > 0:
        loss = relax_loss(logits, y, relax, epoch, models_in(classifier))
    else:
        # The sum of the models' means; divided so that no model's gradient depends on how many there are.
        loss = LOSSES[task.loss](logits, y) / (len(y) // models_in(classifier))
    if taught is not None:
        divergence = divergence_from(taught, logits) / (len(y) // models_in(classifier))
        loss = task.alpha * divergence + (1 - task.alpha) * loss
    if flatten > 0 and holdout is not None:
        assert isinstance(generator, torch.Generator)  # see ``stackable``
        others, _ = holdout.batch(torch.randint(len(holdout), (len(y),), generator=generator))
        compared = _simulated_logits(classifier, weights, torch.cat([clean, laid_out(others, task)]), task)
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
    x = perturbed(frozen_logits(classifier, task, fused), x, y, task.budget, generator)
    classifier.train()
    return x


def frozen_logits(classifier: Classifier, task: Task, fused: Fused | None) -> Callable[[Tensor], Tensor]:
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
        logits = classifier.logits(classifier.normalised(x), weights)
    return logits.float()


def _autocast(task: Task) -> torch.autocast:
    return torch.autocast(task.device.type, dtype=torch.bfloat16, enabled=task.bfloat16)


def laid_out(x: Tensor, task: Task) -> Tensor:
    """``x`` in the memory layout that the task asks for."""
    return x.contiguous(memory_format=torch.channels_last) if task.channels_last and x.ndim == 4 else x
