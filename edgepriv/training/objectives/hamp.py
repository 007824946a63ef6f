"""HAMP: soft labels of high entropy, and a reward for answers of high entropy (Chen & Pattabiraman 2024, section IV)."""

import math

from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional

from edgepriv.recipe.defences.hamp import Hamp
from edgepriv.training.objectives.base import Asked, Batch, Objective


def objective(asked: Asked) -> Objective:
    """With the recipe's gamma and alpha.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    own = asked.recipe.own(Hamp)
    return less_confident(own.entropy, own.regularizer)


def less_confident(entropy: float, regularizer: float) -> Objective:
    """HAMP's loss in place of the cross-entropy; an attack is made against the label itself.

    Args:
        entropy: gamma, in (0, 1).
        regularizer: alpha, >= 0.

    Returns:
        The objective.
    """

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        hard = not batch.y.is_floating_point()
        y = functional.one_hot(batch.y, logits.shape[1]).to(logits.dtype) if hard else batch.y
        return batch.mean(hamp_loss(logits, y, entropy, regularizer))

    return Objective(loss=loss, title=f"HAMP {entropy:g}", remedy="a smaller --hamp")


def hamp_loss(logits: Tensor, y: Tensor, entropy: float, regularizer: float) -> Tensor:
    """KL(y' || p) - alpha K H(p), summed over the batch.

    The authors' program divides the divergence by K besides (``kl_div`` with its default reduction) and the entropy not. That
    loss times K is this one, so that their alpha means the same here, and the loss is as large as the cross-entropy that it
    replaces.

    Args:
        logits: [N, K].
        y: float [N, K], one-hot, or mixtures of such.
        entropy: gamma, in (0, 1).
        regularizer: alpha, >= 0.

    Returns:
        Nats, a scalar.
    """
    classes = logits.shape[1]
    spread = spread_of(entropy, classes)
    log_probabilities = logits.log_softmax(1)
    divergence = functional.kl_div(log_probabilities, (1 - spread) * y + spread / classes, reduction="sum")
    own_entropy = -(log_probabilities.exp() * log_probabilities).sum()
    return divergence - regularizer * classes * own_entropy


def spread_of(entropy: float, classes: int) -> float:
    """How much of a label is spread over all classes until it has an entropy.

    The authors' program takes 0.01 off the true class again and again; this is where that would end with ever smaller steps.

    Args:
        entropy: gamma, the share of log K, in (0, 1).
        classes: K, 2 or more.

    Returns:
        s in (0, 1) of the soft label (1 - s) y + s / K.
    """

    def above(spread: float) -> float:
        top, other = 1 - spread + spread / classes, spread / classes
        return -top * math.log(top) - (classes - 1) * other * math.log(other) - entropy * math.log(classes)

    return float(brentq(above, 1e-300, 1.0))
