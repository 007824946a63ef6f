"""Measurements of the device kit beside those of the workstation."""

from collections.abc import Mapping, Sequence
from typing import Any

WORKSTATION = "this workstation"


def device_rows(bench: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the section "On devices".

    For every file and setting that a device measured: the workstation's row, if it measured the same, then the devices'.

    Args:
        bench: content of model.bench.json.

    Returns:
        One dictionary for each row, empty if nothing was imported. ``where``, ``runtime`` and ``system`` say what computed;
        ``load_ms``, ``first_ms`` and ``latency_ms`` are milliseconds, ``rss_mb`` megabytes of 10^6 bytes; ``ratio`` is the p50
        latency as device / workstation, None where one of them is missing.
    """
    devices: Sequence[Mapping[str, Any]] = bench.get("devices", [])
    own = {_setting(row): row for row in bench["variants"]}
    rows = []
    for setting in dict.fromkeys(map(_setting, devices)):
        here = own.get(setting)
        if here is not None:
            rows.append(_row({**here, "runtime": "onnxruntime", "machine": bench["machine"]}, None, WORKSTATION))
        rows += [_row(run, here) for run in devices if _setting(run) == setting]
    return rows


def _row(run: Mapping[str, Any], here: Mapping[str, Any] | None, prefix: str = "") -> dict[str, Any]:
    machine = run["machine"]
    cores = f", {machine['cores']} cores" if machine["cores"] else ""
    processor = f"{machine['cpu']}{cores}"
    return {
        "name": run["name"],
        "threads": run["threads"],
        "batch": run["batch"],
        "where": f"{prefix}: {processor}" if prefix else processor,
        "runtime": f"{run['runtime']} {machine['onnxruntime']}",
        "system": machine["os"],
        "load_ms": run["load_ms"],
        "first_ms": run["first_ms"],
        "latency_ms": run["latency_ms"],
        "rss_mb": run["rss_mb"],
        "ratio": None if here is None else _ratio(run["latency_ms"]["p50"], here["latency_ms"]["p50"]),
    }


def _ratio(own: float, other: float) -> float | None:
    return own / other if other > 0 else None


def _setting(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["name"], row["threads"], row["batch"]
