"""A trained classifier -> model.onnx, proven before it appears."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto
from torch import nn

from edgepriv.artifact.build import build_graph
from edgepriv.artifact.describe import LayerSummary, layers
from edgepriv.artifact.parity import Parity, prove_parity
from edgepriv.artifact.session import histogram, open_session, optimized_graph
from edgepriv.errors import UserError
from edgepriv.files import written_aside
from edgepriv.recipe import Export
from edgepriv.training.quantizer import QuantizedTensor

_PACKED = (TensorProto.UINT4, TensorProto.INT4, TensorProto.UINT8, TensorProto.INT8)


@dataclass(frozen=True)
class Exported:
    """What was written and what was proven about it. ``ops``: operators of the optimized graph with their counts.
    ``left_float``: quantized parameter -> why it is not in the file as integers; empty as a rule."""

    path: Path
    size_bytes: int
    sha256: str
    parity: Parity
    ops: dict[str, int]
    layers: list[LayerSummary]
    left_float: dict[str, str]


def export(
    classifier: nn.Module,
    weights: Mapping[str, QuantizedTensor],
    *,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    x: np.ndarray,
    path: Path,
    settings: Export = Export(),  # noqa: B008 - frozen
) -> Exported:
    """Write ``path``, whole and proven, or nothing.

    ``weights``: integers by parameter name in ``classifier.network``, empty for the float twin. ``x``: real inputs
    float32 [n, *input_shape] in [0, 1], 1,000 or all there are. An existing ``path`` is replaced. Two proofs, on the very
    bytes that ship: torch and onnxruntime agree (``parity.prove_parity``), and in the graph that onnxruntime executes no
    weight is unpacked at inference and every packed Linear runs as MatMulNBits. Raises UserError when a proof fails.
    """
    built = build_graph(classifier, weights, input_shape=input_shape, class_names=class_names, settings=settings)
    with written_aside(path) as aside:
        aside.write_bytes(built.content)
        parity = prove_parity(classifier, weights, open_session(aside), x)
        optimized = optimized_graph(aside)
        prove_kernels(optimized, built.packed_linears, built.dequantized)
    return Exported(
        path,
        len(built.content),
        hashlib.sha256(built.content).hexdigest(),
        parity,
        histogram(optimized),
        layers(onnx.load_from_string(built.content)),
        dict(built.left_float),
    )


def prove_kernels(optimized: onnx.ModelProto, packed_linears: int, dequantized: int = 0) -> None:
    """Raise UserError unless the executed graph reads packed integers in ``packed_linears`` MatMulNBits, in
    ``dequantized`` DequantizeLinear and nowhere else."""
    packed = {tensor.name for tensor in optimized.graph.initializer if tensor.data_type in _PACKED}
    readers = Counter(node.op_type for node in optimized.graph.node if packed & {*node.input})
    readers.pop("MatMulNBits", None)
    if readers != Counter({"DequantizeLinear": dequantized} if dequantized else {}):
        raise UserError(
            f"onnxruntime would unpack weights at every inference (by {', '.join(sorted(readers)) or 'nothing'}), where "
            f"{dequantized} DequantizeLinear were meant to: export with a tested version of onnxruntime"
        )
    running = sum(node.op_type == "MatMulNBits" for node in optimized.graph.node)
    if running != packed_linears:
        raise UserError(
            f"{packed_linears} layers were packed, but onnxruntime runs {running} as MatMulNBits: "
            "export with a tested version of onnxruntime"
        )
