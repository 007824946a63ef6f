"""What an attack with a target class raises: of logits [N, K], labels int64 [N] and targets int64 [N], a number for each."""

from collections.abc import Callable

from torch import Tensor

from edgepriv.training.pgd import masked_out

TargetedLoss = Callable[[Tensor, Tensor, Tensor], Tensor]

FEWEST_FOR_DLR = 4
"""Classes: the ratio is over the largest logit less the mean of the third and the fourth."""


def targeted_margin(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """How far a target class is above the label.

    Args:
        logits: [N, K].
        y: int64 [N], the labels.
        target: int64 [N], other classes.

    Returns:
        Difference of the two logits [N]; > 0 where the target is above.
    """
    pair = logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])
    return pair.squeeze(1)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Difference of logits ratio (Croce & Hein 2020, eq. 7): the margin, free of the logits' scale.

    Args:
        logits: [N, K], K of four or more.
        y: int64 [N], the labels.
        target: int64 [N], other classes.

    Returns:
        [N].
    """
    largest = logits.topk(FEWEST_FOR_DLR, dim=1).values
    scale = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return targeted_margin(logits, y, target) / (scale + 1e-12)


def loss_for(classes: int) -> TargetedLoss:
    """The loss of a targeted attack.

    Args:
        classes: of the model.

    Returns:
        The targeted DLR; the margin where there are fewer than four classes, for which the DLR is not defined.
    """
    return targeted_dlr if classes >= FEWEST_FOR_DLR else targeted_margin


def nearest_others(logits: Tensor, y: Tensor) -> Tensor:
    """The other classes of each example, from the one with the largest logit down.

    Args:
        logits: [N, K].
        y: int64 [N], the labels.

    Returns:
        int64 [N, K - 1].
    """
    return masked_out(logits, y).argsort(dim=1, descending=True, stable=True)[:, :-1]
