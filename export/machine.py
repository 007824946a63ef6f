"""What bench.py asks the machine it runs on: how much memory this process holds, and what computes here."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

if __package__:
    from .session import ort
else:
    from session import ort  # type: ignore


class Memory:
    """Resident memory of this process in MB, and its peak since this object was made; None where unknown."""

    def __init__(self) -> None:
        status = Path("/proc/self/status")
        self.current: Callable[[], float | None]
        self.peak: Callable[[], float | None]
        if status.exists():
            self.current, self.peak = (lambda: _status_mb(status, "VmRSS")), (lambda: _status_mb(status, "VmHWM"))
            self.source = "VmRSS and VmHWM of /proc/self/status; " + _forget_peak()
        elif _lifetime_peak() is not None:
            self.current = self.peak = _lifetime_peak
            self.source = "ru_maxrss of getrusage: all are peaks of the process, so memory freed after import hides"
        else:
            self.current = self.peak = lambda: None
            self.source = "not available on this platform"
        self.baseline = self.current()

    def above(self, value: float | None) -> float | None:
        """How much memory is taken beyond the baseline.

        Args:
            value: megabytes of 10^6 bytes, None if they are not known.

        Returns:
            Megabytes of 10^6 bytes, None where either is not known.
        """
        return None if value is None or self.baseline is None else value - self.baseline


def _status_mb(status: Path, key: str) -> float:
    line = next(line for line in status.read_text().splitlines() if line.startswith(key + ":"))
    return int(line.split()[1]) * 1024 / 1e6


def _forget_peak() -> str:
    """Set VmHWM back to the present VmRSS: importing needs memory that is gone by now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return "the peak could not be reset before loading: importing may have set it"
    return "the peak was reset before loading"


def _lifetime_peak() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def machine() -> dict[str, Any]:
    """Facts without which a timing means nothing."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu_name(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "onnxruntime": ort.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _cpu_name() -> str:
    for source, key in (("/proc/cpuinfo", "model name"), ("/proc/cpuinfo", "Model"), ("/proc/device-tree/model", "")):
        try:
            lines = Path(source).read_text().strip("\0\n").splitlines()
        except OSError:
            continue
        name = next((line.partition(":")[2].strip() if key else line for line in lines if line.startswith(key)), "")
        if name:
            return name
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        if asked.returncode == 0:
            return asked.stdout.strip()
    return platform.processor() or platform.machine()
