"""One number read off the target's answer: no model is trained to attack.

All of them are computed from logarithms, so that they still tell answers apart that are rounded to the same probabilities.

Sources: Yeom et al. 2018 (correctness, loss); Song & Mittal 2021 (confidence, entropy, modified entropy); Salem et al. 2019
(largest probability). The scores before the softmax hold what it takes away: how large all of them are together, which the
losses of support vector machines and of one-against-all classifiers drive up for members.
"""

import numpy as np

from edgepriv.audit import logarithms
from edgepriv.audit.answers import Floats, Outputs
from edgepriv.audit.evidence import Evidence


def correctness(outputs: Outputs) -> Floats:
    """1 where the predicted class is the true one, else 0 (the gap attack).

    Args:
        outputs: the target's answers to n candidates.

    Returns:
        float64 [n], 0 or 1.
    """
    correct: Floats = (outputs.predicted == outputs.labels).astype(np.float64)
    return correct


def confidence(outputs: Outputs) -> Floats:
    """Logarithm of the true class's probability, which ranks as the probability does, without saturating near 0 or 1.

    Args:
        outputs: the target's answers to n candidates.

    Returns:
        float64 [n] <= 0, in nats.
    """
    return loss(outputs)


def loss(outputs: Outputs) -> Floats:
    """Negative cross-entropy log p_y.

    Args:
        outputs: the target's answers to n candidates.

    Returns:
        float64 [n] <= 0, in nats.
    """
    return outputs.log_probabilities[np.arange(len(outputs.labels)), outputs.labels]


def entropy(outputs: Outputs) -> Floats:
    """Negative entropy: sum of p_i log p_i.

    Args:
        outputs: the target's answers to n candidates.

    Returns:
        float64 [n] in [-log K, 0], in nats.
    """
    logs = outputs.log_probabilities
    negative_entropy: Floats = (np.exp(logs) * logs).sum(axis=1)
    return negative_entropy


def modified_entropy(outputs: Outputs) -> Floats:
    """Negative modified entropy (Song & Mittal 2021): (1 - p_y) log p_y + sum over i != y of p_i log(1 - p_i).

    Unlike the entropy it tells a confident right answer (0) from a confident wrong one (very negative).

    Args:
        outputs: the target's answers to n candidates.

    Returns:
        float64 [n] <= 0, in nats.
    """
    logs = outputs.log_probabilities
    rows, p = np.arange(len(logs)), np.exp(logs)
    top = logs.argmax(axis=1)
    # Only the largest probability can be so near to 1 that 1 - p loses its digits: there, sum the others instead.
    rest, safe = 1 - p, p.copy()
    safe[rows, top] = 0.0
    log_rest = np.log1p(-safe)
    log_rest[rows, top] = logarithms.of_others(logs, top)
    rest[rows, top] = np.exp(log_rest[rows, top])
    terms = p * log_rest
    terms[rows, outputs.labels] = rest[rows, outputs.labels] * loss(outputs)
    negative_entropy: Floats = terms.sum(axis=1)
    return negative_entropy


def top_one(outputs: Outputs) -> Floats:
    """Logarithm of the largest probability. No label is used.

    Salem et al. 2019, adversary 3, section V: the maximum posterior against a threshold.

    Args:
        outputs: the target's answers to n candidates.

    Returns:
        float64 [n] in [-log K, 0], in nats.
    """
    largest: Floats = outputs.log_probabilities.max(axis=1)
    return largest


def score(evidence: Evidence) -> Floats:
    """The true class's score, as the file returns it.

    Args:
        evidence: of a target that returns scores which are no probabilities; ValueError otherwise.

    Returns:
        float64 [n], in the file's units.
    """
    return _scores(evidence)[np.arange(len(evidence.target.labels)), evidence.target.labels]


def margin(evidence: Evidence) -> Floats:
    """The true class's score less the largest of the others (the hinge of Carlini et al. 2022).

    Args:
        evidence: of a target that returns scores which are no probabilities; ValueError otherwise.

    Returns:
        float64 [n], in the file's units; > 0 for a right answer.
    """
    scores, rows = _scores(evidence).copy(), np.arange(len(evidence.target.labels))
    true = scores[rows, evidence.target.labels]
    scores[rows, evidence.target.labels] = -np.inf
    margins: Floats = true - scores.max(axis=1)
    return margins


def largest_score(evidence: Evidence) -> Floats:
    """The largest score, as the file returns it. No label is used.

    Args:
        evidence: of a target that returns scores which are no probabilities; ValueError otherwise.

    Returns:
        float64 [n], in the file's units.
    """
    largest: Floats = _scores(evidence).max(axis=1)
    return largest


def _scores(evidence: Evidence) -> Floats:
    if evidence.target.scores is None:
        raise ValueError("needs scores")
    return evidence.target.scores
