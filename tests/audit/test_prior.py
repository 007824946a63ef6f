"""Precision at a stated prior: against counts by hand, by simulation, and in the gate."""

import numpy as np
import pytest
from scipy.stats import beta, norm
from sklearn.metrics import precision_score

from edgepriv.audit.gate import exceeded, judged, parse_limit, refuse_without_prior
from edgepriv.audit.prior import UNNAMED, add_precision, at_prior, precision
from edgepriv.errors import UserError
from edgepriv.recipe import written


def sides(positive, negative):
    return np.concatenate([positive, negative]).astype(float), np.arange(len(positive) + len(negative)) < len(positive)


def test_with_as_many_members_as_the_prior_says_it_is_the_plain_precision():
    """100 members among 1,100 records: the share of members among those named needs no weighting."""
    rng = np.random.default_rng(0)
    scores, member = sides(rng.normal(1.5, 1, 100), rng.normal(0, 1, 1000))
    found = precision(scores, member, 0.01, 100 / 1100)
    cut = np.sort(scores[~member])[::-1][10]
    assert found["value"] == pytest.approx(precision_score(member, scores > cut))
    assert found["fpr"] == 0.01


def test_the_interval_joins_those_of_the_two_rates():
    """40 of 100 members and 10 of 1,000 others named; Clopper-Pearson at 97.5% by the beta distribution."""
    scores, member = sides(np.r_[np.full(40, 9.0), np.zeros(60)], np.r_[np.full(10, 8.0), np.linspace(1, 0, 990)])
    found = precision(scores, member, 0.01, 0.02)
    tpr = beta.ppf(0.0125, 40, 61), beta.ppf(0.9875, 41, 60)
    fpr = beta.ppf(0.0125, 10, 991), beta.ppf(0.9875, 11, 990)
    assert found["value"] == pytest.approx(0.02 * 0.4 / (0.02 * 0.4 + 0.98 * 0.01))
    assert found["ci"] == pytest.approx(
        [0.02 * t / (0.02 * t + 0.98 * f) for t, f in ((tpr[0], fpr[1]), (tpr[1], fpr[0]))]
    )


def test_the_interval_covers_the_precision_at_its_own_threshold():
    """True rates of Gaussian scores are known at any threshold."""
    rng, covered = np.random.default_rng(1), 0
    for _ in range(300):
        scores, member = sides(rng.normal(1, 1, 200), rng.normal(0, 1, 500))
        cut = np.sort(scores[~member])[::-1][5]
        tpr, fpr = norm.sf(cut - 1), norm.sf(cut)
        low, high = precision(scores, member, 0.01, 0.1)["ci"]
        covered += low <= 0.1 * tpr / (0.1 * tpr + 0.9 * fpr) <= high
    assert covered >= 276, "fewer come once in 2,000 times where an interval covers 95%"


def test_the_interval_of_all_attacks_divides_the_error_by_their_number():
    """Three attacks that name 40 of 100 members and 10 of 1,000 others: six rates, and 5% for all of them."""
    scores, member = sides(np.r_[np.full(40, 9.0), np.zeros(60)], np.r_[np.full(10, 8.0), np.linspace(1, 0, 990)])
    rows = [{"name": name, "threat_model": "none"} for name in "abc"]
    add_precision(rows, {"member": member} | {f"none/{name}": scores for name in "abc"}, 0.02, [0.01])
    tail = 0.05 / 6 / 2
    low, high = (
        0.02 * t / (0.02 * t + 0.98 * f)
        for t, f in (
            (beta.ppf(tail, 40, 61), beta.isf(tail, 11, 990)),
            (beta.isf(tail, 41, 60), beta.ppf(tail, 10, 991)),
        )
    )
    for row in rows:
        assert row["precision_at_fpr"]["0.01"]["ci_simultaneous"] == pytest.approx([low, high])
    alone = precision(scores, member, 0.01, 0.02)
    assert alone["ci_simultaneous"] == alone["ci"] == rows[0]["precision_at_fpr"]["0.01"]["ci"]


def test_intervals_of_all_attacks_hold_together_and_their_own_do_not():
    """Sixty attacks, 25 runs; so many others that their rate is known. Fewer than 21 come once in 140 times if 95% hold."""
    rng, held, own = np.random.default_rng(0), 0, 0
    others = norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    member = np.arange(10_040) < 40
    cut = others[-501]
    true = at_prior(norm.sf(cut - 1), 0.05, 0.1)
    rows = [{"name": str(k), "threat_model": "none"} for k in range(60)]
    for _ in range(25):
        known = {f"none/{k}": np.r_[rng.normal(1, 1, 40), others] for k in range(60)}
        add_precision(rows, known | {"member": member}, 0.1, [0.05])
        told = [row["precision_at_fpr"]["0.05"] for row in rows]
        held += all(low <= true <= high for low, high in (one["ci_simultaneous"] for one in told))
        own += all(low <= true <= high for low, high in (one["ci"] for one in told))
    assert held >= 21
    assert own < 21, "the attacks' own intervals would have done"


def test_what_cannot_be_said_is_none_with_its_reason():
    scores, member = sides(np.arange(50), np.arange(50))
    assert precision(scores, member, 0.01, 0.1)["note"] == "not resolvable with 50 non-members"
    nobody = precision(np.zeros(300), np.arange(300) < 100, 0.01, 0.1)
    assert (nobody["value"], nobody["note"]) == (None, UNNAMED)


def test_attacks_on_a_part_of_the_candidates_are_judged_on_that_part():
    member = np.arange(400) < 200
    some = np.r_[0:150, 200:350]
    values = np.where(member[some], 1.0, 0.0)
    rows = [{"name": "a", "threat_model": "none"}]
    add_precision(rows, {"member": member, "none/a": values, "none/a/index": some}, 0.01, [0.01])
    assert rows[0]["precision_at_fpr"]["0.01"]["value"] == 1.0


def test_a_limit_on_a_precision_needs_a_prior_and_names_the_attack():
    limit = parse_limit("precision@0.01>0.2")
    with pytest.raises(UserError, match="state that share, such as"):
        refuse_without_prior([limit], None)
    refuse_without_prior([limit], 0.1)
    measured = {"value": 0.3, "ci": [0.2, 0.4], "ci_simultaneous": [0.1, 0.5]}
    row = {"name": "loss", "threat_model": "none", "precision_at_fpr": {"0.01": measured}}
    assert exceeded(judged([limit], {"attacks": [row], "robustness": None})) == [
        "precision@0.01>0.2 is exceeded: 0.3000 [0.1000, 0.5000] (loss, asks for answers)"
    ]


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.5, 5.0, float("nan")])
def test_a_prior_is_a_share(bad):
    with pytest.raises(UserError, match=r"--prior .*: expected a share above 0 and below 1"):
        written.prior(bad)
