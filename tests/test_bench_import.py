"""``edgepriv bench --import``: a device's measurements stand beside the workstation's."""

import copy
import json
import sys

import onnx
import onnx.parser
import pytest

from edgepriv import cli, pipeline
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.device.bench import measure
from edgepriv.errors import UserError
from edgepriv.files import sha256_of
from edgepriv.pipeline import _bench
from edgepriv.recipe import Recipe

GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
small (float[N, 3] input) => (float[N, 2] probabilities)
<float[3, 2] w = {0, 1, 0, 2, 0, 4}> { logits = MatMul(input, w) probabilities = Softmax <axis = 1> (logits) }
"""
QUICK = Recipe().with_changes(bench={"batches": (1,), "runs": 3, "rounds": 1})


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), path)
    return path


@pytest.fixture
def board(model, tmp_path):
    """What a board printed: the file, and its content."""
    content = measure(model, runs=3) | {
        "machine": {"cpu": "A board", "cores": 4, "onnxruntime": "1.23.0", "os": "Linux"}
    }
    path = tmp_path / "board.json"
    path.write_text(json.dumps(content))
    return path, content


def test_a_device_is_added_to_the_bench_that_is_there(model, board, monkeypatch):
    before = pipeline.bench(model, QUICK)
    monkeypatch.setattr(_bench, "measure", lambda *_, **__: pytest.fail("measured again"))
    after = pipeline.bench(model, QUICK, imports=[board[0]])
    assert after == json.loads(model.with_suffix(".bench.json").read_text())
    (device,) = after["devices"]
    assert (device["name"], device["machine"]["cpu"]) == ("model", "A board")
    assert device["latency_ms"] == board[1]["latency_ms"]
    assert {key: after[key] for key in before} == before
    assert pipeline.bench(model, QUICK, imports=[board[0]])["devices"] == [device]  # the same again is the same row


def test_without_a_bench_the_model_is_measured_first(model, board, tmp_path):
    both = tmp_path / "both.json"
    node = board[1] | {"runtime": "onnxruntime-node"}
    both.write_text(json.dumps([board[1], node]))
    content = pipeline.bench(model, QUICK, imports=[both])
    assert len(content["variants"]) == 1
    assert [run["runtime"] for run in content["devices"]] == ["onnxruntime", "onnxruntime-node"]
    with pytest.raises(UserError, match="exists already"):
        pipeline.bench(model, QUICK)
    assert "devices" not in pipeline.bench(model, QUICK, force=True)


def test_a_bench_of_other_bytes_is_not_extended(model, board):
    bench = model.with_suffix(".bench.json")
    pipeline.bench(model, QUICK)
    other = json.loads(bench.read_text())
    other["files"]["model"]["sha256"] = "0" * 64
    bench.write_text(json.dumps(other))
    with pytest.raises(UserError, match="exists already"):
        pipeline.bench(model, QUICK, imports=[board[0]])


def without(content, *keys):
    changed = copy.deepcopy(content)
    place = changed
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    return changed


def latency(content, **changes):
    return content | {"latency_ms": content["latency_ms"] | changes}


def test_what_is_no_measurement_of_this_model_is_refused(model, board, tmp_path):
    path, content = board
    for wrong, reason in [
        (content | {"sha256": "f" * 64}, "measured another file (model.onnx, sha256 ffffffffffff)"),
        (content | {"load_ms": -1}, "load_ms is -1, and must be greater than or equal to 0"),
        (content | {"load_ms": float("nan")}, "load_ms is nan, and must be a finite number"),
        (content | {"batch": True}, "batch is True, which is no number"),
        (latency(content, p50=3.0, p90=2.0), "p50, p90 and p99 are 3, 2 and"),
        (latency(content, p99=0.001), "percentiles never fall"),
        (latency(content, p50=-1), "latency_ms.p50 is -1, and must be greater than or equal to 0"),
        (latency(content, p90=float("inf")), "latency_ms.p90 is inf"),
        (latency(content, n=0), "latency_ms.n is 0, and must be greater than or equal to 1"),
        (content | {"size_bytes": content["size_bytes"] + 1}, "bytes, and that file has"),
        (without(content, "latency_ms", "p99"), "latency_ms.p99 is missing"),
        (without(content, "machine", "cpu"), "machine.cpu is missing"),
        ([content, 3], "measurement 2, is not what"),
        ([], "holds no measurement"),
    ]:
        path.write_text(json.dumps(wrong))
        with pytest.raises(UserError) as refused:
            pipeline.bench(model, QUICK, imports=[path])
        assert reason in str(refused.value)
        assert not model.with_suffix(".bench.json").exists()


def test_the_ort_file_of_the_model_belongs_to_it(model, board):
    path, content = board
    twin = model.with_suffix(".ort")
    twin.write_bytes(b"the same model in another format")
    path.write_text(
        json.dumps(content | {"model": "model.ort", "sha256": sha256_of(twin), "size_bytes": twin.stat().st_size})
    )
    (device,) = pipeline.bench(model, QUICK, imports=[path])["devices"]
    assert device["name"] == "model.ort"


def test_the_command_prints_and_the_page_shows_the_device(model, board, monkeypatch, capsys):
    pipeline.bench(model, QUICK)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(sys, "argv", ["edgepriv", "bench", str(model), "--import", str(board[0])])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "A board, 4 cores; onnxruntime 1.23.0" in printed
    assert "this workstation" in printed
    pipeline.write_report(DeployedModel.open(model), None, model.with_suffix(".html"))
    page = model.with_suffix(".html").read_text()
    assert "On devices" in page
    assert "A board, 4 cores" in page
