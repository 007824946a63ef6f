"""Time an ONNX classifier on this machine: ``python bench.py model.onnx``.

Needs Python 3.10+, numpy and onnxruntime, nothing else. The process that runs this file measures one model and ends:
memory is only comparable between fresh processes. Milliseconds, and megabytes of 10^6 bytes.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

if __package__:
    from .command import KitError, run_command
    from .machine import Memory, machine
    from .ops import executed_ops
    from .session import fixed_batch, open_or_explain, ort, reason_of
else:
    from command import KitError, run_command  # type: ignore
    from machine import Memory, machine  # type: ignore
    from ops import executed_ops  # type: ignore
    from session import fixed_batch, open_or_explain, ort, reason_of  # type: ignore

WARMUP = 20
SEED = 0
_TOKENS = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}
FEWEST = 5
"""Inferences that are timed however long they take, unless another number is asked for."""


# One argument for each option of the command line.
def measure(
    path: Path,
    batch: int = 1,
    threads: int = 1,
    runs: int = 200,
    samples: bool = False,
    warmup: int = WARMUP,
    seconds: float | None = None,
    fewest: int = FEWEST,
    ops: bool = True,
    shape: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """Load time, first inference, steady latency, memory and executed operators of one model.

    Memory is resident memory less ``rss_mb.baseline``, that of this process with numpy and onnxruntime imported and
    nothing loaded. ``loaded`` includes what onnxruntime allocates for the first session of any process (about 10 MB on
    x86 Linux); ``peak`` spans loading and all inferences, the input batch included.

    Args:
        path: the .onnx or .ort file.
        batch: examples per inference, at least 1.
        threads: threads inside one operator, 0 for all cores.
        runs: timed inferences, at least 1.
        samples: whether every latency is returned too, as ``samples_ms``.
        warmup: inferences after the first one that are not timed, at least 0.
        seconds: no inference is begun after so many, but ``fewest`` are timed; None for no limit.
        fewest: inferences that are timed in any case, at least 1.
        shape: of one example, where the model leaves sizes open; None where it does not.
        ops: whether executed operators are read, which opens the model once more; without, they are empty.

    Returns:
        A JSON-ready object; milliseconds, and megabytes of 10^6 bytes. ``latency_ms.n`` says how many inferences were timed.

    Raises:
        KitError: for settings out of range, and a model that cannot be opened, fed or run.
    """
    if batch < 1 or runs < 1 or fewest < 1 or warmup < 0:
        raise KitError(
            f"batch {batch}, runs {runs} and fewest {fewest} must be at least 1, warm-up {warmup} at least 0"
        )
    if seconds is not None and not seconds > 0:
        raise KitError(f"seconds {seconds} must be above 0")
    size, sha256 = read_once(path)
    generator = np.random.default_rng(SEED)
    gc.collect()
    memory = Memory()

    start = time.perf_counter_ns()
    session = open_or_explain(path, threads)
    load_ns = time.perf_counter_ns() - start
    loaded = memory.current()

    x = random_inputs(session, batch, generator, shape)
    feed, outputs = {session.get_inputs()[0].name: x}, [session.get_outputs()[0].name]
    try:
        first_ns, latencies = timed(lambda: session.run(outputs, feed), runs, warmup, seconds, fewest)
    except Exception as error:
        raise KitError(f"{path} cannot run a batch of {batch}: {reason_of(error)}") from error
    peak = memory.peak()

    steady = latencies / 1e6
    p50, p90, p99 = np.percentile(steady, [50, 90, 99]).tolist()
    return {
        "model": path.name,
        "runtime": "onnxruntime",
        "sha256": sha256,
        "size_bytes": size,
        "batch": batch,
        "fixed_batch": fixed_batch(session),
        "threads": threads,
        "load_ms": load_ns / 1e6,
        "first_ms": first_ns / 1e6,
        "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "n": len(steady)},
        "rss_mb": {"baseline": memory.baseline, "loaded": memory.above(loaded), "peak": memory.above(peak)},
        "ops": executed_ops(path, threads) if ops else {},
        "method": {
            "warmup": warmup,
            "seconds": seconds,
            "inputs": f"uniform random, seed {SEED}",
            "memory": memory.source,
            "timer_ns": timer_ns(),
            "session_options": session_options(session),
        },
        "machine": machine(),
    } | ({"samples_ms": steady.tolist()} if samples else {})


def timed(
    infer: Callable[[], Any], runs: int, warmup: int, seconds: float | None = None, fewest: int = FEWEST
) -> tuple[int, np.ndarray]:
    """Time an inference again and again; no garbage is collected meanwhile.

    Args:
        infer: runs one inference.
        runs: timed inferences.
        warmup: inferences after the first one that are not timed; none is begun after a quarter of ``seconds``,
            the first call included, so that a network that takes seconds is not run for nothing.
        seconds: no inference is begun after so many, but ``fewest`` are timed; None for no limit.
        fewest: inferences that are timed in any case.

    Returns:
        Nanoseconds of the first call, and int64 [n] of those after the warm-up; n is ``runs`` or fewer.
    """
    latencies = np.zeros(runs, dtype=np.int64)
    done = 0
    gc.disable()
    try:
        start = time.perf_counter_ns()
        infer()
        first_ns = time.perf_counter_ns() - start
        for _ in range(warmup):
            if seconds is not None and time.perf_counter_ns() - start > seconds / 4 * 1e9:
                break
            infer()
        begun = time.perf_counter_ns()
        while done < runs:
            if seconds is not None and done >= fewest and time.perf_counter_ns() - begun > seconds * 1e9:
                break
            start = time.perf_counter_ns()
            infer()
            latencies[done] = time.perf_counter_ns() - start
            done += 1
    finally:
        gc.enable()
    return first_ns, latencies[:done]


def read_once(path: Path) -> tuple[int, str]:
    """Read a file, which also puts it into the page cache, so that load times compare.

    Args:
        path: of the file.

    Returns:
        Its size in bytes, and its sha256 in hexadecimal digits.

    Raises:
        KitError: where it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            while block := handle.read(1 << 16):
                digest.update(block)
    except OSError as error:
        raise KitError(f"cannot read {path}: {error.strerror}") from error
    return path.stat().st_size, digest.hexdigest()


