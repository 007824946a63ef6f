"""BaVarIA against the integral that its closed form stands for, which shares no line with it."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from simulated import simulate

from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.attacks.lira import MEAN_STRENGTH, STRENGTH

CANDIDATES = 12


def predicted(seen, observed, usual_mean, usual_variance):
    """Density of one more model's log-odds: Bayes' rule model by model, then the variance integrated out numerically."""
    mean, kappa, shape, scale = usual_mean, MEAN_STRENGTH, STRENGTH / 2, STRENGTH / 2 * usual_variance
    for value in seen:
        scale += kappa * (value - mean) ** 2 / (2 * (kappa + 1))
        mean = (kappa * mean + value) / (kappa + 1)
        kappa, shape = kappa + 1, shape + 0.5

    def weighted(log_variance):
        """Normal density of what is observed, inverse gamma density of the variance, and its step on the logarithmic scale."""
        variance = math.exp(log_variance)
        wide = variance * (1 + 1 / kappa)
        likely = math.exp(-((observed - mean) ** 2) / (2 * wide)) / math.sqrt(2 * math.pi * wide)
        prior = shape * math.log(scale) - math.lgamma(shape) - (shape + 1) * log_variance - scale / variance
        return likely * math.exp(prior) * variance

    return quad(weighted, -25, 15, limit=400, epsabs=0, epsrel=1e-9)[0]


@pytest.mark.parametrize("references", [4, 12])
def test_bavaria_is_the_ratio_of_what_normal_inverse_gamma_priors_predict(references):
    evidence, _ = simulate(1.5, n=CANDIDATES, references=references)
    known, observed = evidence.references, evidence.target.confidence
    density = {}
    for side, chosen in (("in", known.member), ("out", ~known.member)):
        groups = [known.confidence[chosen[:, i], i] for i in range(CANDIDATES)]
        if min(map(len, groups)) < 2:
            pytest.skip("the draw leaves a candidate with fewer than two models")
        usual = sum(((group - group.mean()) ** 2).sum() for group in groups) / sum(len(group) - 1 for group in groups)
        middle = np.mean([group.mean() for group in groups])
        density[side] = np.array(
            [predicted(group, seen, middle, usual) for group, seen in zip(groups, observed, strict=True)]
        )
    scores = ATTACKS["bavaria-online"].run(evidence)
    np.testing.assert_allclose(scores, np.log(density["in"]) - np.log(density["out"]), atol=1e-5)


def test_with_few_models_a_mean_is_drawn_towards_the_usual_one_and_with_many_it_is_its_own():
    few, many = (simulate(1.5, n=400, references=count)[0] for count in (4, 64))
    apart = [
        np.abs(ATTACKS["bavaria-online"].run(evidence) - ATTACKS["lira-online"].run(evidence)).mean()
        for evidence in (few, many)
    ]
    assert apart[0] > 3 * apart[1]
