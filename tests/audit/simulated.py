"""Evidence drawn from Gaussian logits, in which membership raises the true class's logit by a chosen amount."""

from dataclasses import replace

import numpy as np

from edgepriv.audit.answers import Outputs
from edgepriv.audit.evidence import Evidence, PopulationInputs
from edgepriv.audit.trained_answers import Population, References, Shadow


def simulate(
    effect: float,
    *,
    n: int = 1000,
    references: int = 40,
    classes: int = 10,
    accuracy_shift: float = 2.0,
    seed: int = 0,
    releases: bool = False,
) -> tuple[Evidence, np.ndarray]:
    """Evidence on n candidates and their membership; every example has its own difficulty, shared by all models.

    ``releases``: with a second release of the same training, and a third of another.
    """
    rng = np.random.default_rng(seed)

    def examples(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(classes, size=count)
        logits = rng.normal(size=(count, classes))
        logits[np.arange(count), labels] += accuracy_shift + 1.5 * rng.normal(size=count)
        return logits, labels

    def answers(logits: np.ndarray, labels: np.ndarray, member: np.ndarray) -> Outputs:
        noisy = logits + 0.7 * rng.normal(size=logits.shape)
        noisy[np.arange(len(labels)), labels] += effect * member
        powers = np.exp(noisy - noisy.max(axis=1, keepdims=True))
        return Outputs((powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels, scores=noisy)

    def half(count: int) -> np.ndarray:
        return rng.permutation(count) < count // 2

    def seen_from_outside(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        true = logits[np.arange(len(labels)), labels]
        return np.stack([true, np.partition(logits, -2, axis=1)[:, -2]], axis=1).astype(np.float32)

    candidates, shadows, strangers = examples(n), examples(n), examples(500)
    membership, nobody = half(n), np.zeros(500, dtype=bool)
    # Half of the reference models are trained on each candidate.
    trained_on = np.argsort(rng.random((references, n)), axis=0) < references // 2
    shadow_member = half(n)
    seen = [answers(*candidates, member) for member in trained_on]
    strange = [answers(*strangers, nobody) for _ in trained_on]
    target_on_strangers = answers(*strangers, nobody)
    evidence = Evidence(
        target=answers(*candidates, membership),
        shadow=Shadow(answers(*shadows, shadow_member), shadow_member),
        references=References(
            np.stack([each.confidence for each in seen]),
            trained_on,
            np.stack([each.tempered for each in seen], axis=1),
        ),
        population=Population(
            target_on_strangers.confidence,
            np.stack([each.confidence for each in strange]),
            target_on_strangers.tempered,
            np.stack([each.tempered for each in strange], axis=1),
        ),
        generated=target_on_strangers.probabilities,
        inputs=PopulationInputs(seen_from_outside(*candidates), seen_from_outside(*strangers), target_on_strangers),
    )
    if not releases:
        return evidence, membership

    def release() -> Evidence:
        known = [answers(*candidates, member) for member in trained_on]
        odds, hot = np.stack([each.confidence for each in known]), np.stack([each.tempered for each in known], axis=1)
        return Evidence(answers(*candidates, membership), references=References(odds, trained_on, hot))

    return replace(evidence, releases=(release(), release()), trainings=(0, 0, 1)), membership
