"""Long work without a terminal says every half minute what it has come to; short work says nothing."""

import pytest

from edgepriv import progress
from edgepriv.progress import EVERY, Lines, Watch


class Time:
    """A clock that goes on when it is told to, and looks at the watch every second."""

    def __init__(self):
        self.now, self.said = 100.0, []
        self.watch = Watch(lambda: self.now, self.said.append)

    def passes(self, seconds):
        for _ in range(seconds):
            self.now += 1
            self.watch.look()

    def opened(self, title, total=None, done=0):
        bar = Lines(title, "model", total, done, self.now)
        self.watch.enter(bar)
        return bar


def test_a_line_every_half_minute_even_when_no_step_is_done():
    time = Time()
    bar = time.opened("reference models", total=16)
    time.passes(65)
    assert time.said == ["reference models: 0 of 16 models, 30 s", "reference models: 0 of 16 models, 1 min 0 s"]
    bar.update(3)
    bar.set_postfix({"loss": "0.25"})
    time.passes(25)
    assert (
        time.said[-1] == "reference models: 3 of 16 models, 1 min 30 s, 2 models/min, about 6 min 30 s left, loss 0.25"
    )


def test_quick_work_says_nothing():
    time = Time()
    bar = time.opened("parity")
    time.passes(29)
    time.watch.leave(bar)
    time.passes(600)
    bar = time.opened("parity")
    time.passes(29)
    assert time.said == []


def test_many_short_pieces_are_one_long_silence():
    time = Time()
    for number in range(12):
        bar = time.opened(f"part {number}")
        time.passes(5)
        time.watch.leave(bar)
    assert [line.split(":")[0] for line in time.said] == ["part 5", "part 11"]


def test_the_innermost_speaks():
    time = Time()
    outer = time.opened("all")
    inner = time.opened("one of them")
    time.passes(30)
    time.watch.leave(inner)
    time.passes(30)
    time.watch.leave(outer)
    assert [line.split(":")[0] for line in time.said] == ["one of them", "all"]


@pytest.mark.parametrize(
    ("unit", "n", "seconds", "expected"),
    [
        ("batch", 4800, 60, "x: 4,800 batches, 1 min 0 s, 80 batches/s"),
        ("answer", 30, 3600 + 120, "x: 30 answers, 1 h 2 min, 0.484 answers/min"),
    ],
)
def test_rates_are_read_at_a_glance(unit, n, seconds, expected):
    bar = Lines("x", unit, None, 0, 0.0)
    bar.update(n)
    assert bar.line(seconds) == expected


def test_the_rate_is_that_of_this_run():
    bar = Lines("train", "batch", 100, 90, 0.0)
    bar.update(5)
    assert bar.line(60.0) == "train: 95 of 100 batches, 1 min 0 s, 5 batches/min, about 1 min 0 s left"


def test_lines_go_to_standard_error_and_end_with_the_work(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress._watch, "clock", lambda: now[0])
    monkeypatch.setattr(progress._watch, "_closed", -float("inf"))
    with progress.shown("bench", unit="process") as bar:
        progress.follower(bar)(2, 8, "model, batch 1")
        now[0] += EVERY
        progress._watch.look()
    now[0] += EVERY
    progress._watch.look()
    with progress.shown("hidden", unit="batch", quiet=True):
        now[0] += 2 * EVERY
        progress._watch.look()
    assert list(progress.each("ab", "letters", unit="letter", total=2)) == ["a", "b"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "bench: 2 of 8 processes, 30 s, 4 processes/min, about 1 min 30 s left\n"
