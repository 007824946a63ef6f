"""What every attack on arrays has to keep to, and the formulas of the simple ones. What they find: test_controls.py."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from simulated import simulate

from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks import ATTACKS, NEEDS, signals
from edgepriv.audit.evidence import Evidence, PopulationInputs
from edgepriv.audit.statistics import auc, best_threshold
from edgepriv.audit.trained_answers import Shadow

# Those that ask again and again have evidence of their own.
EVERY_ATTACK = pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if attack.asks == "clean"])


@cache
def leaky():
    return simulate(2.0, n=600, releases=True)[0]


@cache
def scores_of(name):
    return ATTACKS[name].run(leaky())


def test_names_are_keys_and_needs_are_known():
    assert all(attack.name == name and attack.needs <= set(NEEDS) for name, attack in ATTACKS.items())


def test_evidence_holds_no_evaluated_membership():
    """A field added to Evidence must be weighed here: an attack may see everything in it."""
    assert {field.name for field in fields(Evidence)} == {
        "target", "shadow", "references", "population", "generated", "inputs", "seed",
        "queried", "adversarial", "labels_only", "lacks", "copies", "releases", "trainings",
    }  # fmt: skip


@EVERY_ATTACK
def test_scores_are_finite_float64_and_repeatable(name):
    scores = scores_of(name)
    assert scores.dtype == np.float64
    assert scores.shape == (600,)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, ATTACKS[name].run(leaky()))


@EVERY_ATTACK
def test_the_order_of_the_candidates_tells_nothing(name):
    """Callers often put all members first."""
    order = np.random.default_rng(0).permutation(600)
    shuffled = ATTACKS[name].run(leaky().take(order))
    np.testing.assert_allclose(shuffled, scores_of(name)[order], rtol=1e-9, atol=1e-9)


@EVERY_ATTACK
def test_equal_evidence_scores_exactly_alike_wherever_it_stands(name):
    """Else the last digits would break ties by the candidates' order."""
    seven = np.random.default_rng(0).integers(0, 7, 203)
    scores = ATTACKS[name].run(leaky().take(seven))
    assert all(len(np.unique(scores[seven == one])) == 1 for one in range(7))


@EVERY_ATTACK
def test_saturated_and_constant_outputs_give_finite_scores(name):
    evidence, _ = simulate(1.0, n=200, releases=True)
    hard = np.eye(10, dtype=np.float32)[evidence.target.labels]
    for probabilities in (hard, np.roll(hard, 1, axis=1), np.full_like(hard, 0.1)):
        same = Outputs(probabilities, evidence.target.labels, scores=1e4 * probabilities.astype(np.float64))
        known = replace(
            evidence,
            target=same,
            shadow=Shadow(same, evidence.shadow.member),
            references=replace(evidence.references, confidence=np.tile(same.confidence, (40, 1))),
            generated=probabilities,
            inputs=PopulationInputs(evidence.inputs.candidates, evidence.inputs.candidates, same),
        )
        assert np.isfinite(ATTACKS[name].run(known)).all()


def test_signals_follow_their_definitions():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    outputs = Outputs(p, np.array([0, 2]))
    np.testing.assert_array_equal(signals.correctness(outputs), [1, 0])
    np.testing.assert_allclose(signals.confidence(outputs), np.log([0.7, 0.3]))
    np.testing.assert_allclose(signals.loss(outputs), np.log([0.7, 0.3]))
    np.testing.assert_allclose(signals.entropy(outputs), (p * np.log(p)).sum(axis=1))
    expected = [
        0.3 * np.log(0.7) + 0.2 * np.log(0.8) + 0.1 * np.log(0.9),
        0.7 * np.log(0.3) + 0.1 * np.log(0.9) + 0.6 * np.log(0.4),
    ]
    np.testing.assert_allclose(signals.modified_entropy(outputs), expected)


def test_loss_and_modified_entropy_still_rank_where_float32_confidence_is_one():
    p = np.array([[1.0, 1e-9], [1.0, 1e-12]], dtype=np.float32)
    outputs = Outputs(p, np.zeros(2, dtype=np.int64))
    for signal in (signals.loss, signals.modified_entropy):
        assert signal(outputs)[0] < signal(outputs)[1] < 0


