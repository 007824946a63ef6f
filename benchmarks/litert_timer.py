"""Time a classifier in LiteRT: ``python litert_timer.py model.tflite``.

Arguments, JSON and method are those of the device kit's bench.py, with the same inputs, clock and memory. LiteRT runs the
file by XNNPACK, its default on processors, on a given number of threads. A file takes one example at a time; a larger
batch is asked for by resizing its input before its memory is allocated.
"""

import argparse
import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edgepriv.device.bench import SEED, WARMUP, read_once, timed, timer_ns
from edgepriv.device.machine import Memory, machine


def opened(path: Path, batch: int, threads: int) -> Interpreter:
    """The model for batches of ``batch``, its memory allocated. ``threads``: 0 for all cores."""
    interpreter = Interpreter(str(path), num_threads=threads or len(os.sched_getaffinity(0)))
    about = interpreter.get_input_details()[0]
    if about["shape"][0] != batch:
        interpreter.resize_tensor_input(about["index"], [batch, *about["shape"][1:]])
    interpreter.allocate_tensors()
    return interpreter


def asked(interpreter: Interpreter, x: np.ndarray) -> np.ndarray:
    """float32 [n, K] for ``x`` float32 [n, ...], of as many examples as the interpreter was opened for."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    answer: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return answer


def probabilities(path: Path, x: np.ndarray, threads: int = 0) -> np.ndarray:
    """float32 [n, K] for ``x`` float32 [n, ...], one by one; a file that returns logits gets a softmax."""
    interpreter = opened(path, 1, threads)
    scores = np.concatenate([asked(interpreter, row[None]) for row in x])
    if np.allclose(scores.sum(axis=1), 1, atol=1e-2) and (scores >= 0).all():
        return scores
    powers: np.ndarray = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def measure(path: Path, batch: int, threads: int, runs: int, warmup: int) -> dict[str, Any]:
    """The object of the kit's ``bench.measure``, with every latency."""
    size, sha256 = read_once(path)
    generator = np.random.default_rng(SEED)
    gc.collect()
    memory = Memory()

    start = time.perf_counter_ns()
    interpreter = opened(path, batch, threads)
    load_ns = time.perf_counter_ns() - start
    loaded = memory.current()

    x = generator.random(tuple(interpreter.get_input_details()[0]["shape"]), dtype=np.float32)
    first_ns, latencies = timed(lambda: asked(interpreter, x), runs, warmup)
    peak = memory.peak()
    steady = latencies / 1e6
    p50, p90, p99 = np.percentile(steady, [50, 90, 99]).tolist()
    return {
        "model": path.name,
        "runtime": "litert",
        "sha256": sha256,
        "size_bytes": size,
        "batch": batch,
        "threads": threads,
        "load_ms": load_ns / 1e6,
        "first_ms": first_ns / 1e6,
        "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "n": runs},
        "rss_mb": {"baseline": memory.baseline, "loaded": memory.above(loaded), "peak": memory.above(peak)},
        "ops": {},
        "method": {
            "warmup": warmup,
            "inputs": f"uniform random, seed {SEED}",
            "memory": memory.source,
            "timer_ns": timer_ns(),
            "session_options": {"num_threads": threads},
        },
        "machine": machine() | {"litert": ai_edge_litert.__version__},
        "samples_ms": steady.tolist(),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time a classifier in LiteRT; prints JSON.")
    parser.add_argument("model", type=Path)
    for name, default in (("--batch", 1), ("--threads", 1), ("--runs", 200), ("--warmup", WARMUP)):
        parser.add_argument(name, type=int, default=default)
    for flag in ("--json", "--samples"):
        parser.add_argument(flag, action="store_true", help="for the sake of the kit's command line: always on")
    options = parser.parse_args()
    print(json.dumps(measure(options.model, options.batch, options.threads, options.runs, options.warmup)))


if __name__ == "__main__":
    main()
