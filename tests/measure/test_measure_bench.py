import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.device.bench import measure
from edgepriv.errors import UserError
from edgepriv.measure.bench import bench
from edgepriv.measure.budget import Budget


@pytest.fixture
def stopwatch(monkeypatch):
    """Replace the processes by ones that report prescribed latencies; ``asked`` records their order."""

    class Stopwatch:
        latencies: dict[str, list[float]]
        asked: list[tuple[str, int, int]]

    watch = Stopwatch()
    watch.latencies, watch.asked = {}, []

    def run(command, **options):
        name, batch, threads = command[2], int(command[4]), int(command[6])
        watch.asked.append((name, batch, threads))
        samples = [watch.latencies[name].pop(0)] * int(command[8])
        result = {
            "size_bytes": 100 if name == "float" else 25,
            "sha256": name,
            "load_ms": 10.0,
            "first_ms": 2.0,
            "latency_ms": {"p50": samples[0]},
            "samples_ms": samples,
            "rss_mb": {"baseline": 50.0, "loaded": 0.0, "peak": 8.0},
            "ops": {} if "--no-ops" in command else {"Conv": 1},
            "machine": {"cpu": "a stopwatch"},
            "method": {"warmup": 20},
        }
        return subprocess.CompletedProcess(command, 0, json.dumps(result), "")

    monkeypatch.setattr("edgepriv.measure.bench.subprocess.run", run)
    return watch


def named(*names):
    """Models by name of which nothing is read: the stopwatch knows them by their paths."""
    return {name: DeployedModel(Path(name), b"") for name in names}


def test_rounds_are_interleaved_pooled_and_compared_within_each_round(stopwatch):
    stopwatch.latencies = {"float": [1.0, 2.0, 4.0], "small": [2.0, 2.0, 2.0]}
    result = bench(named("float", "small"), batches=[1], threads=[1], runs=10, rounds=3)
    assert [name for name, _, _ in stopwatch.asked] == ["float", "small", "small", "float", "float", "small"]
    float_row, small_row = result["variants"]
    assert float_row["latency_ms"] == {"p50": 2.0, "p90": 4.0, "p99": 4.0, "n": 30}
    assert float_row["latency_p50_rounds"] == [1.0, 2.0, 4.0]
    assert small_row["load_ms"] == 10
    (ratio,) = result["ratios"]
    assert (ratio["name"], ratio["against"], ratio["size"], ratio["latency_p50"]) == ("small", "float", 0.25, 1.0)
    assert ratio["latency_rounds"] == [0.5, 1.0, 2.0]
    low, high = ratio["latency_interval"]
    assert low < 0.5 < 2 < high  # three rounds that differ so much tell little
    assert ratio["rss_peak"] == 1.0
    assert ratio["rss_loaded"] is None  # nothing measurable to compare with


def test_every_combination_of_threads_and_batch_is_a_row(stopwatch):
    stopwatch.latencies = {"float": [1.0] * 4, "small": [1.0] * 4}
    result = bench(named("small", "float"), batches=[1, 32], threads=[1, 0], runs=2, rounds=1)
    assert len(result["variants"]) == 8
    assert result["reference"] == "float"
    assert {(ratio["threads"], ratio["batch"]) for ratio in result["ratios"]} == {(1, 1), (1, 32), (0, 1), (0, 32)}


def test_without_a_float_the_first_is_the_reference(stopwatch):
    stopwatch.latencies = {"a": [1.0], "b": [3.0]}
    result = bench(named("a", "b"), batches=[1], runs=1, rounds=1)
    assert result["reference"] == "a"
    assert result["ratios"][0]["latency_p50"] == 3


def test_another_script_may_time_a_variant(model, tmp_path):
    script = tmp_path / "timer.py"
    script.write_text(
        "import json, sys; from edgepriv.device.bench import measure; from pathlib import Path\n"
        "found = measure(Path(sys.argv[1]), runs=2, samples=True, warmup=int(sys.argv[sys.argv.index('--warmup') + 1]))\n"
        "print(json.dumps(found | {'ops': {'Elsewhere': 1}}))"
    )
    result = bench(
        {"float": DeployedModel(model), "other": DeployedModel(model)},
        batches=[1],
        runs=2,
        rounds=1,
        warmup=3,
        timers={"other": script},
    )
    assert [row["ops"] for row in result["variants"]] == [{"MatMul": 1, "Softmax": 1}, {"Elsewhere": 1}]
    assert result["method"]["warmup"] == 3


