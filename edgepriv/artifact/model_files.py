"""A model is more than its .onnx: weights may stand in other files beside it, and count as much as those inside."""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, TensorProto

from edgepriv.errors import UserError
from edgepriv.files import sha256_of


def external_files(path: Path) -> list[Path]:
    """The files beside the .onnx that hold weights of it, each once, in the order of their names; none for most models.

    Raises UserError when one of them is missing, or stands outside the model's folder: a model must not read files that
    were not given with it. A file that is no ONNX has none; whoever opens it says so.
    """
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except Exception:  # protobuf's own exceptions
        return []
    locations = {_location(tensor) for tensor in _tensors(model.graph) if tensor.data_location == TensorProto.EXTERNAL}
    return [_beside(path, location) for location in sorted(locations)]


def sha256_of_model(path: Path) -> str:
    """Hex sha256 of a model: of its bytes, and where weights stand in other files, of the digests of all of them."""
    others = external_files(path)
    if not others:
        return sha256_of(path)
    digests = [sha256_of(path), *(f"{other.name} {sha256_of(other)}" for other in others)]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def size_of_model(path: Path) -> int:
    """Bytes on disk of the .onnx and of the files that hold its weights."""
    return sum(file.stat().st_size for file in (path, *external_files(path)))


def file_facts(path: Path) -> dict[str, Any]:
    """Name, sha256 and size in bytes of the whole model, and the names of the files beside the .onnx if there are any."""
    facts = {"file": path.name, "sha256": sha256_of_model(path), "size_bytes": size_of_model(path)}
    others = external_files(path)
    return facts | ({"external": [other.relative_to(path.parent).as_posix() for other in others]} if others else {})


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every stored tensor, those of subgraphs and of attributes too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.type == AttributeProto.GRAPH else []), *attribute.graphs):
                yield from _tensors(inner)


def _location(tensor: TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _beside(path: Path, location: str) -> Path:
    folder = path.parent.resolve()
    file = path.parent / PurePosixPath(location)
    if not location or PurePosixPath(location).is_absolute() or not file.resolve().is_relative_to(folder):
        raise UserError(
            f"{path} keeps weights in {location!r}, outside its own folder: such files are not read; save the model with its "
            "weights inside, or beside it"
        )
    if not file.is_file():
        raise UserError(f"{path} keeps weights in {location}, which is not beside it: copy both files together")
    return file
