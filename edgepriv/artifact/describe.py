"""What an .onnx file is made of, as JSON: its weights by layer and bits, its inputs, outputs and metadata."""

from dataclasses import asdict
from typing import Any

import onnx
from onnx import TensorProto

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.layers import stored_tensors
from edgepriv.artifact.session import histogram


def describe(model: DeployedModel) -> dict[str, Any]:
    """What any .onnx file holds, as a JSON-ready dictionary.

    Args:
        model: the file.

    Returns:
        ``size_bytes``, with the files beside it that hold weights, ``external``; ``inputs``, ``outputs`` [{name, type, shape}];
        ``batch``: the only number of inputs that it takes at a time, None for any;
        ``opset``; ``profile``, ``bits``, ``edgepriv_version``, ``class_names`` (None where the file does not say); ``ops`` as
        stored, before a runtime optimizes; ``layers`` [LayerSummary as dictionaries]; ``weights`` {parameters, stored_bytes,
        bits_per_weight}.

    Raises:
        UserError: if the file cannot be read.
    """
    graph, metadata = model.graph.graph, model.metadata
    stored_inside = stored_tensors(model.graph)
    inputs = [_value(value) for value in graph.input if value.name not in stored_inside]
    batches = {value["shape"][0] for value in inputs if value["shape"]}
    parameters = sum(layer.parameters for layer in model.layers)
    stored = sum(layer.stored_bytes for layer in model.layers)
    return {
        "size_bytes": model.size_bytes,
        "external": [file.name for file in model.external],
        "inputs": inputs,
        "batch": next((size for size in batches if isinstance(size, int)), None),
        "outputs": [_value(value) for value in graph.output],
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.graph.opset_import},
        "profile": metadata.get("profile"),
        "bits": metadata.get("bits"),
        **{name: metadata[name] for name in ("compute", "input", "output") if name in metadata},
        "edgepriv_version": metadata.get("edgepriv_version"),
        "class_names": list(model.class_names) if model.class_names is not None else None,
        "ops": histogram(model.graph),
        "layers": [asdict(layer) for layer in model.layers],
        "weights": {
            "parameters": parameters,
            "stored_bytes": stored,
            "bits_per_weight": round(8 * stored / parameters, 3) if parameters else None,
        },
    }


def _value(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    shape = [size.dim_value if size.HasField("dim_value") else size.dim_param or None for size in tensor.shape.dim]
    kind = TensorProto.DataType.Name(tensor.elem_type).lower() if value.type.HasField("tensor_type") else "sequence"
    return {"name": value.name, "type": kind, "shape": shape}
