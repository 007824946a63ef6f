import numpy as np
import pytest

from edgepriv.paired import loss


def test_two_models_that_are_right_on_the_same_records_differ_by_noise():
    right = np.arange(1000) % 4 > 0
    lost = loss(right, right)
    assert lost["points"] == 0
    assert lost["within_noise"]
    assert lost["ci"][0] < 0 < lost["ci"][1] < 0.4


def test_the_interval_is_bonett_and_price_s():
    before, after = np.zeros(200, bool), np.zeros(200, bool)
    before[:59], after[:43] = True, True  # 16 lost, none won: Bonett & Price's adjusted Wald interval, by hand
    lost = loss(before, after)
    p12, p21 = 17 / 202, 1 / 202
    reach = 1.959964 * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / 202)
    assert lost["points"] == pytest.approx(8)
    assert lost["ci"] == pytest.approx([100 * (p12 - p21 - reach), 100 * (p12 - p21 + reach)], rel=1e-6)
    assert not lost["within_noise"]


def test_records_of_one_person_count_for_fewer():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    before = np.ones(1000, bool)
    after = ~np.repeat(rng.random(100) < 0.2, 10)  # all records of a person are lost together
    alone, together = loss(before, after), loss(before, after, groups)
    assert np.ptp(together["ci"]) > 2.5 * np.ptp(alone["ci"])
    assert together["points"] == alone["points"]