def test_modified_entropy_keeps_its_digits_where_a_probability_is_one():
    p = np.array([[1.0, 1e-9], [1.0, 1e-9]], dtype=np.float32)
    found = signals.modified_entropy(Outputs(p, np.array([0, 1])))
    np.testing.assert_allclose(found, [-2e-18, 2 * np.log(1e-9)], rtol=1e-6)


def test_scores_before_a_softmax_are_told_apart_where_it_rounds_them_to_one():
    """Differences of 1,000 and 2,000 are both a probability of 1, and everything else of 0, in 32 bits as in 64."""
    outputs = Outputs.of_scores(np.array([[0.0, 1e3, 0.0], [0.0, 2e3, 0.0]]), np.array([1, 1]))
    wrong = Outputs.of_scores(np.array([[0.0, 1e3, 0.0], [0.0, 2e3, 0.0]]), np.array([0, 0]))
    for signal in (signals.confidence, signals.loss):
        assert signal(outputs)[0] <= signal(outputs)[1]
        np.testing.assert_allclose(signal(wrong), [-1e3, -2e3])
    np.testing.assert_allclose(signals.modified_entropy(wrong), [-2e3, -4e3], rtol=1e-2)
    assert list(outputs.predicted) == [1, 1]


def test_a_softmax_hides_how_large_all_scores_are_together():
    """A support vector machine's scores do not sum to anything: their level can tell members where differences do not."""
    rng = np.random.default_rng(0)
    member = np.arange(400) < 200
    labels = rng.integers(3, size=400)
    scores = rng.normal(size=(400, 3)) + 3.0 * member[:, None]
    evidence = Evidence(Outputs.of_scores(scores, labels))
    assert abs(auc(signals.loss(evidence.target), member)[0] - 0.5) < 0.06
    assert auc(ATTACKS["score"].run(evidence), member)[0] > 0.95
    assert auc(ATTACKS["largest-score"].run(evidence), member)[0] > 0.95
    true = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    np.testing.assert_array_equal(ATTACKS["score"].run(evidence), true)
    others = np.where(np.arange(3) == labels[:, None], -np.inf, scores).max(axis=1)
    np.testing.assert_array_equal(ATTACKS["margin"].run(evidence), true - others)


def test_classwise_subtracts_the_shadow_models_threshold_of_each_class():
    evidence, _ = simulate(2.0, n=600)
    known, member, labels = evidence.shadow.outputs.confidence, evidence.shadow.member, evidence.shadow.outputs.labels
    scores = ATTACKS["loss-classwise"].run(evidence)
    known = -np.logaddexp(0, -known)
    for label in range(10):
        threshold = best_threshold(known[labels == label], member[labels == label])
        chosen = evidence.target.labels == label
        np.testing.assert_allclose(scores[chosen], signals.loss(evidence.target)[chosen] - threshold, rtol=1e-5)


def test_classwise_uses_the_common_threshold_for_a_class_the_shadow_lacks():
    evidence, _ = simulate(2.0, n=600)
    seen = evidence.shadow.take(evidence.shadow.outputs.labels != 3)
    scores = ATTACKS["confidence-classwise"].run(replace(evidence, shadow=seen))
    common = best_threshold(signals.confidence(seen.outputs), seen.member)
    chosen = evidence.target.labels == 3
    np.testing.assert_allclose(scores[chosen], signals.confidence(evidence.target)[chosen] - common)


def test_the_network_learns_what_no_single_signal_shows():
    """Members with a flat answer, non-members either sharp or flat in another way: only the vector tells them apart."""
    rng = np.random.default_rng(0)

    def draw():
        member = rng.permutation(600) < 300
        p = rng.dirichlet(np.ones(4), size=600)
        p[member, :2] = np.sort(p[member, :2], axis=1)
        p[~member, :2] = np.sort(p[~member, :2], axis=1)[:, ::-1]
        return Outputs(p, np.zeros(600, dtype=np.int64)), member

    shadow, (target, member) = Shadow(*draw()), draw()
    scores = ATTACKS["shadow-mlp"].run(Evidence(target, shadow=shadow))
    assert auc(scores, member)[0] > 0.95
    assert auc(signals.entropy(target), member)[0] < 0.6
