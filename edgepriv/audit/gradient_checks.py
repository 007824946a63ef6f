"""Signs that gradient attacks make a model look more robust than it is: masked gradients, rounding, a twin that disagrees."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from edgepriv.audit.answers import Bools
from edgepriv.audit.white_box import Trial
from edgepriv.training.pgd import cross_entropy, gradient, margin

ZERO_GRADIENTS = 0.01
"""Share of the correctly classified examples without usable gradients, above which gradients are not trusted at all."""
DISAGREEING = 0.005
"""Share of the examples on whose label twin and artifact may disagree without a warning."""
RISING = 0.005
"""By how much accuracy may rise from one radius to a larger one without a warning."""


def gradient_doubts(trial: Trial, labels: npt.NDArray[np.intp], right: Bools) -> tuple[list[str], bool]:
    """What makes white-box figures look better than they are, and whether it is that the gradients are masked.

    ``labels`` [n] are the artifact's on clean inputs, ``right`` [n] tells which of them are.
    """
    flat, differ, broken = 0, 0, 0
    for part, inputs, truth in trial.batches(np.arange(len(trial.x))):
        slopes = [gradient(trial.twin, inputs, truth, objective) for objective in (cross_entropy, margin)]
        leads = [torch.nan_to_num(slope, posinf=0, neginf=0).flatten(1).abs().amax(dim=1) > 0 for slope, _ in slopes]
        infinite = (
            torch.stack([~slope.isfinite().flatten(1).all(dim=1) for slope, _ in slopes]).any(dim=0).cpu().numpy()
        )
        none = ~torch.stack(leads).any(dim=0).cpu().numpy()
        broken += int((infinite & right[part]).sum())
        flat += int((none & ~infinite & right[part]).sum())
        differ += int((slopes[0][1].argmax(dim=1).cpu().numpy() != labels[part]).sum())
    n, reasons = len(trial.x), []
    of = max(1, int(right.sum()))
    for count, what in ((flat, "no slope at all"), (broken, "a slope that is not a finite number")):
        if count / of > ZERO_GRADIENTS:
            reasons.append(
                f"masked gradients: the model has {what} at {count / of:.1%} of the correctly classified examples, where "
                "gradient attacks fail even if the model is not robust; the worst case is not known"
            )
    masked = bool(reasons)
    if trial.rounding:
        more = f" and {len(trial.rounding) - 2} more" if len(trial.rounding) > 2 else ""
        reasons.append(
            f"the model rounds inside ({', '.join(trial.rounding[:2])}{more}): gradients are computed as if it did not, and an "
            "attack without gradients was run as well"
        )
    if differ / n > DISAGREEING:
        reasons.append(
            f"twin and artifact disagree on the label of {differ / n:.1%} of the clean examples, so the gradients are "
            "partly another model's; robust accuracy may be too high"
        )
    if not np.array_equal(trial.predict(trial.x[: trial.batch]), trial.predict(trial.x[: trial.batch])):
        reasons.append(
            "randomised output: the artifact gives different answers to equal inputs; the figures are of one run"
        )
    return reasons, masked


def rising_accuracy(accuracy: dict[float, float]) -> list[str]:
    """Warns where a larger radius seems safer, which can only be a failure of the attack."""
    return [
        f"non-monotone curve: accuracy rises from {accuracy[small]:.3f} at eps {small:g} to {accuracy[large]:.3f} at "
        f"eps {large:g}, so the attack fails there; use more steps or restarts"
        for small, large in pairwise(sorted(accuracy))
        if accuracy[large] > accuracy[small] + RISING
    ]
