"""Small ONNX graphs written by hand, and random integer weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgepriv.artifact.session import open_session
from edgepriv.training.quantization import QuantizedTensor

Shape = Sequence[int | str]


def model(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    inputs: Mapping[str, Shape] | None = None,
    outputs: Mapping[str, Shape] | None = None,
    opset: int = 21,
    input_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model from ``x`` [N, 4] to ``y`` unless said otherwise."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in (inputs or {"x": ["N", 4]}).items()],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (outputs or {"y": None}).items()
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    imports = [
        helper.make_opsetid("", opset),
        helper.make_opsetid("com.microsoft", 1),
        helper.make_opsetid("ai.onnx.ml", 3),
    ]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """``node("Gemm", "x w b", "y")``; ``-`` is an input left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), **attributes)


def run(proto: onnx.ModelProto | ir.Model, *inputs: np.ndarray) -> np.ndarray:
    """The first output, from onnxruntime."""
    if isinstance(proto, ir.Model):
        proto = ir.to_proto(proto)
    session = open_session(proto.SerializeToString())
    return session.run(None, dict(zip((value.name for value in session.get_inputs()), inputs, strict=True)))[0]


def quantized(
    shape: Sequence[int], bits: int, *, granularity: str = "channel", seed: int = 0, zero_point: int | None = None
) -> QuantizedTensor:
    """Random integers that use the whole range."""
    rng = np.random.default_rng(seed)
    channels = shape[0] if granularity == "channel" else 1
    zero_points = rng.integers(0, 2**bits, channels) if zero_point is None else np.full(channels, zero_point)
    return QuantizedTensor(
        rng.integers(0, 2**bits, shape).astype(np.uint8),
        rng.uniform(0.01, 0.1, channels).astype(np.float32),
        zero_points.astype(np.uint8),
        bits,
    )
