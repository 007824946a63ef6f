"""Latency, load time, memory and size of ONNX files side by side, each measured in fresh processes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.errors import UserError
from edgepriv.measure.budget import (
    INFERENCES,
    ROUNDS_SHARE,
    Budget,
    Round,
    Setting,
    interval_over_rounds,
    next_setting,
    remarks,
)

REFERENCE = "float"
ROUNDS_AIMED_AT = 20
"""Into how many rounds the time of a setting is divided, where no seconds of a process are given: they differ more than the
inferences within them, and what a setting does not need is left to the others."""

Progress = Callable[[int, int | None, str, float | None], object]
"""Called before each process with the number of processes done, their total (None where it is not fixed), what is measured
next, and how many seconds are left at most (None where the number of rounds is fixed)."""


@dataclass(frozen=True)
class _Timing:
    """What every process of a measurement is told."""

    runs: int
    warmup: int | None
    seconds: float | None
    fewest: int | None
    shape: Sequence[int] | None = None


# What is measured, and the settings of a measurement, each an option of `edgepriv bench`.
def bench(
    models: Mapping[str, DeployedModel],
    *,
    batches: Sequence[int] = (1, 32),
    threads: Sequence[int] = (1,),
    runs: int = 200,
    rounds: int | None = None,
    budget: Budget | None = None,
    warmup: int | None = None,
    seconds: float | None = None,
    timers: Mapping[str, Path] | None = None,
    shape: Sequence[int] | None = None,
    begun: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure models and compare each with the one named "float", else with the first.

    Each round runs all variants one after the other, each in a process of its own, and every other round in reverse
    order (A B B A ...), so that a machine that warms up or is busy for a while slows all of them. Rounds go on until every
    ratio is known as exactly as the budget asks for, or its time is spent. Latencies are pooled over the rounds; load time,
    first inference and memory are medians over them.

    Args:
        models: by name.
        batches: inputs at a time, 1 or more each.
        threads: 0 takes all cores.
        runs: timed inferences of a process, 1 or more.
        rounds: exactly so many, 1 or more, whatever time they take; None for as many as the budget allows and needs.
        budget: time for each model over all settings, and precision of the ratios; None for the default. Rounds take
            ``ROUNDS_SHARE`` of it.
        warmup: inferences before those that are timed; None for the device kit's number.
        seconds: as in the kit's bench.py; None for no bound, and within a budget for a twentieth of a setting's time.
        timers: names whose files another script times, which takes the arguments of the kit's bench.py and prints its JSON
            (another runtime).
        shape: of one example, where the models leave sizes open; None where they do not.
        begun: when the budget's time begins, by ``time.monotonic``; None for now.
        progress: called before each process.

    Returns:
        The content of ``model.bench.json``: milliseconds, megabytes of 10^6 bytes, and ``ratios`` as variant / reference, so
        that 0.5 is half. ``latency_p50`` is the mean ratio of p50 within the rounds, ``latency_interval`` its 95% interval
        (None for one round), see ``interval_over_rounds``, and ``latency_rounds`` [min, median, max] over them. A ratio to
        nothing measurable is None. ``said``: what was not measured as exactly as asked, in sentences.

    Raises:
        UserError: for numbers that make no sense, and files that cannot be run.
    """
    _check_numbers(models, {"batches": (batches, 1), "threads": (threads, 0), "runs": ([runs], 1)}, rounds)
    settings = [Setting(*pair) for pair in product(dict.fromkeys(threads), dict.fromkeys(batches))]
    reference = REFERENCE if REFERENCE in models else next(iter(models))
    within = budget or Budget()
    if rounds is None and seconds is None:
        seconds = within.seconds / len(settings) / ROUNDS_AIMED_AT
    bencher = _Bencher(
        models=models,
        scripts=_scripts(models, timers or {}),
        reference=reference,
        timing=_Timing(runs, warmup, seconds, None if rounds is not None else INFERENCES - 1, shape),
        budget=None if rounds is not None else within,
        progress=progress or (lambda *_: None),
        measured={setting: [] for setting in settings},
        total=None if rounds is None else rounds * len(settings) * len(models),
        begun=time.monotonic() if begun is None else begun,
    )
    schedule = bencher.as_needed() if rounds is None else (setting for _ in range(rounds) for setting in settings)
    for setting in schedule:
        bencher.measure(setting)
    return bencher.content() | {"said": [] if rounds is not None else remarks(bencher.measured, reference, within)}


def _check_numbers(
    models: Mapping[str, DeployedModel], least_of: Mapping[str, tuple[Sequence[int], int]], rounds: int | None
) -> None:
    if not models:
        raise UserError("nothing to measure: name at least one .onnx file")
    for name, (values, least) in least_of.items():
        if not values or min(values) < least:
            raise UserError(f"{name} {list(values)}: give numbers from {least} up")
    if rounds is not None and rounds < 1:
        raise UserError(f"rounds {rounds}: give a number from 1 up")


