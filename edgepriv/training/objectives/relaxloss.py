"""RelaxLoss: hold the members' loss where a non-member's loss may be (Chen, Yu & Fritz 2022)."""

import torch
from torch import Tensor
from torch.nn import functional

from edgepriv.training.objectives.base import Asked, Batch, Objective


def objective(asked: Asked) -> Objective:
    """At the level that the stage says.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return relaxed(asked.settings.relax)


def relaxed(alpha: float) -> Objective:
    """Hold the loss at a level.

    Args:
        alpha: in nats, > 0.

    Returns:
        The objective.
    """

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        return relax_loss(logits, batch.y, alpha, batch.epoch, batch.models)

    return Objective(loss=loss, epochs=2, remedy="a lower --relax")  # odd epochs differ from even ones


def relax_loss(logits: Tensor, y: Tensor, alpha: float, epoch: int, models: int = 1) -> Tensor:
    """The loss of RelaxLoss (Chen, Yu & Fritz 2022, Algorithm 1).

    While a batch's mean loss is above ``alpha`` it descends as usual. Below, it ascends; in odd epochs, misclassified
    examples have their posteriors flattened besides: cross-entropy against the soft label that keeps the model's own
    confidence in the true class and spreads the rest evenly over the others. This is the authors' program for images; their
    program for tables flattens every example and does not ascend in odd epochs, which lost more accuracy for less privacy
    on Location-30. As in both, the gradient passes through the soft labels. Each of R stacked models is judged by its own
    mean.

    Args:
        logits: [R * B, K].
        y: int64 [R * B].
        alpha: target loss > 0, in nats.
        epoch: counted from 0.
        models: R.

    Returns:
        Scalar whose value is the cross-entropy, the sum of the R means, and whose gradient is RelaxLoss's.
    """
    each = functional.cross_entropy(logits, y, reduction="none")
    losses = each.view(models, -1).mean(1)
    if epoch % 2 == 0:
        objective = (losses - alpha).abs()
    else:
        flattened = functional.cross_entropy(logits, flat_labels(logits, y), reduction="none")
        below = ((logits.argmax(1) != y) * flattened - each).view(models, -1).mean(1)
        objective = torch.where(losses > alpha, losses, below)
    return losses.detach().sum() + (objective - objective.detach()).sum()


def flat_labels(logits: Tensor, y: Tensor) -> Tensor:
    """Soft labels that keep the model's own confidence in the true class and share the rest equally.

    Args:
        logits: [N, K].
        y: int64 [N].

    Returns:
        float32 [N, K].
    """
    confidence = logits.softmax(1).gather(1, y[:, None])
    others = (1 - confidence) / (logits.shape[1] - 1)
    return others.expand_as(logits).scatter(1, y[:, None], confidence)
