"""Controls of every attack on arrays: it finds what is there, and nothing where nothing is.

No attack sees the evaluated membership, so one run of it serves all the truths that are drawn below.
"""

from functools import cache

import numpy as np
import pytest
from memorised import CLASSES, memorised
from simulated import simulate

from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.statistics import auc

NAMES = [name for name, attack in ATTACKS.items() if attack.asks == "clean"]
EVERY_ATTACK = pytest.mark.parametrize("name", NAMES)
# Two hundred would leave the share within 0.92 and 0.98 only 19 times of 20.
DRAWS = 400
# Seconds each: fewer seeds, in a wider bound.
SLOW = {"three-subnet", "quantile-regression", "shadow-mlp", "ml-leaks"}


@cache
def evidence_of(steps: int | None) -> tuple[Evidence, np.ndarray]:
    return memorised() if steps is None else memorised(steps=steps)


@cache
def scores_of(name: str, steps: int | None = None) -> np.ndarray:
    return ATTACKS[name].run(evidence_of(steps)[0])


def share_covered(scores: np.ndarray, membership: np.ndarray, draws: int = DRAWS) -> float:
    """How often the interval of the AUC holds 0.5 when the truth is drawn anew."""
    rng, covered = np.random.default_rng(1), 0
    for _ in range(draws):
        low, high = auc(scores, rng.permutation(membership))[1]
        covered += low <= 0.5 <= high
    return covered / draws


@EVERY_ATTACK
def test_shuffled_membership_of_a_leaking_model_is_chance_at_the_nominal_rate(name):
    assert 0.92 <= share_covered(scores_of(name), evidence_of(None)[1]) <= 0.98


@EVERY_ATTACK
def test_an_untrained_model_is_chance_at_the_nominal_rate(name):
    """Of a hundred draws at the nominal rate, fewer than 88 would be covered about once in 700 times."""
    assert share_covered(scores_of(name, 0), evidence_of(0)[1], draws=100) >= 0.88


@EVERY_ATTACK
def test_trained_models_without_an_effect_of_membership_are_chance(name):
    seeds = range(1 if name in SLOW else 4)
    areas = []
    for seed in seeds:
        evidence, membership = simulate(0.0, n=1000, references=34, seed=seed, releases=True)
        areas.append(auc(ATTACKS[name].run(evidence), membership)[0])
    # Standard error of one AUC of 500 against 500: 0.0183. Three of them, for the mean.
    assert abs(np.mean(areas) - 0.5) < 3 * 0.0183 / np.sqrt(len(areas))


@EVERY_ATTACK
def test_a_model_that_memorised_random_labels_is_found_out(name):
    """Of 20 classes: who only sees whether the answer is right stops at 1 - 1/40, because chance is right too."""
    assert auc(scores_of(name), evidence_of(None)[1])[0] > 0.95


def test_the_model_has_memorised_its_members_and_guesses_the_rest():
    evidence, membership = evidence_of(None)
    right = evidence.target.probabilities.argmax(axis=1) == evidence.target.labels
    assert right[membership].all()
    assert abs(right[~membership].mean() - 1 / CLASSES) < 0.05


def test_correctness_reaches_exactly_what_the_accuracies_allow():
    """AUC = 1/2 + (accuracy on members - accuracy on non-members) / 2: with K classes at most 1 - 1/(2K) here."""
    evidence, membership = evidence_of(None)
    right = evidence.target.probabilities.argmax(axis=1) == evidence.target.labels
    gap = right[membership].mean() - right[~membership].mean()
    assert auc(scores_of("correctness"), membership)[0] == pytest.approx(0.5 + gap / 2)


def test_a_stronger_effect_is_seen_better_by_every_attack():
    """Scores point the right way well before everything is memorised."""
    weak, strong = (simulate(effect, n=600, references=34, releases=True) for effect in (1.0, 4.0))
    for name in set(NAMES) - SLOW:
        areas = [auc(ATTACKS[name].run(evidence), membership)[0] for evidence, membership in (weak, strong)]
        assert 0.5 < areas[0] < areas[1], name
