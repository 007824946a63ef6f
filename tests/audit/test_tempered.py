import numpy as np
from scipy.special import log_softmax

from edgepriv.audit.answers import Outputs, log_odds
from edgepriv.audit.tempered import HOTTER, TEMPERATURES, tempered_log_odds


def test_powers_of_probabilities_are_the_softmax_of_divided_logits():
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.normal(size=(2500, 7)), rng.integers(7, size=2500)
    found = tempered_log_odds(np.exp(log_softmax(logits, axis=1)).astype(np.float32), labels)
    assert found.dtype == np.float32
    for temperature, odds in zip(HOTTER, found, strict=True):
        true = np.exp(log_softmax(logits / temperature, axis=1))[np.arange(2500), labels]
        np.testing.assert_allclose(odds, np.log(true) - np.log1p(-true), rtol=1e-4, atol=1e-4)


def test_of_two_classes_log_odds_are_divided_by_the_temperature():
    p = np.array([[0.9, 0.1], [0.3, 0.7]], dtype=np.float32)
    labels = np.array([0, 0])
    expected = log_odds(p, labels)[None] / np.array(HOTTER)[:, None]
    np.testing.assert_allclose(tempered_log_odds(p, labels), expected, rtol=1e-5)


def test_a_head_that_answers_with_zeros_and_ones_gives_finite_log_odds_and_as_many_different_ones_as_it_shows():
    p = np.eye(4, dtype=np.float32)[[0, 1, 2, 0]]
    found = tempered_log_odds(p, np.array([0, 0, 0, 0]))
    assert np.isfinite(found).all()
    for row in found:
        assert row[0] == row[3] > row[1] == row[2]


def test_answers_of_which_only_log_odds_are_kept_keep_those_at_other_temperatures():
    kept = np.arange(5 * len(HOTTER), dtype=np.float32).reshape(len(HOTTER), 5)
    outputs = Outputs.of_confidence(np.linspace(-1, 1, 5), kept)
    np.testing.assert_array_equal(outputs.tempered, kept)
    np.testing.assert_array_equal(outputs.take(np.array([4, 0])).tempered, kept[:, [4, 0]])


def test_the_first_temperature_is_that_of_the_log_odds_themselves():
    assert TEMPERATURES[0] == 1
    assert TEMPERATURES[1:] == HOTTER
