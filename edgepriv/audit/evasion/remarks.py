"""What makes figures of robustness look better than they are, beside gradients: answers, radius, classes, odd results."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edgepriv.artifact.batches import Steadiness
from edgepriv.audit.evasion.losses import FEWEST_FOR_DLR
from edgepriv.audit.evasion.scores import THE_FILE
from edgepriv.audit.evasion.trial import DRAWS

RISING = 0.005
"""Share of the examples from which a rise of accuracy under an attack is said."""


def of_classes(classes: int) -> list[str]:
    """Said where the targeted attacks cannot use their own loss.

    Args:
        classes: of the model.

    Returns:
        One sentence, or none.
    """
    if classes >= FEWEST_FOR_DLR:
        return []
    return [
        f"too few classes: the targeted DLR loss needs {FEWEST_FOR_DLR}, the model has {classes}; the targeted attacks climb "
        "on the margin between two logits instead, which is weaker where gradients are masked"
    ]


def of_answers(random: bool, steadiness: Steadiness) -> list[str]:
    """Said of a file whose answers are not those to the input alone.

    Args:
        random: the same question gets different ones.
        steadiness: how they depend on the batch.

    Returns:
        Sentences.
    """
    if random:
        return [
            "randomised output: the artifact answers equal inputs differently; labels here are those of the mean of "
            f"{DRAWS} answers, as an attacker sees who asks more than once. Audit the file without the noise"
        ]
    if steadiness.batch_dependent:
        return [
            f"batch-dependent output: the artifact {steadiness.sentence()}; who is fooled depends on what is asked beside it. "
            "Ask one input at a time (--batch-dependent)"
        ]
    return []


def of_radius(x: npt.NDArray[np.float32], norm: str, eps: float) -> list[str]:
    """Said where the budget lets any input become any other.

    Args:
        x: float32 [n, ...] in [0, 1].
        norm: "linf" or "l2".
        eps: radius in input units.

    Returns:
        One sentence, or none.
    """
    range_of_data = float(x.max() - x.min())
    largest = range_of_data if norm == "linf" else range_of_data * float(np.sqrt(x[0].size))
    if eps < largest or largest == 0:
        return []
    return [
        f"eps {eps:g} is as large as the data's range ({largest:.3g} in {norm}): any input can become any other, which no "
        "model withstands. Use a smaller --eps"
    ]


def rises(accuracy: Mapping[float, float]) -> list[str]:
    """Said where a larger radius seems safer, which can only be a failure of the attack.

    Args:
        accuracy: by radius.

    Returns:
        Sentences.
    """
    return [
        f"non-monotone curve: accuracy rises from {accuracy[small]:.3f} at eps {small:g} to {accuracy[large]:.3f} at "
        f"eps {large:g}, so the attack fails there; use more steps or restarts"
        for small, large in pairwise(sorted(accuracy))
        if accuracy[large] > accuracy[small] + RISING
    ]


def of_scores(climbs_on: str, head: str | None) -> list[str]:
    """Said where answers of the file hide how near its boundary is.

    Args:
        climbs_on: what a search without gradients climbs on, as ``scores_of`` calls it.
        head: of the file, None for none.

    Returns:
        One sentence, or none.
    """
    if climbs_on == THE_FILE:
        return []
    what = f"the head {head} changes the answers" if head is not None else "the answers tell no more than a label"
    return [
        f"hidden scores: {what}, so that nobody sees there how near an input is to another class; attacks climb on the logits "
        "before, which anyone who holds the file can read, and only success is counted on the answers"
    ]


def above_clean(fooled: float, corrected: float) -> list[str]:
    """Said where a step along the gradient makes more labels right than wrong, which can only be a failure of the attack.

    Args:
        fooled: share of the examples that the step fools.
        corrected: share of the examples that are labelled wrongly, and rightly after the step.

    Returns:
        One sentence, or none.
    """
    if corrected <= fooled + RISING:
        return []
    return [
        f"robust above clean: a step along the gradient makes {corrected:.1%} of the examples right that were wrong, and fools "
        f"{fooled:.1%}, so the gradient leads away from errors, and robust accuracy may be too high; compare with Square "
        "(--robust autoattack)"
    ]
