"""What inputs alone explain of an attack is taken from its AUC, and what the model has learnt stays."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from edgepriv.audit.beyond_shift import add_beyond_shift, beyond, overlap, strata_of
from edgepriv.audit.shift import Propensity, shift_part
from edgepriv.audit.statistics import auc
from edgepriv.data import Dataset


def apart(n: int, seed: int, drift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Membership, inputs [2 n, 6] whose first column is moved by ``drift`` spreads for members, and the true propensity."""
    generator = np.random.default_rng(seed)
    member = np.arange(2 * n) < n
    x = generator.normal(size=(2 * n, 6))
    x[:, 0] += drift * member
    return member, x, x[:, 0]  # of two normal distributions of one spread the odds rise with the column


def test_what_only_the_inputs_tell_is_explained():
    """The interval of what is left holds 1/2 in most of forty draws, and that of the whole AUC in none."""
    held, whole = 0, 0
    for seed in range(40):
        member, x, propensity = apart(600, seed, drift=0.8)
        scores = x[:, 0] + 0.5 * x[:, 1]  # of a model that has learnt nothing
        told = beyond(scores, member, propensity)
        held += told["auc_ci"][0] <= 0.5 <= told["auc_ci"][1]
        whole += told["explained_ci"][0] <= 0
        assert told["auc"] + told["explained"] == pytest.approx(roc_auc_score(member, scores))
    assert held >= 32
    assert whole == 0


def test_what_the_model_has_learnt_stays():
    member, _, propensity = apart(2000, 0, drift=0.8)
    learnt = np.random.default_rng(1).normal(size=len(member)) + 0.5 * member
    told = beyond(learnt, member, propensity)
    assert told["auc"] == pytest.approx(roc_auc_score(member, learnt), abs=0.02)
    assert told["auc_ci"][0] > 0.6
    assert told["explained_ci"][0] < 0 < told["explained_ci"][1]


def test_without_a_difference_the_two_intervals_are_alike():
    member, x, _ = apart(1500, 3, drift=0.0)
    area, interval = auc(x[:, 1], member)
    told = beyond(x[:, 1], member, x[:, 2])
    assert told["auc"] == pytest.approx(area, abs=0.01)
    np.testing.assert_allclose(told["auc_ci"], interval, atol=0.01)


def test_records_of_one_person_count_once():
    member, x, propensity = apart(300, 0, drift=0.5)
    again = [np.repeat(values, 4, axis=0) for values in (x[:, 1], member, propensity)]
    person = np.repeat(np.arange(len(member)), 4)
    alone, grouped = beyond(x[:, 1], member, propensity), beyond(*again, person)
    widths = [np.diff(told["auc_ci"])[0] for told in (alone, grouped)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_sides_that_nowhere_meet_cannot_be_compared():
    member = np.arange(400) < 200
    propensity = member + np.random.default_rng(0).random(400)
    scores = {"member": member, "none/loss": propensity}
    rows = [{"threat_model": "none", "name": "loss"}]
    told = add_beyond_shift(rows, scores, Propensity(np.arange(400), propensity))
    assert told["overlap"] < 0.01
    assert rows[0]["beyond_shift"] is None


def test_an_attack_on_some_of_the_records_is_corrected_on_those():
    member, x, propensity = apart(500, 0, drift=0.8)
    some = np.r_[0:300, 500:900]
    seen = np.r_[100:500, 600:1000]
    both = np.intersect1d(some, seen)
    scores = {"member": member, "none/loss": x[some, 0], "none/loss/index": some}
    rows = [{"threat_model": "none", "name": "loss"}]
    add_beyond_shift(rows, scores, Propensity(seen, propensity[seen]))
    told = rows[0]["beyond_shift"]
    assert told["auc"] + told["explained"] == pytest.approx(roc_auc_score(member[both], x[both, 0]))


def test_the_propensity_of_an_audit_explains_a_part_of_what_an_untrained_model_shows():
    """Its classifiers know the propensity with an error, so that a part of the difference stays: more is left, never less."""
    member, x, _ = apart(800, 5, drift=1.0)
    inputs = (1 / (1 + np.exp(-x))).astype(np.float32)
    dataset = Dataset("made up", inputs, np.zeros(len(x), np.int64), ("a", "b"))
    part, propensity = shift_part(dataset, np.flatnonzero(member), np.flatnonzero(~member), 0)
    assert part["found"]
    rows = [{"threat_model": "none", "name": "loss"}]
    told = add_beyond_shift(rows, {"member": member, "none/loss": x[:, 0]}, propensity)
    left = rows[0]["beyond_shift"]
    assert 0.5 < told["overlap"] < 0.9
    assert 0.5 < left["auc"] < roc_auc_score(member, x[:, 0]) - 0.1
    assert left["explained_ci"][0] > 0.05


def test_strata_hold_enough_of_both_and_equal_ones_together():
    member = np.arange(100) < 50
    assert strata_of(np.arange(100.0), member).max() == 1
    np.testing.assert_array_equal(strata_of(np.zeros(100), member), 0)
    assert overlap(np.zeros(100, int), member) == 1
