"""Latency, load time, memory and size of ONNX files side by side, each measured in fresh processes."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.errors import UserError

REFERENCE = "float"

Progress = Callable[[int, int, str], None]
"""Called before each process with the number of processes done, their total, and what is measured next."""


@dataclass(frozen=True)
class Setting:
    """One way of running a model."""

    threads: int
    batch: int


# What is measured, and the settings of a measurement, each an option of `edgepriv bench`.
def bench(
    models: Mapping[str, DeployedModel],
    *,
    batches: Sequence[int] = (1, 32),
    threads: Sequence[int] = (1,),
    runs: int = 200,
    rounds: int = 5,
    warmup: int | None = None,
    seconds: float | None = None,
    timers: Mapping[str, Path] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure models and compare each with the one named "float", else with the first.

    Each round runs all variants one after the other, each in a process of its own, and every other round in reverse
    order (A B B A ...), so that a machine that warms up or is busy for a while slows all of them. Latencies are pooled
    over the rounds (n = runs * rounds, fewer where ``seconds`` end the timing of a process before); load time, first
    inference and memory are medians over the rounds.

    Args:
        models: by name.
        batches: inputs at a time, 1 or more each.
        threads: 0 takes all cores.
        runs: timed inferences of a process, 1 or more.
        rounds: 1 or more.
        warmup: inferences before those that are timed; None for the device kit's number.
        seconds: as in the kit's bench.py; None for no bound.
        timers: names whose files another script times, which takes the arguments of the kit's bench.py and prints its JSON
            (another runtime).
        progress: called with (done, in all, what comes next).

    Returns:
        The content of ``model.bench.json``: milliseconds, megabytes of 10^6 bytes, and ``ratios`` as variant / reference, so
        that 0.5 is half; ``latency_rounds`` is [min, median, max] of the ratio of p50 within each round, and tells whether a
        difference is larger than the noise. A ratio to nothing measurable is None.

    Raises:
        UserError: for numbers that make no sense, and files that cannot be run.
    """
    if not models:
        raise UserError("nothing to measure: name at least one .onnx file")
    for name, values, least in (("batches", batches, 1), ("threads", threads, 0), ("runs", [runs], 1)):
        if not values or min(values) < least:
            raise UserError(f"{name} {list(values)}: give numbers from {least} up")
    if rounds < 1:
        raise UserError(f"rounds {rounds}: give a number from 1 up")
    settings = [Setting(*pair) for pair in product(dict.fromkeys(threads), dict.fromkeys(batches))]
    scripts = {name: str(files("edgepriv.device").joinpath("bench.py")) for name in models}
    scripts |= {name: str(script) for name, script in (timers or {}).items()}
    measured: dict[tuple[str, Setting], list[dict[str, Any]]] = {}
    names = list(models)
    order = [
        (setting, name)
        for number in range(rounds)
        for setting in settings
        for name in (names if number % 2 == 0 else names[::-1])
    ]
    for done, (setting, name) in enumerate(order):
        if progress is not None:
            progress(done, len(order), f"{name}, batch {setting.batch}, {setting.threads or 'all'} threads")
        measured.setdefault((name, setting), []).append(
            _fresh_process(scripts[name], models[name], setting, runs, warmup, seconds)
        )

    first = next(iter(measured.values()))[0]
    reference = REFERENCE if REFERENCE in models else next(iter(models))
    return {
        "variants": [_variant(name, setting, results) for (name, setting), results in measured.items()],
        "reference": reference,
        "ratios": list(_ratios(measured, reference)),
        "machine": first["machine"],
        "method": first["method"]
        | {
            "runs": runs,
            "seconds": seconds,
            "rounds": rounds,
            "order": "interleaved, reversed every other round, a fresh process each",
        },
    }


def _fresh_process(
    script: str, model: DeployedModel, setting: Setting, runs: int, warmup: int | None, seconds: float | None
) -> dict[str, Any]:
    numbers: dict[str, float] = {"--batch": setting.batch, "--threads": setting.threads, "--runs": runs}
    if warmup is not None:
        numbers["--warmup"] = warmup
    if seconds is not None:
        numbers["--seconds"] = seconds
    arguments = [part for name, value in numbers.items() for part in (name, str(value))]
    # On Ctrl-C subprocess.run kills the child before it passes the interrupt on.
    ended = subprocess.run(
        [sys.executable, script, str(model.path), *arguments, "--json", "--samples"], capture_output=True, text=True
    )
    if ended.returncode == 130:
        raise KeyboardInterrupt
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines() or [f"its process ended with code {ended.returncode}"]
        raise UserError(f"cannot measure {model.path}: {lines[-1].removeprefix('error: ')}")
    measured = json.loads(ended.stdout)
    if model.external:  # the kit's script knows the .onnx alone, but what stands beside it is the model too
        measured |= {"sha256": model.sha256, "size_bytes": model.size_bytes}
    result: dict[str, Any] = measured
    return result


def _variant(name: str, setting: Setting, results: list[dict[str, Any]]) -> dict[str, Any]:
    pooled = np.concatenate([result["samples_ms"] for result in results])
    p50, p90, p99 = np.percentile(pooled, [50, 90, 99]).tolist()
    return {
        "name": name,
        "size_bytes": results[0]["size_bytes"],
        "sha256": results[0]["sha256"],
        "threads": setting.threads,
        "batch": setting.batch,
        "load_ms": _median(results, "load_ms"),
        "first_ms": _median(results, "first_ms"),
        "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "n": len(pooled)},
        "latency_p50_rounds": [result["latency_ms"]["p50"] for result in results],
        "rss_mb": {key: _median(results, "rss_mb", key) for key in ("loaded", "peak", "baseline")},
        "ops": results[0]["ops"],
    }


def _median(results: list[dict[str, Any]], *keys: str) -> float | None:
    values = []
    for result in results:
        value: Any = result
        for key in keys:
            value = value[key]
        values.append(value)
    return None if None in values else float(np.median(values))


def _ratios(measured: Mapping[tuple[str, Setting], list[dict[str, Any]]], reference: str) -> Iterator[dict[str, Any]]:
    for (name, setting), results in measured.items():
        if name == reference:
            continue
        own = _variant(name, setting, results)
        other = _variant(reference, setting, measured[reference, setting])
        rounds = [a / b for a, b in zip(own["latency_p50_rounds"], other["latency_p50_rounds"], strict=True)]
        yield {
            "name": name,
            "against": reference,
            "threads": setting.threads,
            "batch": setting.batch,
            "size": own["size_bytes"] / other["size_bytes"],
            "latency_p50": own["latency_ms"]["p50"] / other["latency_ms"]["p50"],
            "latency_rounds": [min(rounds), float(np.median(rounds)), max(rounds)],
            "load": own["load_ms"] / other["load_ms"],
            "first": own["first_ms"] / other["first_ms"],
            "rss_loaded": _ratio(own["rss_mb"]["loaded"], other["rss_mb"]["loaded"]),
            "rss_peak": _ratio(own["rss_mb"]["peak"], other["rss_mb"]["peak"]),
        }


def _ratio(own: float | None, other: float | None) -> float | None:
    return None if own is None or other is None or other <= 0 else own / other
