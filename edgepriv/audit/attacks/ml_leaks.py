"""ML-Leaks (Salem et al. 2019): the largest probabilities, whatever classes they stand for."""

import numpy as np
import numpy.typing as npt

from edgepriv.audit.answers import Floats
from edgepriv.audit.attacks.shadow_mlp import shadow_mlp
from edgepriv.audit.evidence import Evidence

LARGEST = 3


def largest(probabilities: npt.NDArray[np.floating]) -> Floats:
    """The three largest probabilities (two if K is 2).

    Args:
        probabilities: float [n, K].

    Returns:
        float64 [n, 3], falling; [n, 2] if K is 2.
    """
    kept = min(LARGEST, probabilities.shape[1])
    top = np.partition(probabilities, -kept, axis=1)[:, -kept:]
    return -np.sort(-top.astype(np.float64), axis=1)


def ml_leaks(evidence: Evidence) -> Floats:
    """P(member) by a network that saw a shadow model's three largest probabilities (adversary 1, section III).

    Ding et al. 2023, section 4.4.1, attack with it too. A multilayer perceptron with 64 hidden units, as printed;
    optimiser and length of training, which are not, as in ``shadow_mlp``. No label is used, though that paper's
    attacker knows it.

    Args:
        evidence: with a shadow model.

    Returns:
        float64 [n] in [0, 1].

    Raises:
        Unavailable: without a shadow model, or with one of another number of classes.
    """
    return shadow_mlp(evidence, largest)
