"""What the files have to reach, each with what was measured."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from variants import NETWORKS

FIRST = (1, 1)
"""Batch and threads for which a target holds; the worst of the other settings is told beside it."""

FILE_SIZES = {
    ("resnet18", 4): 0.132,
    ("resnet50", 4): 0.135,
    ("vgg16", 4): 0.130,
    ("mobilenet_v3_small", 4): 0.17,
    ("resnet18", 2): 0.070,
    ("resnet18", 3): 0.101,
    ("resnet18", 6): 0.195,
}
LATENCIES = [
    *((name, "latency", "float", 1.03) for name, network in NETWORKS.items() if network.convolutional),
    ("mlp-6170", "latency", "float", 0.55),
    ("mlp-6170", "latency-int8", "float", 0.13),
    ("resnet18-32", "memory", "float", 1.25),
    ("resnet18-32", "memory-int8", "float", 0.90),
    *((name, "latency", "ort-dynamic-int8", 1.0) for name, network in NETWORKS.items() if network.convolutional),
]
PEAKS = [("resnet18-32", "memory", 0.35), ("mlp-6170", "memory", 0.35)]
AGAINST_DYNAMIC = 0.55
PACKING_S = 10.0


def targets(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``target``, ``limit``, ``value`` (None: not measured), ``rounds`` [min, max] of a timing, ``worst`` among the other
    settings, ``met`` (None: not measured). Values are ratios but for the packing, in seconds."""
    return [row | {"met": None if row["value"] is None else row["value"] <= row["limit"]} for row in _rows(report)]


def _rows(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    sizes, networks = report["sizes"], report["networks"]
    for (name, bits), limit in FILE_SIZES.items():
        network_sizes = sizes.get(name)
        yield _row(
            f"{name}, {bits} bits: file / float", limit, network_sizes and network_sizes["bits"][str(bits)]["ratio"]
        )
    for name, own, other, limit in LATENCIES:
        by_setting = speeds(networks.get(name), own, other)
        label = f"{name}: p50 {own} / {other}"
        if FIRST not in by_setting:
            yield _row(label, limit, None)
            continue
        low, value, high = by_setting[FIRST]
        yield _row(label, limit, value) | {
            "rounds": [low, high],
            "worst": max((ratio[1] for setting, ratio in by_setting.items() if setting != FIRST), default=None),
        }
    for name, own, limit in PEAKS:
        yield _row(f"{name}: peak memory {own} / float", limit, _peak(networks.get(name), own))
    for name, network in NETWORKS.items():
        if network.convolutional:
            files = networks.get(name, {}).get("files", {})
            pair = [files[each]["bytes"] for each in ("latency", "ort-dynamic-int8") if each in files]
            value = pair[0] / pair[1] if len(pair) == 2 else None
            yield _row(f"{name}: file latency / ort-dynamic-int8", AGAINST_DYNAMIC, value)
    packing = sizes.get("resnet50", {}).get("packing_s")
    row = _row("resnet50, 4 bits: seconds of packing", PACKING_S, packing and float(np.median(packing)))
    yield row | {"rounds": [min(packing), max(packing)] if packing else None}


def _row(target: str, limit: float, value: float | None) -> dict[str, Any]:
    return {"target": target, "limit": limit, "value": value, "rounds": None, "worst": None}


def variant_rows(network: Mapping[str, Any] | None, name: str) -> dict[tuple[int, int], Mapping[str, Any]]:
    """The measurements of one variant by (batch, threads)."""
    rows = network["variants"] if network else []
    return {(row["batch"], row["threads"]): row for row in rows if row["name"] == name}


def speeds(network: Mapping[str, Any] | None, own: str, other: str) -> dict[tuple[int, int], list[float]]:
    """[min, median, max] over the rounds of p50 / p50, by (batch, threads)."""
    others = variant_rows(network, other)
    by_setting = {}
    for setting, row in variant_rows(network, own).items():
        if setting in others:
            pairs = zip(row["latency_p50_rounds"], others[setting]["latency_p50_rounds"], strict=True)
            ratios = [a / b for a, b in pairs]
            by_setting[setting] = [min(ratios), float(np.median(ratios)), max(ratios)]
    return by_setting


def _peak(network: Mapping[str, Any] | None, own: str) -> float | None:
    row, reference = (variant_rows(network, name).get(FIRST) for name in (own, "float"))
    if row is None or reference is None:
        return None
    peak, baseline = row["rss_mb"]["peak"], reference["rss_mb"]["peak"]
    return peak / baseline if peak is not None and baseline else None
