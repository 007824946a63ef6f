"""What long work is doing: a bar on a terminal, a plain line every half minute where there is none.

Both go to standard error, which leaves standard output to results. Lines come from a thread, so that work that takes
minutes between two steps is not silent either; work that is done within half a minute says nothing.

That is how the command line shows it. The functions of the Python API print nothing unless they are asked to: ``told``
sends bars and notes to a function of the caller's, or nowhere.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from tqdm import tqdm

EVERY = 30.0
"""Seconds between two lines."""
_LOOK = 1.0  # seconds between two looks at whether a line is due

Item = TypeVar("Item")


class Bar(Protocol):
    """What steps are counted on; ``total`` may be set once it is known."""

    total: float | None
    n: float

    def update(self, n: float = 1) -> Any:
        """Count more steps.

        Args:
            n: how many.

        Returns:
            Nothing that is used.
        """

    def set_postfix(self, ordered_dict: Mapping[str, object] | None = None) -> Any:
        """Show numbers beside the count, such as the loss.

        Args:
            ordered_dict: numbers by name; they replace those shown before.

        Returns:
            Nothing that is used.
        """


@dataclass
class Lines:
    """A bar that is read as a line: ``reference models: 3 of 16 models, 2 min 30 s, 1.2 models/min``."""

    title: str
    unit: str
    total: float | None
    n: float
    since: float
    postfix: Mapping[str, object] = field(default_factory=dict)
    _first: float = field(init=False)

    def __post_init__(self) -> None:
        self._first = self.n

    def update(self, n: float = 1) -> None:
        """Count more steps; they are said with the next line.

        Args:
            n: how many.
        """
        self.n += n

    def set_postfix(self, ordered_dict: Mapping[str, object] | None = None) -> None:
        """Say numbers at the end of the line, such as the loss.

        Args:
            ordered_dict: numbers by name; they replace those said before.
        """
        self.postfix = ordered_dict or {}

    def line(self, now: float) -> str:
        """What has been done by now.

        Args:
            now: seconds on the clock that gave ``since``.

        Returns:
            The line, with the time left where the total is known.
        """
        of = f"{self.n:,.0f}" + (f" of {self.total:,.0f}" if self.total else "")
        parts = [f"{self.title}: {of} {_plural(self.unit)}", duration(now - self.since)]
        per_second = (self.n - self._first) / max(now - self.since, 1e-9)
        if per_second > 0:
            rate, of_time = (per_second, "s") if per_second >= 1 else (60 * per_second, "min")
            parts.append(f"{rate:.3g} {_plural(self.unit)}/{of_time}")
            if self.total and self.total > self.n:
                parts.append(f"about {duration((self.total - self.n) / per_second)} left")
        return ", ".join([*parts, *(f"{name} {value}" for name, value in self.postfix.items())])


Kind = Literal["note", "warning"]


@dataclass(frozen=True)
class Step:
    """What a caller is told of long work: that ``done`` of ``total`` units are done, a ``note`` about the work, or what comes
    next (a ``title`` without a ``unit``).

    ``total``: None where it is not known. ``note``: an assumption or a finding, one line; empty for progress. ``kind``: of the
    note.
    """

    title: str = ""
    unit: str = ""
    done: float = 0
    total: float | None = None
    note: str = ""
    kind: Kind = "note"


Listener = Callable[[Step], object]


@dataclass
class Told:
    """A bar that calls a function at each step."""

    title: str
    unit: str
    total: float | None
    n: float
    tell: Listener

    def update(self, n: float = 1) -> None:
        """Count more steps, and tell of them.

        Args:
            n: how many.
        """
        self.n += n
        self.tell(Step(self.title, self.unit, self.n, self.total))

    def set_postfix(self, ordered_dict: Mapping[str, object] | None = None) -> None:
        """Do nothing: numbers beside the count are for a reader, not for a function.

        Args:
            ordered_dict: numbers by name.
        """


_listener: ContextVar[Listener | None] = ContextVar("edgepriv_progress", default=None)
"""Who is told of steps; None for standard error."""
_noted: ContextVar[Listener | None] = ContextVar("edgepriv_notes", default=None)
"""Who is told of notes; None for standard error."""


class Watch:
    """Says every half minute what the innermost of the open bars has come to."""

    def __init__(self, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self.clock, self.say = clock, say
        self._open: list[Lines] = []
        self._silent_since = self._closed = -float("inf")

    def enter(self, bar: Lines) -> None:
        """Begin to watch a bar.

        Many short pieces of work in a row are one long one: silence starts with the first of them.

        Args:
            bar: that was opened; it is said until it is left or another one is opened inside.
        """
        if not self._open and self.clock() - self._closed > EVERY:
            self._silent_since = self.clock()
        self._open.append(bar)

    def leave(self, bar: Lines) -> None:
        """Watch a bar no longer.

        Args:
            bar: that was entered.
        """
        self._open.remove(bar)
        self._closed = self.clock()

    def look(self) -> None:
        """Say a line if one is due."""
        now, bars = self.clock(), list(self._open)
        if bars and now - self._silent_since >= EVERY:
            self._silent_since = now
            self.say(bars[-1].line(now))


_watch = Watch(time.monotonic, lambda line: print(line, file=sys.stderr, flush=True))
_watcher: threading.Thread | None = None


@contextmanager
def told(where: bool | Listener) -> Iterator[list[str]]:
    """While it lasts, bars and notes go somewhere else.

    Args:
        where: True for standard error, False for nowhere, or a function of a Step.

    Returns:
        A context manager that gives the list of notes, which grows.
    """
    notes: list[str] = []

    def listen(step: Step) -> None:
        if step.note:
            notes.append(step.note)
            if where is True:
                _print_note(step.note, step.kind)
        if callable(where):
            where(step)

    token, note_token = _listener.set(None if where is True else listen), _noted.set(listen)
    try:
        yield notes
    finally:
        _listener.reset(token)
        _noted.reset(note_token)


def note(line: str, kind: Kind = "note") -> None:
    """Print one line above the progress bar, if one is shown.

    Args:
        line: of text.
        kind: "note" or "warning".
    """
    heard = _noted.get()
    if heard is None:
        _print_note(line, kind)
    else:
        heard(Step(note=line, kind=kind))


def announce(line: str) -> None:
    """Say what comes next: a line of its own on standard error; a function is called with a ``Step`` of that title alone.

    Args:
        line: of text.
    """
    tell = _listener.get()
    if tell is None:
        print(line, file=sys.stderr, flush=True)
    else:
        tell(Step(title=line))


def _print_note(line: str, kind: Kind) -> None:
    tqdm.write(f"{kind}: {line}", file=sys.stderr)


@contextmanager
def shown(
    title: str,
    *,
    unit: str,
    total: int | None = None,
    done: int = 0,
    quiet: bool = False,
    delay: float = 0,
    leave: bool = True,
) -> Iterator[Bar]:
    """Show work while it lasts; count its steps on what this gives.

    Args:
        title: what is done.
        unit: of one step, in the singular.
        total: number of steps, None if unknown.
        done: steps that an earlier run has done.
        quiet: show nothing at all, as in a worker process.
        delay: seconds before a bar appears.
        leave: whether the bar stays on the terminal at the end.

    Yields:
        The bar, once: a line's where there is no terminal, a listener's where a function is told.
    """
    tell = _listener.get()
    if tell is not None and not quiet:
        yield Told(title, unit, total, done, tell)
        return
    if not quiet and _shows_bars():
        with tqdm(
            desc=title, unit=unit, total=total, initial=done, delay=delay, leave=leave, dynamic_ncols=True
        ) as bar:
            yield bar
        return
    lines = Lines(title, unit, total, done, _watch.clock())
    if quiet:
        yield lines
        return
    _start_watching()
    _watch.enter(lines)
    try:
        yield lines
    finally:
        _watch.leave(lines)


def each(items: Iterable[Item], title: str, *, unit: str, total: int, delay: float = 0) -> Iterator[Item]:
    """The items, one step each.

    Args:
        items: to go through.
        title: what is done.
        unit: of one step, in the singular.
        total: number of items.
        delay: seconds before a bar appears.

    Yields:
        Each of them.
    """
    with shown(title, unit=unit, total=total, delay=delay, leave=delay == 0) as bar:
        for item in items:
            yield item
            bar.update()


def follower(bar: Bar) -> Callable[..., None]:
    """A callback that moves a bar.

    Args:
        bar: that is shown.

    Returns:
        A function of (done, total, ...).
    """

    def follow(done: int, total: int, *unused: object) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return follow


def _shows_bars() -> bool:
    """Whether standard error shows a bar as one: a terminal does, and a notebook."""
    return sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)


def _start_watching() -> None:
    global _watcher  # one thread for the life of the process
    if _watcher is None:
        _watcher = threading.Thread(target=_look_forever, name="edgepriv-progress", daemon=True)
        _watcher.start()


def _look_forever() -> None:
    while True:
        time.sleep(_LOOK)
        _watch.look()


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith(("ch", "s")) and unit != "epoch" else f"{unit}s"


def duration(seconds: float) -> str:
    """Seconds as a reader takes them: ``2 min 30 s``.

    Args:
        seconds: 0 or more.

    Returns:
        Hours and minutes, minutes and seconds, or seconds.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
