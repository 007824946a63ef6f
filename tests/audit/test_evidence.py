import numpy as np
import pytest
from simulated import simulate

from edgepriv.audit.answers import Outputs, log_odds
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.trained_answers import Population, References, Shadow
from edgepriv.errors import UserError


def test_log_odds_survive_a_float32_softmax_that_rounds_to_one():
    logits = np.array([[30.0, 0.0, 0.0], [0.0, 40.0, 0.0], [5.0, 4.0, 3.0]])
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = (exact / exact.sum(axis=1, keepdims=True)).astype(np.float32)
    assert probabilities[0, 0] == probabilities[1, 1] == 1
    labels = np.array([0, 0, 0])
    expected = [30 - np.log(2), -40, 5 - np.log(np.exp(4) + np.exp(3))]
    np.testing.assert_allclose(log_odds(probabilities, labels), expected, rtol=1e-5)


def test_log_odds_of_exact_zeros_and_ones_are_finite():
    odds = log_odds(np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32), np.array([0, 0]))
    assert np.isfinite(odds).all()
    assert odds[0] == -odds[1] > 87


def test_outputs_of_confidence_keep_the_confidence():
    confidence = np.linspace(-87, 87, 101)
    np.testing.assert_allclose(Outputs.of_confidence(confidence).confidence, confidence, atol=1e-9)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.5, np.nan]], [0], "NaN"),
        ([[3.0, -2.0]], [0], "apply softmax"),
        ([[0.5, 0.2]], [0], "apply softmax"),
        ([[0.5, 0.5]], [2], r"labels must lie in 0\.\.1"),
        ([[1.0]], [0], "K >= 2"),
        ([[0.5, 0.5]], [0, 1], r"got \(1, 2\) and \(2,\)"),
    ],
)
def test_outputs_that_are_not_probabilities_are_refused(probabilities, labels, message):
    with pytest.raises(UserError, match=message):
        Outputs(np.array(probabilities, dtype=np.float32), np.array(labels))


def test_arrays_that_do_not_fit_each_other_are_refused():
    evidence, membership = simulate(0, n=20, references=4)
    references, population = evidence.references, evidence.population
    with pytest.raises(UserError, match="two members and two non-members"):
        Shadow(evidence.target, np.ones(20, dtype=bool))
    with pytest.raises(UserError, match="bool member"):
        References(references.confidence, membership)
    with pytest.raises(UserError, match="training diverged"):
        References(np.full((4, 20), np.nan), references.member)
    with pytest.raises(UserError, match="references cover 20 candidates, the target 10"):
        Evidence(evidence.target.take(np.arange(10)), references=references)
    with pytest.raises(UserError, match="same reference models"):
        Evidence(evidence.target, population=population)
    with pytest.raises(UserError, match="population needs"):
        Population(population.target[:5], population.references)
    with pytest.raises(UserError, match="of the target and of the references, or of neither"):
        Population(population.target, population.references, population.tempered_target)
    with pytest.raises(UserError, match="finite tempered log-odds"):
        References(references.confidence, references.member, references.tempered[:, :, :5])


def test_whom_a_pretended_target_was_trained_on_is_not_told_by_how_many_others_were():
    evidence, _ = simulate(1, n=200, references=6)
    for r in range(6):
        rehearsal, member = evidence.with_reference_as_target(r)
        others = rehearsal.references
        assert (others.inside.sum(axis=0) == 2).all()
        assert (others.out.sum(axis=0) == 2).all()
        assert not (others.inside & others.out).any()
        assert (others.inside <= others.member).all()
        assert not (others.out & others.member).any()
        assert 0 < member.sum() < 200


def test_other_temperatures_follow_the_model_that_plays_the_target():
    evidence, _ = simulate(1, n=20, references=4)
    some = evidence.take(np.arange(5, 10))
    rehearsal, _ = some.with_reference_as_target(2)
    np.testing.assert_array_equal(rehearsal.target.tempered, evidence.references.tempered[:, 2, 5:10])
    np.testing.assert_array_equal(rehearsal.references.tempered, evidence.references.tempered[:, [0, 1, 3], 5:10])
    np.testing.assert_array_equal(rehearsal.population.tempered_target, evidence.population.tempered_references[:, 2])
    np.testing.assert_array_equal(some.target.tempered, evidence.target.tempered[:, 5:10])


def test_a_reference_model_can_play_the_target():
    evidence, _ = simulate(1, n=20, references=4)
    rehearsal, member = evidence.with_reference_as_target(1)
    np.testing.assert_allclose(rehearsal.target.confidence, evidence.references.confidence[1])
    np.testing.assert_array_equal(member, evidence.references.member[1])
    np.testing.assert_array_equal(rehearsal.references.confidence, evidence.references.confidence[[0, 2, 3]])
    np.testing.assert_array_equal(rehearsal.population.target, evidence.population.references[1])
    assert len(rehearsal.population.references) == 3
