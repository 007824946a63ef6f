"""Logarithms of probabilities, exact where the probabilities themselves are rounded to 0 or 1.

A model that is nearly certain of two examples returns 1 for both of them; what it gave to the other classes still differs.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def of_scores(scores: Floats) -> Floats:
    """Log-softmax.

    Args:
        scores: float64 [n, K], finite.

    Returns:
        float64 [n, K] <= 0.
    """
    rows, top = np.arange(len(scores)), scores.argmax(axis=1)
    below = scores - scores[rows, top][:, None]
    powers = np.exp(below)
    powers[rows, top] = 0.0
    log_probabilities: Floats = below - np.log1p(powers.sum(axis=1, keepdims=True))
    return log_probabilities


def of_probabilities(probabilities: npt.NDArray[np.floating]) -> Floats:
    """Logarithms of probabilities.

    The largest of a row is one less the sum of the others, which has more digits than itself.

    Args:
        probabilities: [n, K], rows sum to 1; a 0 counts as the smallest normal number of its type.

    Returns:
        float64 [n, K] <= 0.
    """
    p = probabilities.astype(np.float64)
    log_probabilities: Floats = np.log(np.maximum(p, float(np.finfo(probabilities.dtype).tiny)))
    rows, top = np.arange(len(p)), p.argmax(axis=1)
    largest = p[rows, top]
    p[rows, top] = 0.0
    log_probabilities[rows, top] = -np.log1p(p.sum(axis=1) / largest)
    return log_probabilities


def of_others(logarithms: Floats, classes: npt.NDArray[np.integer]) -> Floats:
    """Logarithm of the sum of all probabilities but one.

    Args:
        logarithms: [n, K] of all of them.
        classes: int [n], of the one that is left out.

    Returns:
        float64 [n].
    """
    others = logarithms.copy()
    others[np.arange(len(classes)), classes] = -np.inf
    log_probability: Floats = np.logaddexp.reduce(others, axis=1)
    return log_probability
