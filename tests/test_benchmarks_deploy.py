import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TIMED = ("float", "latency", "latency-int8-static", "naive-qdq", "ort-dynamic-int8", "ort-static-int8")
SHORT = ["lenet", "--rounds", "1", "--runs", "2", "4", "--batch", "1", "--threads", "1", "--inputs", "40", "--markdown"]
SHORT += ["--variants", *TIMED, "openvino-portable"]


@pytest.fixture(scope="module")
def run():
    """``benchmarks/deploy.py`` as a function of its arguments, where OpenVINO is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setattr("importlib.util.find_spec", lambda name: None if name == "openvino" else find_spec(name))
        main = importlib.import_module("deploy").main

        def run_it(*arguments):
            patch.setattr(sys, "argv", ["deploy.py", *map(str, arguments)])
            main()

        yield run_it


@pytest.fixture(scope="module")
def output(run, tmp_path_factory):
    """The result of a short run on one network."""
    path = tmp_path_factory.mktemp("deploy") / "deploy.json"
    run(*SHORT, "--output", path)
    return path


@pytest.fixture
def network(output):
    return json.loads(output.read_text())["networks"]["lenet"]


def test_each_variant_has_size_speed_memory_and_agreement(network):
    rows = {row["name"]: row for row in network["variants"]}
    assert tuple(rows) == TIMED
    for name, row in rows.items():
        assert (row["batch"], row["threads"], row["latency_ms"]["n"]) == (1, 1, 4)
        assert row["latency_ms"]["p50"] > 0
        assert row["load_ms"] > 0
        assert row["size_bytes"] == network["files"][name]["bytes"]
        assert 0 <= network["files"][name]["label_agreement"] <= 1
    assert network["files"]["float"] == {
        "bytes": rows["float"]["size_bytes"],
        "inputs": 40,
        "labels": 10,
        "max_difference": 0,
        "label_agreement": 1,
    }
    # The same integers in two layouts compute the same.
    own, naive = network["files"]["latency"], network["files"]["naive-qdq"]
    assert own["max_difference"] == pytest.approx(naive["max_difference"], abs=1e-5)
    assert network["files"]["latency"]["bytes"] < network["files"]["ort-dynamic-int8"]["bytes"]
    assert network["settings"] == [{"batch": 1, "threads": 1, "runs": 4, "warmup": 0}]
    assert network["machine"]["onnxruntime"]


def test_the_peers_run_what_their_names_say(network):
    ops = {row["name"]: row["ops"] for row in network["variants"]}
    assert ops["naive-qdq"]["DequantizeLinear"] == 5
    assert ops["ort-dynamic-int8"]["ConvInteger"] == 2
    assert ops["ort-static-int8"]["QLinearConv"] == ops["latency-int8-static"]["QLinearConv"] == 2
    assert not {"DequantizeLinear", "ConvInteger"} & {*ops["latency"], *ops["float"]}


def test_a_skipped_variant_carries_its_reason(network):
    assert network["skipped"] == {"openvino-portable": "openvino is not installed"}


def test_targets_say_what_was_measured_and_what_was_not(output):
    targets = {row["target"]: row for row in json.loads(output.read_text())["targets"]}
    small = targets["lenet: file latency / ort-dynamic-int8"]
    assert small["met"] is (small["value"] <= 0.55) is True
    timed = targets["lenet: p50 latency / float"]
    assert timed["rounds"] == [timed["value"]] * 2
    absent = targets["resnet18, 4 bits: file / float"]
    assert absent["value"] is None
    assert absent["met"] is None


def test_resume_measures_nothing_again_and_prints_it_all(run, output, capsys):
    before = json.loads(output.read_text())
    run(*SHORT, "--output", output, "--resume")
    printed = capsys.readouterr()
    assert "lenet: kept from" in printed.err
    assert "| lenet | openvino-portable | not measured: openvino is not installed |" in printed.out
    assert json.loads(output.read_text()) == before


def test_an_unknown_variant_is_named(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("--variants", "tflite", "--output", tmp_path / "deploy.json")
    assert "unknown variant 'tflite'" in capsys.readouterr().err
    assert not (tmp_path / "deploy.json").exists()
