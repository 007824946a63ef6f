"""Intervals that hold for the attack that was chosen because it looked best."""

import numpy as np
import pytest
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score

from edgepriv.audit import selected, statistics
from edgepriv.audit.selected import add_simultaneous, contributions, critical_value
from edgepriv.audit.significance import holm

FPRS = (0.1,)


def area(values, member):
    """Mann and Whitney's statistic: scikit-learn's function takes most of a simulation's time."""
    inside = int(member.sum())
    return (rankdata(values)[member].sum() - inside * (inside + 1) / 2) / (inside * int((~member).sum()))


def rows_of(scores, member):
    return [
        {
            "threat_model": "none",
            "name": name,
            "auc": area(values, member),
            "tpr_at_fpr": {str(fpr): statistics.tpr_at_fpr(values, member, fpr) for fpr in FPRS},
        }
        for name, values in scores.items()
    ]


def audited(scores, member, seed=0):
    rows = rows_of(scores, member)
    known = {"member": member} | {f"none/{name}": values for name, values in scores.items()}
    return rows, add_simultaneous(rows, known, FPRS, seed)


def test_contributions_are_delongs_variance():
    rng = np.random.default_rng(0)
    member = np.arange(120) < 50
    scores = rng.normal(size=120) + member
    x, y = scores[member], scores[~member]
    beats = (x[:, None] > y[None]).astype(float)
    delong = beats.mean(axis=1).var(ddof=1) / 50 + beats.mean(axis=0).var(ddof=1) / 70
    assert (contributions(scores, member) ** 2).sum() == pytest.approx(delong)


def test_one_attack_pays_nothing_and_copies_pay_for_one():
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(1, 400))
    one, copies = (critical_value(np.repeat(errors, many, axis=0), 0) for many in (1, 40))
    assert copies == pytest.approx(one)
    assert one == pytest.approx(norm.ppf(0.975), abs=0.12)
    assert norm.ppf(0.975) <= one


def test_attacks_that_differ_pay_as_many_tries():
    """Forty independent attacks: Sidak's quantile."""
    errors = np.random.default_rng(0).normal(size=(40, 2000))
    assert critical_value(errors, 0) == pytest.approx(norm.ppf(1 - (1 - 0.95 ** (1 / 40)) / 2), abs=0.12)


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_the_interval_of_the_strongest_of_many_holds_and_its_own_does_not(alike, monkeypatch):
    """Thirty attacks of AUC 0.64: the largest is chosen. Fewer than 33 of 40 come once in 300 times at 95%."""
    monkeypatch.setattr(selected, "DRAWS", 400)
    true, runs = norm.cdf(0.5 / np.sqrt(2)), 40
    rng, held, own = np.random.default_rng(1), 0, 0
    member = np.arange(300) < 150
    for run in range(runs):
        noise = np.sqrt(alike) * rng.normal(size=300) + np.sqrt(1 - alike) * rng.normal(size=(30, 300))
        scores = {f"a{k}": values + 0.5 * member for k, values in enumerate(noise)}
        rows, _ = audited(scores, member, run)
        best = max(rows, key=lambda row: row["auc"])
        low, high = best["auc_ci_simultaneous"]
        held += low <= true <= high
        low, high = statistics.auc(scores[best["name"]], member)[1]
        own += low <= true <= high
    assert held >= 33
    if alike == 0:
        assert own < 33, "the attack's own interval would have done"


def test_rates_are_corrected_by_their_number():
    member = np.arange(200) < 100
    scores = {f"a{k}": np.random.default_rng(k).normal(size=200) + member for k in range(10)}
    rows, told = audited(scores, member)
    rate = rows[0]["tpr_at_fpr"]["0.1"]
    assert rate["ci_simultaneous"] == pytest.approx(
        list(statistics.clopper_pearson(rate["value"] * 100, 100, 0.05 / 10))
    )
    assert told["attacks"] == 10
    assert rate["ci_simultaneous"][0] < rate["ci"][0]


def test_perfect_and_constant_attacks_have_intervals_too():
    member = np.arange(100) < 50
    rows, _ = audited({"all": member + 0.0, "none": np.zeros(100)}, member)
    assert rows[0]["auc_ci_simultaneous"][0] > 0.85
    assert rows[1]["auc_ci_simultaneous"][0] < 0.5 < rows[1]["auc_ci_simultaneous"][1]


def test_attacks_on_a_part_of_the_candidates_count_those():
    rng = np.random.default_rng(0)
    member = np.arange(400) < 200
    some = np.r_[0:100, 200:300]
    values = rng.normal(size=200) + member[some]
    rows = [{"threat_model": "none", "name": "a", "auc": roc_auc_score(member[some], values)} | {"tpr_at_fpr": {}}]
    add_simultaneous(rows, {"member": member, "none/a": values, "none/a/index": some}, (), 0)
    alone = statistics.auc(values, member[some])[1]
    assert rows[0]["auc_ci_simultaneous"] == pytest.approx(list(alone), abs=0.01)


def test_holm_and_the_intervals_are_of_as_many_attacks():
    assert holm([0.01] * 4) == pytest.approx([0.04] * 4)
