"""LiRA against tensorflow-empirical-privacy, whose module needs no TensorFlow."""

import numpy as np
import pytest
from scipy.stats import norm

from edgepriv.audit.answers import log_odds
from edgepriv.audit.attacks.lira import lira_offline, lira_online

advanced_mia = pytest.importorskip(
    "tensorflow_privacy.privacy.privacy_tests.membership_inference_attack.advanced_mia",
    reason="tensorflow-empirical-privacy is not installed: make oracles",
)


def theirs(evidence, option, variance, centre):
    """Their scores; low for members where both sides are used, hence the sign."""
    references = evidence.references
    columns = range(references.confidence.shape[1])
    inside = [references.confidence[references.member[:, i], i][:, None] for i in columns]
    out = [references.confidence[~references.member[:, i], i][:, None] for i in columns]
    seen = evidence.target.confidence[:, None]
    return -advanced_mia.compute_score_lira(seen, inside, out, option, variance == "fixed", centre)


@pytest.mark.parametrize("variance", ["fixed", "per-example"])
@pytest.mark.parametrize("centre", ["mean", "median"])
def test_online_scores_are_equal(leaky, variance, centre):
    evidence, _ = leaky
    ours = lira_online(evidence, variance, centre, ddof=0)
    np.testing.assert_allclose(ours, theirs(evidence, "both", variance, centre), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("centre", ["mean", "median"])
def test_their_offline_score_is_the_density_where_ours_is_the_tail(leaky, centre):
    """Density and tail belong to the same Gaussian: they differ by the side of the centre, and by a constant."""
    evidence, _ = leaky
    ours = lira_offline(evidence, "fixed", centre, ddof=0)
    density = -theirs(evidence, "out", "fixed", centre)
    spread = np.exp(norm.logpdf(ours) - density)
    np.testing.assert_allclose(spread, spread[0], rtol=1e-6)
    assert (ours > 0).any()
    assert (ours < 0).any()


def test_our_spread_is_wider_by_the_degrees_of_freedom_alone(leaky):
    """Each of the 600 candidates has 20 OUT models: dividing by 19 in place of 20 is all that ours changes."""
    evidence, _ = leaky
    np.testing.assert_allclose(
        lira_offline(evidence, "fixed") * np.sqrt(20 / 19),
        lira_offline(evidence, "fixed", ddof=0),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_log_odds_are_their_statistic(leaky, dtype):
    """Beyond log-odds of 87 a float32 softmax knows nothing, and ours stop there; theirs go on to 103."""
    evidence, _ = leaky
    probabilities, labels = evidence.target.probabilities.astype(dtype), evidence.target.labels
    statistic = advanced_mia.calculate_statistic(probabilities.copy(), labels, is_logits=False, option="logit")
    np.testing.assert_allclose(log_odds(probabilities, labels), statistic, rtol=0, atol=2e-6)


def test_the_same_statistic_is_reached_from_logits():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 4, (500, 10)), rng.integers(10, size=500)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    statistic = advanced_mia.calculate_statistic(logits, labels, is_logits=True, option="logit")
    np.testing.assert_allclose(log_odds(probabilities, labels), statistic, rtol=1e-6, atol=1e-6)
