"""How long steps will take, by those that were timed."""

from edgepriv.tuning.clock import LEAKED, MADE, Clock


def test_what_comes_once_is_not_counted_for_each_epoch():
    clock = Clock(600.0)
    assert clock.about(MADE, 12) is None
    clock.learn(MADE, 1, 20.0)
    assert clock.about(MADE, 12) == 240.0  # how much of it comes once is not known
    clock.each = 0.5
    assert clock.about(MADE, 12) == 20.0 + 11 * 2 * 0.5
    assert clock.about(MADE, 1) == 20.0
    clock.learn(MADE, 4, 26.0)  # 2 seconds for each pass, more than was timed
    assert clock.about(MADE, 12) == 26.0 + 8 * 2 * 2.0
    clock.learn(MADE, 12, 18.0)  # a quick one does not make those with fewer passes quicker
    assert clock.about(MADE, 12) == 26.0


def test_other_steps_follow_the_passes():
    clock = Clock(600.0, each=0.001)
    clock.learn(LEAKED, 2, 10.0)
    assert clock.about(LEAKED, 6) == 30.0
