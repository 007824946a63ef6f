"""What the device kit measured elsewhere, read back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgepriv.errors import UserError
from edgepriv.files import read_json


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Latency(_Part):
    """Milliseconds of ``n`` inferences."""

    p50: float = Field(ge=0)
    p90: float = Field(ge=0)
    p99: float = Field(ge=0)
    n: int = Field(ge=1)


class Memory(_Part):
    """Megabytes of 10^6 bytes; ``loaded`` and ``peak`` less ``baseline``; None where a platform does not tell."""

    baseline: float | None = None
    loaded: float | None = None
    peak: float | None = None


class Machine(_Part):
    """Where it ran. Whatever else a kit says of the machine is kept too."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="allow")

    cpu: str
    cores: int | None
    onnxruntime: str
    os: str


class DeviceRun(_Part):
    """One object that the kit's bench.py or bench.mjs prints with --json; single samples are dropped."""

    model: str
    runtime: str = "onnxruntime"
    sha256: str
    size_bytes: int = Field(ge=0)
    batch: int = Field(ge=1)
    threads: int = Field(ge=0)
    load_ms: float = Field(ge=0)
    first_ms: float = Field(ge=0)
    latency_ms: Latency
    rss_mb: Memory
    ops: dict[str, int] = Field(default_factory=dict)
    method: dict[str, Any] = Field(default_factory=dict)
    machine: Machine


def read_devices(path: Path, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Read the measurements of a JSON file, one object or a list.

    Args:
        path: the file that the device kit's bench wrote.
        names: sha256 -> name of every file that may have been measured.

    Returns:
        Each measurement as ``DeviceRun`` has it, with its variant's ``name``.

    Raises:
        UserError: when the file is not what the kit writes, or measured another model.
    """
    content = read_json(path, "measurement of the device kit")
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise UserError(f"{path} holds no measurement")
    runs = []
    for number, entry in enumerate(entries, 1):
        where = f"{path}, measurement {number}," if len(entries) > 1 else str(path)
        try:
            run = DeviceRun.model_validate(entry).model_dump(mode="json")
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"])) or "the object itself"
            raise UserError(
                f"{where} is not what the device kit's bench.py --json or bench.mjs --json prints: "
                f"{field} is missing or of another kind"
            ) from error
        if run["sha256"] not in names:
            known = ", ".join(f"{name} {sha256[:12]}" for sha256, name in names.items())
            raise UserError(
                f"{where} measured another file ({run['model']}, sha256 {run['sha256'][:12]}): "
                f"the files of this bench are {known}"
            )
        runs.append({"name": names[run["sha256"]], **run})
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
