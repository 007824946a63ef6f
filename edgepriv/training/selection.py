"""Which epoch to keep, and when to stop, by held-out accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from edgepriv.models import Classifier
from edgepriv.recipe import Stage
from edgepriv.training.stacked import restore, snapshots

_COLLAPSE = 0.20


@dataclass
class Best:
    """Of one model: its best epoch so far (from 0), that epoch's score and weights; the highest robust accuracy of any
    epoch; whether it has stopped."""

    score: float = -1.0
    epoch: int = 0
    weights: dict[str, Tensor] | None = None
    robust: float = 0.0
    stopped: bool = False


def remember(
    best: Sequence[Best], held_out: Sequence[dict[str, float]], classifier: Classifier, epoch: int, stage: Stage
) -> None:
    """Take note of an epoch's held-out accuracies.

    Args:
        best: of each model so far; changed in place.
        held_out: accuracies of each model.
        classifier: with the weights of this epoch.
        epoch: counted from 0.
        stage: which says how patient it is.
    """
    for own, accuracies, weights in zip(best, held_out, snapshots(classifier), strict=True):
        if own.stopped:
            continue
        # The mean of both, since the robust accuracy of a few hundred examples alone is too noisy to rank epochs by.
        score = sum(accuracies.values()) / len(accuracies)
        if score > own.score:
            own.score, own.epoch = score, epoch
            own.weights = {name: value.detach().clone() for name, value in weights.items()}
        robust = accuracies.get("validation_robust_accuracy", 0.0)
        own.robust = max(own.robust, robust)
        impatient = stage.patience is not None and epoch - own.epoch >= stage.patience
        # FGSM training can collapse: robust accuracy falls to nothing within an epoch and does not come back.
        own.stopped = impatient or robust < own.robust - _COLLAPSE


def take_best(best: Sequence[Best], classifier: Classifier) -> None:
    """Give each model the weights of its best epoch.

    Args:
        best: of each model.
        classifier: changed in place.
    """
    restore(classifier, [own.weights or {} for own in best])
