"""What a file says about itself: the text in its ``metadata_props``."""

import json
from collections.abc import Mapping

import onnx


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """Entries that are text; protobuf hands over damaged ones as bytes."""
    return {entry.key: entry.value for entry in model.metadata_props if isinstance(entry.value, str)}


def names_in(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Names of the classes; None where there are none."""
    try:
        names = json.loads(metadata.get("class_names") or "null")
    except ValueError:
        return None
    return tuple(str(name) for name in names) if isinstance(names, list) else None
