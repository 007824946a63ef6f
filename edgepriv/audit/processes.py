"""Groups of work done by this process and helpers beside it, all of them ended when this one is.

This process works as well, from the first moment: a helper needs seconds until it has imported torch.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from joblib.externals.loky import get_reusable_executor

from edgepriv.data import Dataset

Group = Sequence[Any]
Work = Callable[[Group, Dataset, Path], int]
"""What is done with a group, on the data, writing into a folder; returns a count. A function of a module, for helpers."""


def done_by_processes(
    groups: Sequence[Group], dataset: Dataset, folder: Path, processes: int, work: Work
) -> Iterator[int]:
    """Work shared out to processes, this one among them.

    Args:
        groups: of what is to be done.
        dataset: that the work is on.
        folder: in which it is written.
        processes: 1 or more.
        work: done for each group.

    Returns:
        What ``work`` returned for each group, as they are done.
    """
    waiting = deque(groups)
    own: Group | None = waiting.popleft()
    with _helpers(waiting, dataset, folder, min(processes - 1, len(waiting)), work) as helpers:
        while own is not None:
            yield work(own, dataset, folder)
            yield from helpers.finished(wait=False)
            own = _next_of(waiting)
        yield from helpers.finished(wait=True)


def _next_of(waiting: deque[Group]) -> Group | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


class _Helpers:
    """Other processes that work on ``waiting`` groups, each on the next one as it has done one."""

    def __init__(self, waiting: deque[Group], submit: Callable[[Group], "Future[int]"]) -> None:
        self._waiting, self._submit = waiting, submit
        self._sent = self._taken = 0
        self._done: SimpleQueue[Future[int]] = SimpleQueue()

    def send(self) -> None:
        group = _next_of(self._waiting)
        if group is not None:
            self._sent += 1
            self._submit(group).add_done_callback(self._finish)

    def _finish(self, future: "Future[int]") -> None:
        if not future.cancelled() and future.exception() is None:
            self.send()
        self._done.put(future)  # after the next is sent: as long as one is under way, fewer are taken than sent

    def finished(self, wait: bool) -> Iterator[int]:
        """What they have returned since the last call; ``wait`` for all."""
        while self._taken < self._sent and (wait or not self._done.empty()):
            future = self._done.get()
            self._taken += 1
            yield future.result()


@contextmanager
def _helpers(waiting: deque[Group], dataset: Dataset, folder: Path, count: int, work: Work) -> Iterator[_Helpers]:
    if count == 0:
        yield _Helpers(waiting, lambda group: Future())
        return
    with TemporaryDirectory(prefix="edgepriv-", ignore_cleanup_errors=True) as shared:
        examples = Path(shared) / "x.npy"  # which the processes map: one copy in memory for all
        np.save(examples, dataset.x)
        rest = replace(dataset, x=dataset.x[:0])
        executor = get_reusable_executor(max_workers=count)

        def submit(group: Group) -> "Future[int]":
            submitted: Future[int] = executor.submit(_beside, work, group, rest, examples, folder, os.getpid())
            return submitted

        helpers = _Helpers(waiting, submit)
        try:
            for _ in range(count):
                helpers.send()
            yield helpers
        except BaseException:
            waiting.clear()
            executor.shutdown(wait=True, kill_workers=True)  # else they would go on working, unseen
            raise


def _beside(work: Work, group: Group, rest: Dataset, examples: Path, folder: Path, parent: int) -> int:
    _end_with_parent(parent)
    with redirect_stdout(sys.stderr):  # which is for results; a user's own network may print
        return work(group, replace(rest, x=np.load(examples, mmap_mode="r", allow_pickle=False)), folder)


@cache
def _end_with_parent(parent: int) -> None:
    """End this helper when the process that started it is killed: nobody would be left to stop it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
