"""The files that belong to a model file: its float twin, its audit, its bench. A file of another version is ignored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.files import read_json, sha256_of
from edgepriv.measure.devices import read_devices
from edgepriv.project import beside


def variants_of(model: DeployedModel, against: Sequence[Path]) -> dict[str, DeployedModel]:
    """The models that a bench sets side by side.

    Args:
        model: the one that ships.
        against: other .onnx files.

    Returns:
        By name: ``model``, its ``float`` twin if there is one, and the others.
    """
    variants = {"model": model}
    if model.verified_manifest() is None:
        twin_file = beside(model.path, "fp32.onnx")
        variants |= {"float": DeployedModel.open(twin_file)} if twin_file.exists() else {}
    elif model.float_twin is not None:  # another file of that name may be left from an earlier export
        variants |= {"float": model.float_twin}
    return variants | dict(zip(unique_names(against), map(DeployedModel.open, against), strict=True))


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Names that tell the models of a table apart.

    Args:
        paths: of the models.

    Returns:
        File names where they differ, else the paths as given.
    """
    short = [path.name for path in paths]
    clear = len(set(short)) == len(short) and not {"model", "float"} & set(short)
    return short if clear else [str(path) for path in paths]


def audit_beside(model: DeployedModel) -> dict[str, Any] | None:
    """The audit beside a model.

    Args:
        model: opened.

    Returns:
        Its content; None if there is none of these very bytes.
    """
    audited = beside(model.path, "audit.json")
    if not audited.exists():
        return None
    content = read_json(audited, "audit")
    return content if isinstance(content, dict) and content.get("sha256") == model.sha256 else None


def has_stale_audit(model: DeployedModel) -> bool:
    """Whether there is an audit beside a model that is of other bytes, so that it says nothing about these.

    Args:
        model: opened.

    Returns:
        True for one of other bytes.
    """
    return beside(model.path, "audit.json").exists() and audit_beside(model) is None


def imported_runs(model: DeployedModel, files: dict[str, Any], paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What devices measured of the files of a bench, or of the .ort that was written with the model.

    Args:
        model: opened.
        files: facts of the files of the bench, by name.
        paths: JSON that the kit's bench printed.

    Returns:
        The measurements.

    Raises:
        UserError: for those of other files.
    """
    known = {facts["sha256"]: (name, facts["size_bytes"]) for name, facts in files.items()}
    ort_file = beside(model.path, "ort")
    if paths and ort_file.exists():
        known.setdefault(sha256_of(ort_file), (ort_file.name, ort_file.stat().st_size))
    return [run for path in paths for run in read_devices(path, known)]


def bench_in(benched: Path, model: DeployedModel) -> dict[str, Any] | None:
    """The bench in a file.

    Args:
        benched: the file.
        model: opened.

    Returns:
        Its content; None if it is not one of these very bytes.
    """
    if not benched.exists():
        return None
    content = read_json(benched, "bench")
    return content if content.get("files", {}).get("model", {}).get("sha256") == model.sha256 else None
