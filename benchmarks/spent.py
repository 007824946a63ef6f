"""What a command costs: wall-clock time, CPU time and memory of its whole process tree."""

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgepriv.errors import UserError

_EVERY = 0.2
_TOLD = 12


@dataclass(frozen=True)
class Spent:
    """``cpu_seconds``: user and system time of the process and of every descendant that was waited for. ``peak_mib``: the
    highest resident memory of all processes together, seen every 200 ms; pages that they share count once for each."""

    seconds: float
    cpu_seconds: float
    peak_mib: int


def spent(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    log: Path | None = None,
) -> Spent:
    """Run ``command`` to its end, alone among this process's children.

    ``environment``: added to this process's. ``folder``: where it runs. ``log``: takes what it prints, whose last lines stand
    in the UserError that is raised when it fails.
    """
    before, started, peak = _children(), time.perf_counter(), 0
    with open(log or os.devnull, "wb") as told:
        out = {"stdout": told, "stderr": subprocess.STDOUT} if log else {}
        process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, cwd=folder, **out)  # type: ignore[call-overload]
        try:
            while process.poll() is None:
                peak = max(peak, _resident(process.pid))
                time.sleep(_EVERY)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    seconds = time.perf_counter() - started
    if process.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-_TOLD:]) if log else ""
        raise UserError(f"{' '.join(command)} failed with exit code {process.returncode}\n{last}".rstrip())
    return Spent(seconds, _children() - before, round(peak / 2**20))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(pid: int) -> int:
    total = 0
    try:
        main = psutil.Process(pid)
        tree = [main, *main.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in tree:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue  # it ended meanwhile
    return total
