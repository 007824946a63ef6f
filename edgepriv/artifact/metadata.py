"""What a file says about itself: the text in its ``metadata_props``."""

import json
from collections.abc import Mapping
from typing import Any

import onnx

from edgepriv.device.table import KIND, TableError, table_of
from edgepriv.errors import UserError


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """The metadata of a graph.

    Args:
        model: the graph.

    Returns:
        Entries that are text; protobuf hands over damaged ones as bytes.
    """
    return {entry.key: entry.value for entry in model.metadata_props if isinstance(entry.value, str)}


def table_in(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """How the rows of a table become inputs.

    Args:
        metadata: of an .onnx file.

    Returns:
        The record, see ``edgepriv.device.table``; None for a file that takes no rows of a table.

    Raises:
        UserError: where the record cannot be read.
    """
    if KIND not in metadata:
        return None
    try:
        record: dict[str, Any] = table_of(metadata[KIND])
    except TableError as error:
        raise UserError(f"the metadata of the model are damaged: {error}") from error
    return record


def names_in(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Names of the classes.

    Args:
        metadata: of the graph.

    Returns:
        By class; None where there are none.
    """
    try:
        names = json.loads(metadata.get("class_names") or "null")
    except ValueError:
        return None
    return tuple(str(name) for name in names) if isinstance(names, list) else None


def rounds_activations(metadata: Mapping[str, str]) -> bool:
    """Whether a file of ours computes on activations of 8 bits.

    Args:
        metadata: of the file.

    Returns:
        True where it says so.
    """
    return metadata.get("compute", "").startswith("int8")
