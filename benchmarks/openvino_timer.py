"""Time an ONNX classifier in OpenVINO: ``python openvino_timer.py model.onnx``.

Arguments, JSON and method are those of the device kit's bench.py, with the same inputs, clock and memory. OpenVINO is
asked for latency on a given number of threads and for float32 activations, which it would round to bfloat16 on processors
with instructions for that; the batch size is fixed before compiling, as its documentation advises. All else is left at
its defaults, by which it may quantize the activations of compressed Linear layers to 8 bits.
"""

import argparse
import gc
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from edgepriv.device.bench import SEED, WARMUP, read_once, timed, timer_ns
from edgepriv.device.machine import Memory, machine


def compiled(path: Path, batch: int, threads: int) -> openvino.CompiledModel:
    """The model for batches of ``batch`` on the CPU. ``threads``: 0 for all cores."""
    core = openvino.Core()
    model = core.read_model(path)
    shape = model.input(0).partial_shape
    shape[0] = batch
    model.reshape(shape)
    return core.compile_model(model, "CPU", properties(threads))


def properties(threads: int) -> dict[str, Any]:
    """What OpenVINO is asked for."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or len(os.sched_getaffinity(0)),
        "INFERENCE_PRECISION_HINT": "f32",
    }


def probabilities(path: Path, x: np.ndarray, threads: int = 0) -> np.ndarray:
    """float32 [n, K] for ``x`` float32 [n, ...], one by one."""
    request = compiled(path, 1, threads).create_infer_request()
    return np.concatenate([request.infer({0: row[None]})[0].copy() for row in x])


def measure(path: Path, batch: int, threads: int, runs: int, warmup: int) -> dict[str, Any]:
    """The object of the kit's ``bench.measure``, with every latency."""
    size, sha256 = read_once(path)
    if path.suffix == ".xml":  # OpenVINO's own format keeps its weights beside the graph
        size += read_once(path.with_suffix(".bin"))[0]
    generator = np.random.default_rng(SEED)
    gc.collect()
    memory = Memory()

    start = time.perf_counter_ns()
    model = compiled(path, batch, threads)
    request = model.create_infer_request()
    load_ns = time.perf_counter_ns() - start
    loaded = memory.current()

    x = generator.random(tuple(model.input(0).shape), dtype=np.float32)
    # Outputs are copied, as onnxruntime's are; inputs are not, as onnxruntime's are not.
    first_ns, latencies = timed(lambda: request.infer({0: x}, share_inputs=True), runs, warmup)
    peak = memory.peak()
    steady = latencies / 1e6
    p50, p90, p99 = np.percentile(steady, [50, 90, 99]).tolist()
    layers = Counter(str(op.get_rt_info()["layerType"].astype(str)) for op in model.get_runtime_model().get_ops())
    return {
        "model": path.name,
        "runtime": "openvino",
        "sha256": sha256,
        "size_bytes": size,
        "batch": batch,
        "threads": threads,
        "load_ms": load_ns / 1e6,
        "first_ms": first_ns / 1e6,
        "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "n": runs},
        "rss_mb": {"baseline": memory.baseline, "loaded": memory.above(loaded), "peak": memory.above(peak)},
        "ops": dict(layers.most_common()),
        "method": {
            "warmup": warmup,
            "inputs": f"uniform random, seed {SEED}",
            "memory": memory.source,
            "timer_ns": timer_ns(),
            "session_options": properties(threads),
        },
        "machine": machine() | {"openvino": openvino.__version__},
        "samples_ms": steady.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time an ONNX classifier in OpenVINO; prints JSON.")
    parser.add_argument("model", type=Path)
    for name, default in (("--batch", 1), ("--threads", 1), ("--runs", 200), ("--warmup", WARMUP)):
        parser.add_argument(name, type=int, default=default)
    for flag in ("--json", "--samples"):
        parser.add_argument(flag, action="store_true", help="for the sake of the kit's command line: always on")
    options = parser.parse_args()
    print(json.dumps(measure(options.model, options.batch, options.threads, options.runs, options.warmup)))


if __name__ == "__main__":
    main()
