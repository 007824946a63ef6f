"""What the timers of other runtimes share: the record and the command line of the device kit's bench.py.

Inputs, clock, memory and method are the kit's own, so that a row of another runtime compares with a row of onnxruntime.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.device.bench import SEED, WARMUP, read_once, timed, timer_ns
from edgepriv.device.machine import Memory, machine


@dataclass(frozen=True)
class Opened:
    """A model that a runtime has loaded for one batch size. ``shape``: of a batch. ``infer``: runs one batch, float32 of that
    shape. ``ops``: the operators that it runs, with their number; empty where the runtime does not tell."""

    shape: tuple[int, ...]
    infer: Callable[[np.ndarray], Any]
    ops: Callable[[], Mapping[str, int]] = field(default=dict)


@dataclass(frozen=True)
class Runtime:
    """What runs a file. ``open``: takes the file, the batch size and the threads, 0 for all cores. ``options``: what is asked
    of the runtime on so many threads, as JSON."""

    name: str
    version: str
    open: Callable[[Path, int, int], Opened]
    options: Callable[[int], dict[str, Any]]


def measure(runtime: Runtime, path: Path, batch: int, threads: int, runs: int, warmup: int) -> dict[str, Any]:
    """The object of the kit's ``bench.measure``, with every latency.

    Args:
        runtime: that runs the file.
        path: the file.
        batch: examples per inference, at least 1.
        threads: 0 for all cores.
        runs: timed inferences, at least 1.
        warmup: inferences after the first one that are not timed.

    Returns:
        A JSON-ready object; milliseconds, and megabytes of 10^6 bytes.
    """
    size, sha256 = read_once(path)
    if path.suffix == ".xml":  # OpenVINO's own format keeps its weights beside the graph
        size += read_once(path.with_suffix(".bin"))[0]
    generator = np.random.default_rng(SEED)
    gc.collect()
    memory = Memory()

    start = time.perf_counter_ns()
    model = runtime.open(path, batch, threads)
    load_ns = time.perf_counter_ns() - start
    loaded = memory.current()

    x = generator.random(model.shape, dtype=np.float32)
    first_ns, latencies = timed(lambda: model.infer(x), runs, warmup)
    peak = memory.peak()
    steady = latencies / 1e6
    p50, p90, p99 = np.percentile(steady, [50, 90, 99]).tolist()
    return {
        "model": path.name,
        "runtime": runtime.name,
        "sha256": sha256,
        "size_bytes": size,
        "batch": batch,
        "threads": threads,
        "load_ms": load_ns / 1e6,
        "first_ms": first_ns / 1e6,
        "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "n": len(steady)},
        "rss_mb": {"baseline": memory.baseline, "loaded": memory.above(loaded), "peak": memory.above(peak)},
        "ops": dict(model.ops()),
        "method": {
            "warmup": warmup,
            "inputs": f"uniform random, seed {SEED}",
            "memory": memory.source,
            "timer_ns": timer_ns(),
            "session_options": runtime.options(threads),
        },
        "machine": machine() | {runtime.name: runtime.version},
        "samples_ms": steady.tolist(),
    }


def main(runtime: Runtime) -> None:
    """The command line: the arguments of the kit's bench.py that ``edgepriv.measure.bench`` passes for fixed rounds.

    Args:
        runtime: that runs the file.
    """
    parser = argparse.ArgumentParser(description=f"Time a classifier in {runtime.name}; prints JSON.")
    parser.add_argument("model", type=Path)
    for name, default in (("--batch", 1), ("--threads", 1), ("--runs", 200), ("--warmup", WARMUP)):
        parser.add_argument(name, type=int, default=default)
    for flag in ("--json", "--samples"):
        parser.add_argument(flag, action="store_true", help="for the sake of the kit's command line: always on")
    options = parser.parse_args()
    print(json.dumps(measure(runtime, options.model, options.batch, options.threads, options.runs, options.warmup)))
