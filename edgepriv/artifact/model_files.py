"""A model is more than its .onnx: weights may stand in other files beside it, and count as much as those inside."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from onnx import AttributeProto, GraphProto, TensorProto

from edgepriv.errors import UserError


def parsed(content: bytes) -> onnx.ModelProto | None:
    """The graph in a file.

    Args:
        content: of the file.

    Returns:
        The graph, without weights that stand in other files; None of bytes that are no ONNX.
    """
    try:
        return onnx.load_from_string(content)
    except Exception:  # protobuf's own exceptions
        return None


def external_files(path: Path, model: onnx.ModelProto) -> list[Path]:
    """The files beside an .onnx that hold weights of it.

    Args:
        path: of the .onnx.
        model: its graph.

    Returns:
        Each once, in the order of their names.

    Raises:
        UserError: when one of them is missing, or stands outside the model's folder: a model must not read files that were not
            given with it.
    """
    locations = {_location(tensor) for tensor in _tensors(model.graph) if tensor.data_location == TensorProto.EXTERNAL}
    return [_beside(path, location) for location in sorted(locations)]


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