def _scripts(models: Mapping[str, DeployedModel], timers: Mapping[str, Path]) -> dict[str, str]:
    kit = str(files("edgepriv.device").joinpath("bench.py"))
    return {name: str(timers.get(name, kit)) for name in models}


@dataclass
class _Bencher:
    """One measurement, round after round. ``budget``: None where the number of rounds is fixed."""

    models: Mapping[str, DeployedModel]
    scripts: Mapping[str, str]
    reference: str
    timing: _Timing
    budget: Budget | None
    progress: Progress
    measured: dict[Setting, list[Round]]
    total: int | None
    begun: float
    done: int = 0

    @property
    def left(self) -> float | None:
        """Seconds."""
        if self.budget is None:
            return None
        return max(0.0, ROUNDS_SHARE * self.budget.seconds * len(self.models) - (time.monotonic() - self.begun))

    def as_needed(self) -> Iterator[Setting]:
        assert self.budget is not None
        while True:
            setting = next_setting(self.measured, self.reference, self.left or 0.0, self.budget.precision)
            if setting is None:
                return
            yield setting

    def measure(self, setting: Setting) -> None:
        names = list(self.models)
        rounds = self.measured[setting]
        begun = time.monotonic()
        results = {}
        for name in names if len(rounds) % 2 == 0 else names[::-1]:
            self.progress(self.done, self.total, f"{name}, {setting}", self.left)
            results[name] = _fresh_process(
                self.scripts[name], self.models[name], setting, self.timing, with_ops=not rounds
            )
            self.done += 1
        rounds.append(Round(time.monotonic() - begun, results))

    def content(self) -> dict[str, Any]:
        timed = {setting: rounds for setting, rounds in self.measured.items() if rounds}
        rows = {
            (name, setting): [each.results[name] for each in rounds]
            for setting, rounds in timed.items()
            for name in self.models
        }
        first = next(iter(rows.values()))[0]
        asked: dict[str, Any] = {}
        if self.total is not None:
            asked["rounds"] = self.total // len(timed) // len(self.models)
        if self.budget is not None:
            asked |= {"time": self.budget.seconds, "precision": self.budget.precision}
        return {
            "variants": [_variant(name, setting, results) for (name, setting), results in rows.items()],
            "reference": self.reference,
            "ratios": list(_ratios(rows, self.reference)),
            "machine": first["machine"],
            "method": first["method"]
            | {"runs": self.timing.runs, "seconds": self.timing.seconds}
            | asked
            | {"order": "interleaved, reversed every other round, a fresh process each"},
        }


def _fresh_process(
    script: str, model: DeployedModel, setting: Setting, timing: _Timing, *, with_ops: bool
) -> dict[str, Any]:
    numbers: dict[str, float | None] = {
        "--batch": setting.batch,
        "--threads": setting.threads,
        "--runs": timing.runs,
        "--warmup": timing.warmup,
        "--seconds": timing.seconds,
        "--fewest": timing.fewest,
    }
    arguments = [part for name, value in numbers.items() if value is not None for part in (name, str(value))]
    if timing.shape is not None:
        arguments += ["--input-shape", ",".join(map(str, timing.shape))]
    if not with_ops and timing.fewest is not None:
        arguments.append("--no-ops")  # they are the same in every round, and cost a second session
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


def _variant(name: str, setting: Setting, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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


def _median(results: Sequence[Mapping[str, Any]], *keys: str) -> float | None:
    values = []
    for result in results:
        value: Any = result
        for key in keys:
            value = value[key]
        values.append(value)
    return None if None in values else float(np.median(values))


def _ratios(
    measured: Mapping[tuple[str, Setting], Sequence[Mapping[str, Any]]], reference: str
) -> Iterator[dict[str, Any]]:
    for (name, setting), results in measured.items():
        if name == reference:
            continue
        own = _variant(name, setting, results)
        other = _variant(reference, setting, measured[reference, setting])
        rounds = [a / b for a, b in zip(own["latency_p50_rounds"], other["latency_p50_rounds"], strict=True)]
        interval = interval_over_rounds(rounds)
        yield {
            "name": name,
            "against": reference,
            "threads": setting.threads,
            "batch": setting.batch,
            "size": own["size_bytes"] / other["size_bytes"],
            "latency_p50": rounds[0] if interval is None else interval.centre,
            "latency_interval": None if interval is None else [interval.low, interval.high],
            "latency_rounds": [min(rounds), float(np.median(rounds)), max(rounds)],
            "load": own["load_ms"] / other["load_ms"],
            "first": own["first_ms"] / other["first_ms"],
            "rss_loaded": _ratio(own["rss_mb"]["loaded"], other["rss_mb"]["loaded"]),
            "rss_peak": _ratio(own["rss_mb"]["peak"], other["rss_mb"]["peak"]),
        }


def _ratio(own: float | None, other: float | None) -> float | None:
    return None if own is None or other is None or other <= 0 else own / other
