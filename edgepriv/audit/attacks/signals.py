"""One number read off the target's answer: no model is trained to attack.

Sources: Yeom et al. 2018 (correctness, loss); Song & Mittal 2021 (confidence, entropy, modified entropy).
"""

import numpy as np

from edgepriv.audit.answers import Floats, Outputs
from edgepriv.audit.tempered import FLOOR


def correctness(outputs: Outputs) -> Floats:
    """1 where the predicted class is the true one, else 0 (the gap attack)."""
    return (outputs.probabilities.argmax(axis=1) == outputs.labels).astype(np.float64)


def confidence(outputs: Outputs) -> Floats:
    """Probability of the true class, in [0, 1]."""
    return np.exp(loss(outputs))


def loss(outputs: Outputs) -> Floats:
    """Negative cross-entropy log p_y <= 0; ranks as ``confidence`` does, but does not saturate near 1."""
    return -np.logaddexp(0.0, -outputs.confidence)


def entropy(outputs: Outputs) -> Floats:
    """Negative entropy: sum of p_i log p_i, in nats."""
    p = outputs.probabilities.astype(np.float64)
    return (p * np.log(np.maximum(p, FLOOR))).sum(axis=1)


def modified_entropy(outputs: Outputs) -> Floats:
    """Negative modified entropy (Song & Mittal 2021): (1 - p_y) log p_y + sum over i != y of p_i log(1 - p_i).

    Unlike the entropy it tells a confident right answer (0) from a confident wrong one (very negative).
    """
    rows, p = np.arange(len(outputs.labels)), outputs.probabilities.astype(np.float64)
    rest = 1 - p
    # Only the largest probability can be so near to 1 that 1 - p loses its digits: there, sum the others instead.
    top, others = p.argmax(axis=1), p.copy()
    others[rows, top] = 0.0
    rest[rows, top] = others.sum(axis=1)
    terms = p * np.log(np.maximum(rest, FLOOR))
    terms[rows, outputs.labels] = rest[rows, outputs.labels] * loss(outputs)
    return terms.sum(axis=1)
