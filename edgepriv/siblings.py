"""What stands beside a model file: its float twin, its audit, its bench. What belongs to other bytes does not count."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepriv.artifact import manifest
from edgepriv.artifact.model_files import sha256_of_model
from edgepriv.files import read_json
from edgepriv.measure.devices import read_devices
from edgepriv.project import beside


def variants_of(model: Path, against: Sequence[Path]) -> dict[str, Path]:
    """The files that a bench sets side by side, by name: ``model``, its ``float`` twin if there is one, and ``against``."""
    known = manifest.read_beside(model)
    variants = {"model": model}
    if known is None:
        twin_file = beside(model, "fp32.onnx")
        variants |= {"float": twin_file} if twin_file.exists() else {}
    else:
        manifest.verify(model, known)
        twin = manifest.unchanged_twin(model, known)  # another file of that name may be left from an earlier export
        variants |= {"float": twin} if twin else {}
    return variants | dict(zip(unique_names(against), against, strict=True))


def unique_names(paths: Sequence[Path]) -> list[str]:
    """File names where they tell the models apart, else the paths as given."""
    short = [path.name for path in paths]
    clear = len(set(short)) == len(short) and not {"model", "float"} & set(short)
    return short if clear else [str(path) for path in paths]


def audit_beside(model: Path) -> dict[str, Any] | None:
    """The audit beside the model, if it is one of these very bytes."""
    audited = beside(model, "audit.json")
    if not audited.exists():
        return None
    content = read_json(audited, "audit")
    return content if content.get("sha256") == sha256_of_model(model) else None


def has_stale_audit(model: Path) -> bool:
    """Whether there is an audit beside the model that is of other bytes, so that it says nothing about these."""
    return beside(model, "audit.json").exists() and audit_beside(model) is None


def imported_runs(model: Path, files: dict[str, Any], paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What devices measured of the files of a bench, or of the .ort that was written with the model."""
    names = {facts["sha256"]: name for name, facts in files.items()}
    ort_file = beside(model, "ort")
    if paths and ort_file.exists():
        names.setdefault(sha256_of_model(ort_file), ort_file.name)
    return [run for path in paths for run in read_devices(path, names)]


def bench_in(benched: Path, model: Path) -> dict[str, Any] | None:
    """The bench in a file, if it is one of these very bytes."""
    if not benched.exists():
        return None
    content = read_json(benched, "bench")
    return content if content.get("files", {}).get("model", {}).get("sha256") == sha256_of_model(model) else None
