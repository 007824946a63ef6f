"""model.manifest.json: where a model.onnx comes from. It stays home; the device gets the .onnx alone."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgepriv.artifact.export import Exported
from edgepriv.errors import UserError
from edgepriv.files import read_json, write_json

FORMAT_VERSION = 1


class Manifest(BaseModel):
    """Everything an audit needs that the device must not know.

    ``sha256``: hex, of the .onnx. ``recipe``: resolved. ``data``: name, sha256 and split record of the training data, None
    when unknown. ``stages``: of training that have run. ``defences``: what they measured as they ran, such as the epsilon
    spent. ``float_twin``: file, size and sha256 of the float32 model beside it, which an audit and a bench compare it with.
    ``elsewhere``: whether its first training was not edgepriv's, so that what ``recipe`` says of it is a guess.
    ``parity``, ``ops``, ``layers``, ``left_float``, ``ort``: as in ``export.Exported``. ``notes``: what to know of its
    quantizer. ``batch``: the only number of inputs that the file takes at a time, None for any. ``accuracy``: as
    ``accuracies.judged`` returns it, None in older files. ``guard``: file and sha256 of the MemGuard through which the device
    kit answers, None without one. ``compute``: which form with rounded activations was asked for, measured and taken, and what
    their ranges come from, as in ``export.Exported``. ``versions``: of the packages that made the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    sha256: str
    size_bytes: int
    recipe: dict[str, Any]
    data: dict[str, Any] | None
    stages: list[str] = []
    elsewhere: bool = False
    defences: dict[str, Any] = {}
    float_twin: dict[str, Any] | None = None
    parity: dict[str, Any]
    ops: dict[str, int]
    layers: list[dict[str, Any]]
    left_float: dict[str, str]
    ort: dict[str, Any] | None = None
    compute: dict[str, Any] | None = None
    guard: dict[str, Any] | None = None
    notes: list[str] = []
    batch: int | None = None
    accuracy: dict[str, Any] | None = None
    versions: dict[str, str]

    def write(self, path: Path) -> None:
        """Write the JSON, whole or not at all.

        Args:
            path: of the file.
        """
        write_json(path, self.model_dump(mode="json"))


# One argument for each part of the file that the export does not know.
def manifest_of(
    exported: Exported,
    recipe: dict[str, Any],
    data: dict[str, Any] | None,
    stages: Sequence[str] = (),
    defences: dict[str, Any] | None = None,
    float_twin: dict[str, Any] | None = None,
    guard: dict[str, Any] | None = None,
    notes: Sequence[str] = (),
    accuracy: dict[str, Any] | None = None,
    elsewhere: bool = False,
) -> Manifest:
    """The manifest of a file just exported; all dictionaries are JSON-ready.

    Args:
        exported: what was written, with its proofs.
        recipe: what the file was made by.
        data: name, digest and split of the data; None if unknown.
        stages: of training, in order.
        defences: what the defences measured, by name.
        float_twin: file, size and agreement of the float twin; None without one.
        guard: method, file and digest of MemGuard; None without it.
        notes: sentences about the quantizer.
        accuracy: rows, costs and warnings of ``accuracies.judged``.
        elsewhere: whether its first training was not edgepriv's.

    Returns:
        The manifest.
    """
    return Manifest(
        sha256=exported.sha256,
        size_bytes=exported.size_bytes,
        recipe=recipe,
        data=data,
        stages=list(stages),
        defences=defences or {},
        float_twin=float_twin,
        parity=asdict(exported.parity),
        ops=exported.ops,
        layers=[asdict(layer) for layer in exported.layers],
        left_float=exported.left_float,
        ort=exported.ort,
        compute=exported.compute,
        guard=guard,
        notes=[*notes, *(exported.compute or {}).get("notes", [])],
        batch=exported.batch,
        accuracy=accuracy,
        elsewhere=elsewhere,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Of the packages that make and run a file."""
    return {name: version(name) for name in ("edgepriv", "torch", "onnxruntime")}


def path_beside(onnx_path: Path) -> Path:
    """Where the manifest of a file stands: ``out/model.onnx`` -> ``out/model.manifest.json``.

    Args:
        onnx_path: of the file.

    Returns:
        The path.
    """
    return onnx_path.with_suffix(".manifest.json")


def read_beside(onnx_path: Path) -> Manifest | None:
    """The manifest next to a file.

    Args:
        onnx_path: of the file.

    Returns:
        The manifest; None if there is none.

    Raises:
        UserError: when there is one that cannot be read.
    """
    path = path_beside(onnx_path)
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate(read_json(path, "manifest"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is not a manifest of this version of edgepriv: {field}: {first['msg']}") from error


def verify(onnx_path: Path, manifest: Manifest, sha256: str) -> None:
    """Refuse a file that is not the one that its manifest was written for.

    Args:
        onnx_path: of the file, for the message.
        manifest: that stands beside it.
        sha256: of the file, hex.

    Raises:
        UserError: when the file has changed, or is the .ort.
    """
    if manifest.ort is not None and sha256 == manifest.ort["sha256"]:
        raise UserError(f"{onnx_path} is an .ort file: name the .onnx beside it, which computes the same")
    if sha256 != manifest.sha256:
        raise UserError(
            f"{onnx_path} has changed since its manifest was written (sha256 differs): export it again, or move "
            f"{path_beside(onnx_path).name} away to treat it as a foreign file"
        )
