"""What the device kit measured elsewhere, read back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from edgepriv.errors import UserError
from edgepriv.files import read_json
from edgepriv.records import Count, Record, checked


class Latency(Record):
    """Milliseconds of ``n`` inferences; a coarse clock may read 0."""

    model_config = ConfigDict(extra="ignore")

    p50: float = Field(ge=0)
    p90: float = Field(ge=0)
    p99: float = Field(ge=0)
    n: Count

    @model_validator(mode="after")
    def _in_order(self) -> "Latency":
        if not self.p50 <= self.p90 <= self.p99:
            raise ValueError(
                f"p50, p90 and p99 are {self.p50:g}, {self.p90:g} and {self.p99:g} ms, and percentiles never fall"
            )
        return self


class Memory(Record):
    """Megabytes of 10^6 bytes; ``loaded`` and ``peak`` less ``baseline``; None where a platform does not tell."""

    model_config = ConfigDict(extra="ignore")

    baseline: float | None = Field(None, gt=0)
    loaded: float | None = None
    peak: float | None = None


class Machine(Record):
    """Where it ran. Whatever else a kit says of the machine is kept too."""

    cpu: str
    cores: Count | None
    onnxruntime: str
    os: str


class DeviceRun(Record):
    """One object that the kit's bench.py or bench.mjs prints with --json; single samples are dropped."""

    model_config = ConfigDict(extra="ignore")

    model: str
    runtime: str = "onnxruntime"
    sha256: str
    size_bytes: Count
    batch: Count
    threads: int = Field(ge=0)
    load_ms: float = Field(ge=0)
    first_ms: float = Field(ge=0)
    latency_ms: Latency
    rss_mb: Memory
    ops: dict[str, Count] = Field(default_factory=dict)
    method: dict[str, Any] = Field(default_factory=dict)
    machine: Machine


def read_devices(path: Path, files: Mapping[str, tuple[str, int]]) -> list[dict[str, Any]]:
    """Read the measurements of a JSON file, one object or a list.

    Args:
        path: the file that the device kit's bench wrote.
        files: sha256 -> name and bytes of every file that may have been measured.

    Returns:
        Each measurement as ``DeviceRun`` has it, with its variant's ``name``.

    Raises:
        UserError: when the file is not what the kit writes, holds figures that cannot be, or measured another model.
    """
    content = read_json(path, "measurement of the device kit")
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise UserError(f"{path} holds no measurement")
    runs = []
    for number, entry in enumerate(entries, 1):
        where = f"{path}, measurement {number}," if len(entries) > 1 else str(path)
        no_kit = f"{where} is not what the device kit's bench.py --json or bench.mjs --json prints"
        run = checked(DeviceRun, entry, no_kit).model_dump(mode="json")
        if run["sha256"] not in files:
            known = ", ".join(f"{name} {sha256[:12]}" for sha256, (name, _) in files.items())
            raise UserError(
                f"{where} measured another file ({run['model']}, sha256 {run['sha256'][:12]}): "
                f"the files of this bench are {known}"
            )
        name, size = files[run["sha256"]]
        if run["size_bytes"] != size:
            raise UserError(f"{where} measured {name} of {run['size_bytes']:,} bytes, and that file has {size:,}")
        runs.append({"name": name, **run})
    return runs


def merged(known: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two lists of measurements.

    Args:
        known: earlier ones.
        new: which replace those of the same file, setting, runtime and machine.

    Returns:
        Both.
    """
    rows = {_identity(run): run for run in (*known, *new)}
    return list(rows.values())


def _identity(run: Mapping[str, Any]) -> str:
    keys = ("sha256", "threads", "batch", "runtime", "machine")
    return json.dumps([run[key] for key in keys], sort_keys=True)