def random_inputs(
    session: ort.InferenceSession, batch: int, generator: np.random.Generator, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Uniform random inputs in the model's shape.

    Args:
        session: of a model with one input.
        batch: examples, at least 1.
        generator: that draws them.
        shape: of one example, where the model leaves sizes open; None where it does not.

    Returns:
        float32 in [0, 1), uint8 where the model takes bytes, or int32 or int64 0 and 1 where it takes tokens; [batch, ...].

    Raises:
        KitError: where the model takes another batch, other types or several inputs, or leaves more open than the batch size.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise KitError(f"the model takes {len(inputs)} inputs, but only models with one can be timed")
    first, *row = inputs[0].shape or [None]
    if isinstance(first, int) and first > 0 and first != batch:
        takes = f"the model takes {first} example{'s' * (first != 1)} at a time"
        raise KitError(f"{takes}, so it cannot run a batch of {batch}: pass --batch {first}")
    sizes = [size if isinstance(size, int) and size > 0 else None for size in row]
    if shape is None:
        if None in sizes:
            raise KitError(
                f"the model's input shape {inputs[0].shape} leaves more open than the batch size: say the sizes of one example "
                "with --input-shape, such as --input-shape 3,224,224"
            )
        shape = tuple(size for size in sizes if size is not None)
    if len(shape) != len(sizes) or any(own not in (None, size) for own, size in zip(sizes, shape, strict=True)):
        raise KitError(f"--input-shape {','.join(map(str, shape))} does not fit the model's input {inputs[0].shape}")
    if inputs[0].type == "tensor(uint8)":
        return generator.integers(0, 256, (batch, *shape), dtype=np.uint8)
    if inputs[0].type == "tensor(float)":
        return generator.random((batch, *shape), dtype=np.float32)
    if inputs[0].type in _TOKENS:
        return generator.integers(0, 2, (batch, *shape), dtype=_TOKENS[inputs[0].type])
    raise KitError(
        f"the model takes {inputs[0].type}, but only tensor(float), tensor(uint8) and tokens (int32, int64) can be fed"
    )


def timer_ns() -> int:
    """Median cost of reading the clock twice: what every latency contains besides the inference."""
    readings = [(time.perf_counter_ns(), time.perf_counter_ns()) for _ in range(1001)]
    return sorted(after - before for before, after in readings)[500]


def session_options(session: ort.InferenceSession) -> dict[str, Any]:
    """The options that this session really has.

    Args:
        session: any.

    Returns:
        Optimization level, execution mode, threads and execution providers; JSON-ready.
    """
    options = session.get_session_options()
    return {
        "graph_optimization_level": options.graph_optimization_level.name,
        "execution_mode": options.execution_mode.name,
        "intra_op_num_threads": options.intra_op_num_threads,
        "inter_op_num_threads": options.inter_op_num_threads,
        "providers": session.get_providers(),
    }


def _table(result: dict[str, Any]) -> str:
    latency, rss = result["latency_ms"], result["rss_mb"]
    megabytes = ["not known" if rss[key] is None else f"{rss[key]:.1f} MB" for key in ("loaded", "peak", "baseline")]
    rows = {
        "model": f"{result['model']}, {result['size_bytes']:,} bytes",
        "machine": f"{result['machine']['cpu']}, {result['machine']['cores']} cores",
        "onnxruntime": f"{result['machine']['onnxruntime']}, {result['threads'] or 'all'} threads",
        "load": f"{result['load_ms']:.2f} ms",
        "first inference": f"{result['first_ms']:.3f} ms",
        "latency": f"p50 {latency['p50']:.3f}  p90 {latency['p90']:.3f}  p99 {latency['p99']:.3f} ms"
        f" (batch {result['batch']}{', the only one that it takes' if result['fixed_batch'] else ''}, n {latency['n']})",
        "memory": f"{megabytes[0]} after loading, {megabytes[1]} at its peak, above a baseline of {megabytes[2]}",
        "operators": ", ".join(f"{name} {count}" for name, count in result["ops"].items()),
    }
    return "\n".join(f"{name:<16}{value}" for name, value in rows.items())


def _sizes(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(size) for size in text.split(","))
    except ValueError:
        raise KitError(f"--input-shape {text!r}: expected whole numbers such as 3,48,192") from None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time an ONNX classifier on this machine.")
    parser.add_argument("model", type=Path, help="the .onnx or .ort file")
    parser.add_argument("--batch", type=int, default=1, help="examples per inference (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="0 takes all cores (default 1)")
    parser.add_argument("--runs", type=int, default=200, help="timed inferences (default 200)")
    parser.add_argument("--warmup", type=int, default=WARMUP, help=f"inferences before them (default {WARMUP})")
    parser.add_argument("--seconds", type=float, help="stop timing after so many, but not before --fewest inferences")
    parser.add_argument("--fewest", type=int, default=FEWEST, help=f"inferences timed in any case (default {FEWEST})")
    parser.add_argument("--no-ops", action="store_true", help="do not list the operators that are executed")
    parser.add_argument("--input-shape", help="sizes of one example where the model leaves them open, such as 3,48,192")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--samples", action="store_true", help="with --json: every single latency too")
    options = parser.parse_args()
    result = measure(
        options.model,
        options.batch,
        options.threads,
        options.runs,
        options.samples,
        options.warmup,
        options.seconds,
        options.fewest,
        not options.no_ops,
        _sizes(options.input_shape),
    )
    print(json.dumps(result) if options.json else _table(result))


if __name__ == "__main__":
    run_command(main)
