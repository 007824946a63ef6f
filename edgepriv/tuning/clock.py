"""Time that a search has, and what it has measured of the time that its steps take."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Event, Thread

from edgepriv.errors import UserError

MADE, PROXY, AUDIT, LAYOUT = "made", "proxy", "audit", "layout"
LEAKED, PERTURBED = "leaked", "perturbed"
"""Steps: a candidate is trained and exported; it is measured while the search goes on; it is audited in full; its weights are
written in another layout. Of what is measured while the search goes on: its leakage, its accuracy under attack."""
_KEPT_EVERY = 10.0
"""Seconds between two notes of the time that is spent."""
_CAUTION = 2.0
"""Factor of a pass that was timed without quantization and all that a candidate adds to it."""


def now() -> float:
    """Seconds since some moment.

    Returns:
        By a clock that never goes back.
    """
    return time.monotonic()


@dataclass
class Clock:
    """Time of the runs of one question together. ``limit``: seconds; ``spent``: by earlier runs; ``each``: seconds of one pass
    over the members in training, where that was timed; ``costs``: step -> passes over the members -> seconds of the slowest."""

    limit: float
    spent: float = 0.0
    each: float | None = None
    costs: dict[str, dict[float, float]] = field(default_factory=dict)
    _began: float = field(default_factory=lambda: now())

    @property
    def used(self) -> float:
        """Seconds since the question was first asked, but for those between the runs."""
        return self.spent + now() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left; 0 where none are."""
        return max(0.0, self.limit - self.used)

    def learn(self, step: str, passes: float, seconds: float) -> None:
        """Take note of how long a step took.

        Args:
            step: one of those above.
            passes: over the members, of the candidate that it was for.
            seconds: that it took, in this run or an earlier one.
        """
        known = self.costs.setdefault(step, {})
        known[passes] = max(seconds, known.get(passes, 0.0))

    def about(self, step: str, passes: float) -> float | None:
        """How long a step will take, rather too long than too short: no less than one that took fewer passes.

        Args:
            step: one of those above.
            passes: over the members.

        Returns:
            Seconds; None where none has been timed yet.
        """
        known = self.costs.get(step)
        if not known:
            return None
        above = [seconds for each, seconds in known.items() if each >= passes]
        below = [
            min(seconds * passes / max(each, 1.0), seconds + (passes - each) * self._of_a_pass(step))
            for each, seconds in known.items()
            if each <= passes
        ]
        least = max((seconds for each, seconds in known.items() if each <= passes), default=0.0)
        return max(least, min([*above, *below]))

    def _of_a_pass(self, step: str) -> float:
        """Seconds that one pass more takes, at most: most of what a short candidate takes, such as its export, comes once."""
        if step != MADE or self.each is None:
            return math.inf
        known = sorted(self.costs[step].items())
        slopes = [(later - sooner) / (more - fewer) for (fewer, sooner), (more, later) in pairwise(known)]
        return _CAUTION * max([self.each, *slopes])


@contextmanager
def counted(clock: Clock, keep: Callable[[float], None]) -> Iterator[None]:
    """Keep the time that is spent while something runs, so that what a killed run took counts too.

    Args:
        clock: of the question.
        keep: takes the seconds, every few seconds and at the end. That it cannot keep them, as on a full disk, does not end a
            search: what cannot do without the disk says so itself.

    Yields:
        Nothing.
    """
    over = Event()

    def now_kept() -> None:
        with suppress(UserError):
            keep(clock.used)

    def follow() -> None:
        while not over.wait(_KEPT_EVERY):
            now_kept()

    watch = Thread(target=follow, daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
        now_kept()
