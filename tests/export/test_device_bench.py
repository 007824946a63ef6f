import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepriv.device import bench as kit
from edgepriv.device import machine
from edgepriv.device.ops import executed_ops


def run(*arguments):
    return subprocess.run([sys.executable, kit.__file__, *map(str, arguments)], capture_output=True, text=True)


def test_json_holds_every_measurement(model):
    result = json.loads(run(model, "--runs", 30, "--batch", 4, "--samples", "--json").stdout)
    latency = result["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
    assert latency["n"] == len(result["samples_ms"]) == 30
    assert np.median(result["samples_ms"]) == pytest.approx(latency["p50"])
    assert result["load_ms"] > 0
    assert result["first_ms"] > 0
    assert result["size_bytes"] == model.stat().st_size
    assert result["ops"] == {"MatMul": 1, "Softmax": 1}
    assert result["method"]["session_options"]["graph_optimization_level"] == "ORT_ENABLE_ALL"
    assert result["machine"]["cores"] >= 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory counters of Linux")
def test_memory_of_running_shows_at_the_peak_only(model_of):
    megabytes = 32
    count = megabytes * 250_000
    random = f"r = RandomUniform <shape = [{count // 1000}, 1000]> ()"  # made at run time: counts at the peak only
    path = model_of(f"g (float[N, 2] input) => (float[N, 2] out) {{ {random} s = ReduceMax(r) out = Add(input, s) }}")
    rss = json.loads(run(path, "--runs", 2, "--json").stdout)["rss_mb"]
    assert 20 < rss["baseline"] < 200
    assert rss["loaded"] < 16
    assert rss["peak"] > rss["loaded"] + 0.9 * megabytes


def test_table_names_what_was_measured(model):
    printed = run(model, "--runs", 5).stdout
    for word in ("load", "first inference", "p99", "n 5", "memory", "MatMul 1"):
        assert word in printed


def test_failures_are_one_sentence_and_exit_2(model, model_of, tmp_path):
    two = model_of("g (float[N, 2] a, float[N, 2] b) => (float[N, 2] out) { out = Add(a, b) }", "two.onnx")
    fixed = model_of("g (float[1, 2] a) => (float[1, 2] out) { out = Softmax(a) }", "fixed.onnx")
    free = model_of("g (float[N, M] a) => (float[N, M] out) { out = Softmax(a) }", "free.onnx")
    for arguments, reason in [
        ((tmp_path / "absent.onnx",), "No such file"),
        ((model, "--batch", 0), "at least 1"),
        ((model, "--threads", -1), "--threads -1"),
        ((two,), "takes 2 inputs"),
        ((fixed, "--batch", 8), "takes 1 example at a time"),
        ((free,), "more open than the batch size"),
    ]:
        ended = run(*arguments)
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert reason in ended.stderr


def test_uint8_models_get_bytes(model_of):
    path = model_of("g (uint8[N, 2] a) => (float[N, 2] out) { out = Cast <to = 1> (a) }")
    session = kit.open_or_explain(path)
    assert kit.random_inputs(session, 3, np.random.default_rng(0)).dtype == np.uint8


def test_without_proc_the_platforms_peak_is_used_and_named(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: False)
    memory = machine.Memory()
    assert "getrusage" in memory.source
    assert memory.baseline > 10
    monkeypatch.setattr(machine, "_lifetime_peak", lambda: None)
    unknown = machine.Memory()
    assert unknown.source == "not available on this platform"
    assert unknown.above(unknown.current()) is None


def test_executed_ops_agree_with_the_onnx_package(model_of, tmp_path):
    import onnx

    from edgepriv.device.predict import open_session

    path = model_of(
        """g (float[N, 4] input) => (float[N, 4] out) <float[4, 4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
        hot = Cast <to = 9> (input) any = ReduceMax <keepdims = 0> (input) yes = Cast <to = 9> (any)
        y = If (yes) <then_branch = t () => (float[N, 4] p) { p = MatMul(input, w) },
                      else_branch = e () => (float[N, 4] q) { a = Relu(input) q = Sin(a) }>
        two = Add(w, w) z = MatMul(y, two) out = Softmax(z) }"""
    )
    open_session(path, dump_optimized=str(tmp_path / "dump.onnx"))

    def count(graph, counts):
        for node in graph.node:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    count(attribute.g, counts)
        return counts

    expected = count(onnx.load(tmp_path / "dump.onnx").graph, {})
    assert executed_ops(path) == expected
    assert {"If", "Sin"} <= expected.keys()
    assert "Add" not in expected  # folded: the histogram is of what runs, not of the file


def test_slow_inferences_are_timed_until_their_seconds_are_over_and_five_at_least(monkeypatch):
    now = [0]
    monkeypatch.setattr(kit.time, "perf_counter_ns", lambda: now[0])

    def infer(milliseconds):
        now[0] += milliseconds * 10**6

    first, steady = kit.timed(lambda: infer(100), runs=200, warmup=20, seconds=2.0)
    assert first == 100 * 10**6
    assert len(steady) == 21  # one more is under way when the time is over
    assert len(kit.timed(lambda: infer(5_000), runs=200, warmup=20, seconds=2.0)[1]) == kit.FEWEST
    assert len(kit.timed(lambda: infer(5_000), runs=3, warmup=20, seconds=2.0)[1]) == 3
    assert len(kit.timed(lambda: infer(1), runs=200, warmup=20, seconds=2.0)[1]) == 200
    assert len(kit.timed(lambda: infer(5_000), runs=20, warmup=0)[1]) == 20
