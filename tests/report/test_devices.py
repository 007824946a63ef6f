from edgepriv.report.devices import device_rows
from edgepriv.report.tables import bench_tables


def run(name, p50, cpu, batch=1):
    return {
        "name": name,
        "runtime": "onnxruntime-node",
        "threads": 1,
        "batch": batch,
        "load_ms": 5.0,
        "first_ms": 2.0,
        "latency_ms": {"p50": p50, "p90": p50, "p99": p50, "n": 200},
        "rss_mb": {"baseline": None, "loaded": None, "peak": None},
        "machine": {"cpu": cpu, "cores": 4, "onnxruntime": "1.30.0", "os": "Linux"},
    }


def test_every_device_stands_below_the_workstation_with_the_same_setting(bench):
    bench["devices"] = [run("hardened", 0.408, "A board"), run("hardened", 9.0, "A phone", batch=8)]
    rows = device_rows(bench)
    assert [(row["where"], row["batch"]) for row in rows] == [
        ("this workstation: A CPU, 2 cores", 1),
        ("A board, 4 cores", 1),
        ("A phone, 4 cores", 8),
    ]
    assert rows[0]["ratio"] is None
    assert round(rows[1]["ratio"], 6) == 2  # the workstation's p50 is 0.204 ms
    assert rows[2]["ratio"] is None  # nothing of batch 8 to compare with


def test_without_devices_there_is_no_table(bench):
    assert device_rows(bench) == []
    assert len([part for part in bench_tables(bench) if not isinstance(part, str)]) == 1
    measured = bench_tables(bench | {"devices": [run("hardened", 1.0, "A board")]})
    assert len([part for part in measured if not isinstance(part, str)]) == 2
