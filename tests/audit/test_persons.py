"""Records of one person are alike: intervals, tests of chance and the table by person know it."""

import numpy as np
import pytest
from scipy.stats import norm

from edgepriv.accuracy import effective
from edgepriv.audit import shift, statistics
from edgepriv.audit.answers import Outputs
from edgepriv.audit.assess import assess, select, utility
from edgepriv.audit.clustered import of_persons, variance_of_mean
from edgepriv.audit.dp_guarantee import compare_with_guarantee
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.persons import persons_part
from edgepriv.audit.shift import shift_part
from edgepriv.audit.significance import p_value
from edgepriv.audit.statistics import halves, halves_of_pairs
from edgepriv.audit.trained_answers import Shadow
from edgepriv.data import checked


def simulated(persons, seed=0, gap=0.0, alike=0.9):
    """Scores [n], membership [n] and groups [n] of persons with 3 to 10 records, half of them members."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(persons), rng.integers(3, 11, persons))
    inside = rng.permutation(persons) % 2 == 0
    own = rng.normal(size=persons) + gap * inside
    return alike * own[groups] + (1 - alike) * rng.normal(size=len(groups)), inside[groups], groups


def test_copies_of_each_record_change_no_interval():
    rng = np.random.default_rng(0)
    member = np.arange(200) < 90
    scores = rng.normal(size=200) + member
    copies = np.repeat(np.arange(200), 5)
    area, interval = statistics.auc(scores[copies], member[copies], copies)
    assert (area, *interval) == pytest.approx((lambda area, ends: (area, *ends))(*statistics.auc(scores, member)))
    alone, many = (
        statistics.tpr_at_fpr(s, m, 0.05, g)["ci"]
        for s, m, g in ((scores, member, None), (scores[copies], member[copies], copies))
    )
    assert many == pytest.approx(alone, abs=0.004)


def test_records_that_are_strangers_keep_their_number():
    hits = np.random.default_rng(0).random(500) < 0.3
    assert effective(hits, np.arange(500)) == pytest.approx((hits.sum(), 500))
    assert variance_of_mean(hits.astype(float), np.arange(500)) == pytest.approx(hits.var(ddof=1) / 500)


def test_rao_and_scott_by_hand():
    """Of 30 persons with 4 records each, 12 are hits throughout: v = 30/29 (12 * 2.4^2 + 18 * 1.6^2) / 120^2."""
    hits = np.repeat(np.arange(30) < 12, 4)
    effect = 30 / 29 * (12 * 2.4**2 + 18 * 1.6**2) / 120**2 / (0.4 * 0.6 / 119)
    assert effective(hits, np.repeat(np.arange(30), 4)) == pytest.approx((48 / effect, 120 / effect))
    # Of 3 persons who are ever wrong nothing can be said but that records may be copies of each other.
    assert effective(np.arange(40) < 34, np.arange(40) // 2) == pytest.approx((17, 20))


def test_the_interval_of_an_area_covers_it_as_often_as_it_says():
    truth, inside = norm.cdf(1 / np.sqrt(2)), [0, 0]
    for seed in range(100):
        scores, member, groups = simulated(60, seed, gap=1.0, alike=1.0)
        for place, known in enumerate((None, groups)):
            low, high = statistics.auc(scores, member, known)[1]
            inside[place] += low <= truth <= high
    assert inside[0] < 75 < 90 <= inside[1]


def test_the_mean_of_a_persons_records_is_her_score():
    scores, member = of_persons(np.array([1.0, 3.0, 5.0]), np.array([True, True, False]), np.array([7, 7, 2]))
    assert (scores.tolist(), member.tolist()) == ([5.0, 2.0], [False, True])


def outputs(scores):
    p = 1 / (1 + np.exp(-scores))
    return Outputs(np.stack([1 - p, p], axis=1), np.ones(len(p), dtype=np.int64))


def test_who_is_a_member_by_chance_is_called_guessing():
    """Persons are shuffled, records are not: a test of records finds leakage where there is none."""
    found = np.zeros(2)
    for seed in range(60):
        scores, member, groups = simulated(60, seed, alike=0.98)
        for place, known in enumerate((None, groups)):
            found[place] += p_value(*of_persons(scores, member, known), (0.01,))[0] < 0.05
    assert found[1] <= 7 < 20 < found[0]
    scores, member, groups = simulated(60, 3, alike=0.98)
    rows = [
        assess(Evidence(outputs(scores)), member, attacks=["loss"], threat_model="none", groups=known).attacks[0]
        for known in (None, groups)
    ]
    assert rows[0]["p_value"] < rows[1]["p_value"]
    assert rows[0]["epsilon_lower_bound"] >= rows[1]["epsilon_lower_bound"]


def test_all_records_of_a_person_tell_more_than_one():
    scores, member, groups = simulated(200, gap=1.5, alike=0.4)
    part = assess(Evidence(outputs(scores)), member, attacks=select("quick"), threat_model="none", groups=groups)
    rows = [row | {"p_adjusted": row["p_value"]} for row in part.attacks]
    found = persons_part(rows, {f"none/{name}": each for name, each in part.scores.items()}, member, groups)
    assert (found["members"], found["non_members"], found["records"][0], found["records"][2]) == (100, 100, 3, 10)
    loss = next(row for row in found["rows"] if row["name"] == "loss")
    assert loss["auc"] > loss["record_auc"] + 0.05
    assert loss["tpr_at_fpr"]["0.001"]["note"] == "not resolvable with 100 persons who are no members"
    assert part.attacks[0]["n_member_persons"] == 100
    assert persons_part(rows, {}, member, None) == {}


def test_accuracy_has_a_wider_interval_where_records_belong_to_persons():
    scores, member, groups = simulated(60)
    alone, together = (utility(outputs(scores), member, known)["non_member_accuracy_ci"] for known in (None, groups))
    assert together[0] < alone[0] < alone[1] < together[1]


def test_near_copies_of_members_are_no_shift():
    rng = np.random.default_rng(0)
    groups = np.arange(400) // 8
    x = np.clip(rng.random((50, 20))[groups] + rng.normal(0, 0.01, (400, 20)), 0, 1)
    dataset = checked("scans", x, rng.integers(0, 2, 50)[groups])
    known = type(dataset)(**{**dataset.__dict__, "groups": groups})
    assert shift_part(dataset, np.arange(200), np.arange(200, 400), 0)[0]["found"]
    assert not shift_part(known, np.arange(200), np.arange(200, 400), 0)[0]["found"]


def test_the_proof_for_a_record_is_weaker_for_a_person():
    scores, member, groups = simulated(400, gap=4.0)
    told = {"none/loss": scores, "member": member}
    dp = {"epsilon": 1.0, "delta": 1e-9}
    rows = [{"name": "loss", "threat_model": "none"}]
    by_record, by_person = (compare_with_guarantee(dp, rows, each, 0) for each in (told, told | {"group": groups}))
    assert by_record["warning"]
    assert by_person["warning"] is None
    assert by_person["epsilon_of_a_person"] == by_person["records_of_a_person"] == 10


def test_two_persons_of_each_side_are_one_in_each_half():
    rng = np.random.default_rng(1)
    x, groups = rng.random((120, 6)).astype(np.float32), np.repeat([0, 1, 2, 3, 4], [30, 30, 30, 20, 10])
    x[110] = x[109]  # person 4 has a record of person 3
    member = groups < 2
    for seed in range(8):
        half = shift._half_of(shift._together(x, groups), member, seed)
        assert {len(np.unique(half[groups == person])) for person in range(5)} == {1}
        assert half[0] != half[30]
        assert half[60] != half[90] == half[110]


def test_a_shadow_model_is_cut_by_persons_where_each_half_gets_some():
    scores, member, groups = simulated(40)
    shadow = Shadow(outputs(scores), member, groups)
    half = halves_of_pairs(shadow.member, 0, shadow.groups)
    assert not np.intersect1d(groups[half], groups[~half]).size
    assert shadow.take(half).groups is not None
    one_alone = np.where(member, 0, 1 + groups)
    cut = halves(member, 0, one_alone)  # a single person cannot be cut otherwise than by records
    assert 0 < (cut & member).sum() < member.sum()
    assert halves_of_pairs(member, 0, np.where(member, 0, 1)) is not None
    assert halves_of_pairs(np.array([True] * 4 + [False] * 3), 0) is None