def test_real_processes(model, tmp_path):
    shutil.copy(model, tmp_path / "copy.onnx")
    seen = []
    result = bench(
        {"float": DeployedModel(model), "copy": DeployedModel(tmp_path / "copy.onnx")},
        batches=[2],
        runs=5,
        rounds=1,
        progress=lambda *step: seen.append(step),
    )
    assert seen == [(0, 2, "float, batch 2, 1 thread", None), (1, 2, "copy, batch 2, 1 thread", None)]
    assert result["ratios"][0]["size"] == 1
    assert result["variants"][0]["ops"] == {"MatMul": 1, "Softmax": 1}
    json.dumps(result, allow_nan=False)


def test_without_rounds_it_ends_when_the_ratio_is_known(stopwatch):
    stopwatch.latencies = {"float": [1.0, 2.0, 4.0], "small": [2.0, 4.0, 8.1]}  # the machine slows down, both alike
    seen = []
    result = bench(
        named("float", "small"),
        batches=[1],
        budget=Budget(seconds=1000, precision=0.05),
        progress=lambda *step: seen.append(step),
    )
    (ratio,) = result["ratios"]
    assert len(ratio["latency_rounds"]) == 3 == len(result["variants"][0]["latency_p50_rounds"])
    assert ratio["latency_p50"] == pytest.approx(2.0, rel=0.01)
    low, high = ratio["latency_interval"]
    assert 0.95 * 2 < low < 2 < high < 1.05 * 2.02
    assert result["said"] == []
    assert (result["method"]["time"], result["method"]["precision"]) == (1000, 0.05)
    assert [total for _, total, _, _ in seen] == [None] * 6
    assert all(
        1800 < left <= 1900 for *_, left in seen
    )  # of 1,000 s for each file; the rest is for the start and the end


def test_a_ratio_that_stays_unsure_is_said_to_be_unsure(stopwatch):
    stopwatch.latencies = {"float": [1.0], "small": [2.0]}
    result = bench(named("float", "small"), batches=[1], budget=Budget(seconds=1e-9))
    assert result["ratios"][0]["latency_interval"] is None
    assert "batch 1, 1 thread: there was time for one round alone" in result["said"][0]


def test_operators_are_read_in_the_first_round_alone(stopwatch):
    stopwatch.latencies = {"float": [1.0] * 3}
    (row,) = bench(named("float"), batches=[1], budget=Budget(seconds=1000))["variants"]
    assert row["ops"] == {"Conv": 1}
    assert len(row["latency_p50_rounds"]) == 3


def test_the_kit_leaves_operators_out_when_told(model):
    measured = measure(model, runs=1, warmup=0, fewest=1, ops=False)
    assert (measured["ops"], measured["latency_ms"]["n"]) == ({}, 1)


def test_bad_input_is_one_sentence(model, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    with pytest.raises(UserError, match=r"cannot measure .*damaged\.onnx: .*cannot be opened as an ONNX model"):
        bench({"float": DeployedModel(damaged)}, rounds=1, runs=1)
    for arguments in ({"batches": [0]}, {"threads": [-1]}, {"runs": 0}, {"rounds": 0}, {"batches": []}):
        with pytest.raises(UserError, match="give"):
            bench({"float": DeployedModel(model)}, **arguments)
    with pytest.raises(UserError, match="at least one"):
        bench({})


ENDLESS = """
import signal, sys
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.measure.bench import bench
from edgepriv.measure.budget import Budget

signal.signal(signal.SIGINT, signal.default_int_handler)
bench({"float": DeployedModel.open(sys.argv[1])}, runs=10**8, rounds=1, progress=lambda *_: print("started", flush=True))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_an_interrupt_ends_the_process_that_measures(model):
    command = [sys.executable, "-c", ENDLESS, model]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as running:
        running.stdout.readline()
        time.sleep(1)
        running.send_signal(signal.SIGINT)  # to the parent alone
        assert running.wait(10) != 0
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def test_an_interrupt_reaches_the_caller(model, monkeypatch):
    ended = subprocess.CompletedProcess([], 130, "", "")
    monkeypatch.setattr("edgepriv.measure.bench.subprocess.run", lambda *_, **__: ended)
    with pytest.raises(KeyboardInterrupt):
        bench({"float": DeployedModel(model)}, rounds=1, runs=1)
