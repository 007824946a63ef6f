import numpy as np
import pytest

from edgepriv.measure.budget import (
    STARTING,
    Budget,
    Round,
    Setting,
    interval_over_rounds,
    known_to,
    least_seconds,
    next_setting,
    remarks,
)

ONE, MANY = Setting(threads=1, batch=1), Setting(threads=1, batch=32)


def round_of(seconds=1.0, **p50):
    return Round(seconds, {name: {"latency_ms": {"p50": value}} for name, value in p50.items()})


def test_the_interval_covers_the_true_ratio_as_often_as_it_says():
    generator = np.random.default_rng(0)
    for rounds in (3, 5, 8):
        intervals = [interval_over_rounds(generator.lognormal(0, 0.1, rounds)) for _ in range(1000)]
        assert 0.91 <= np.mean([each.low <= 1 <= each.high for each in intervals]) <= 0.975


def test_one_busy_round_of_five_does_not_widen_the_interval_much():
    calm = interval_over_rounds([1.0, 1.01, 1.02, 1.03, 1.04])
    busy = interval_over_rounds([1.0, 1.01, 1.02, 1.03, 9.0])
    assert busy.centre == pytest.approx(calm.centre)
    assert busy.half_width == pytest.approx(calm.half_width)


def test_equal_rounds_have_an_interval_without_width_and_one_round_has_none():
    assert interval_over_rounds([2.0, 2.0, 2.0]).half_width == 0
    assert interval_over_rounds([2.0]) is None
    assert known_to([round_of(float=1.0, small=2.0)], "float") is None


def test_a_file_alone_is_measured_until_its_own_latency_is_known():
    assert known_to([round_of(float=1.0), round_of(float=1.0)], "float") == 0
    assert known_to([round_of(float=1.0), round_of(float=3.0)], "float") > 1


def test_every_setting_is_measured_once_then_what_is_unsure_and_had_the_least_time():
    sure, unsure = round_of(2.0, float=1.0, small=1.0), round_of(2.0, float=1.0, small=1.5)
    assert next_setting({ONE: [sure], MANY: []}, "float", 60, 0.05) == MANY
    assert next_setting({ONE: [sure, unsure], MANY: [sure]}, "float", 60, 0.05) == MANY
    assert next_setting({ONE: [sure] * 3, MANY: [sure, unsure] * 2}, "float", 60, 0.05) == MANY
    assert next_setting({ONE: [sure] * 3, MANY: [sure] * 3}, "float", 60, 0.05) is None


def test_time_goes_where_it_narrows_most_and_not_into_what_is_known():
    def rounds(seconds, *values):
        return [round_of(seconds, float=1.0, small=value) for value in values]

    known, nearly, unknown = (rounds(3.0, 1, 1, 1), rounds(3.0, 1, 1.04, 1, 1.04), rounds(9.0, 1, 1.5, 1))
    assert next_setting({ONE: known, MANY: unknown}, "float", 60, 0.05) == MANY
    assert next_setting({ONE: nearly, MANY: unknown}, "float", 60, 0.05) == MANY
    # What is left is too short for a round of many.
    assert next_setting({ONE: rounds(3.0, 1, 1.2, 1), MANY: unknown}, "float", 10, 0.05) == ONE


def test_three_rounds_are_the_least_where_there_is_time():
    equal = round_of(2.0, float=1.0, small=1.0)
    assert next_setting({ONE: [equal] * 2}, "float", 60, 0.05) == ONE
    assert next_setting({ONE: [equal] * 2}, "float", 1.9, 0.05) is None


def test_a_batch_that_would_take_too_long_is_left_out_and_named():
    slow = round_of(9.0, float=500.0, small=500.0)
    assert least_seconds(MANY, {ONE: [slow], MANY: []}) == 2 * STARTING + 2 * 32 * 1.0
    assert next_setting({ONE: [slow] * 3, MANY: []}, "float", 33, 0.05) is None
    assert remarks({ONE: [slow] * 3, MANY: []}, "float", Budget()) == [
        "batch 32, 1 thread: not timed, since one round would take about 65 s; a longer --time leaves room for it"
    ]


def test_something_is_measured_however_little_time_there_is():
    assert next_setting({MANY: []}, "float", 0, 0.05) == MANY


def test_what_is_not_known_well_enough_is_said_with_its_width():
    rounds = [round_of(float=1.0, small=value) for value in (1.0, 1.5, 1.0, 1.5)]
    (said,) = remarks({ONE: rounds}, "float", Budget())
    assert said.startswith("batch 1, 1 thread: the ratio is known to ±")
    assert "after 4 rounds" in said
