"""Controls of the attacks that ask again and again: they find what is there, and nothing where nothing is.

No attack sees the evaluated membership, so one audit serves all the truths that are drawn below.
"""

from functools import cache

import numpy as np
import pytest
from queried_models import Ready, ready

from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.attacks.lira import MINIMUM
from edgepriv.audit.run import membership_part
from edgepriv.audit.statistics import auc

# Per-example variances need more reference models than are trained here, for perturbed candidates as for plain ones.
# The inverse Hessian needs a smaller last layer: test_white_box.py. A table has no augmented copies: test_augmented.py.
NAMES = [
    name
    for name, attack in ATTACKS.items()
    if attack.asks not in ("clean", "augmented") and not name.endswith("-per-example") and name != "inverse-hessian"
]
EVERY_ATTACK = pytest.mark.parametrize("name", NAMES)
DRAWS = 200


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    @cache
    def audited(epochs):
        given: Ready = ready(tmp_path_factory.mktemp("fleet"), epochs)
        split = given.split
        content, scores = membership_part(
            given.target,
            given.dataset,
            split.members,
            split.non_members,
            {"adaptive": given.fleet},
            attacks=NAMES,
            recipe=given.recipe,
            pool=split.reference,
        )
        assert content["left_out"] == []
        return scores

    return audited


def share_covered(scores, membership):
    """How often the interval of the AUC holds 0.5 when the truth is drawn anew."""
    rng, covered = np.random.default_rng(1), 0
    for _ in range(DRAWS):
        low, high = auc(scores, rng.permutation(membership))[1]
        covered += low <= 0.5 <= high
    return covered / DRAWS


@EVERY_ATTACK
def test_shuffled_membership_of_a_leaking_model_is_chance_at_the_nominal_rate(name, audited):
    scores = audited(40)
    assert share_covered(scores[f"adaptive/{name}"], scores["member"]) >= 0.9


@EVERY_ATTACK
def test_an_untrained_model_is_chance(name, audited):
    """With a bound of four standard errors of an AUC of 250 against 250: one pair of models, many attacks."""
    scores = audited(0)
    assert abs(auc(scores[f"adaptive/{name}"], scores["member"])[0] - 0.5) < 4 * 0.026
    assert share_covered(scores[f"adaptive/{name}"], scores["member"]) >= 0.9


@EVERY_ATTACK
def test_a_model_that_memorised_random_labels_is_found_out(name, audited):
    scores = audited(40)
    assert auc(scores[f"adaptive/{name}"], scores["member"])[0] > (0.9 if name.startswith("label-only") else 0.95)


def test_per_example_variances_on_perturbed_candidates_need_as_many_references_as_on_plain_ones():
    assert MINIMUM["per-example"] > 2
    assert set(ATTACKS) - set(NAMES) >= {"adversarial/lira-online-per-example", "adversarial/lira-offline-per-example"}
