"""What other tools make of the same float network: plain QDQ, onnxruntime's two quantizers, NNCF.

Each peer gets its best chance by its own documentation. onnxruntime's quantizers run on a graph that its own
``quant_pre_process`` has prepared (batch normalizations folded), and its 4-bit quantizer, which knows MatMul only, on one
whose Gemm were rewritten to MatMul by onnxruntime's own helper. Olive was not measured.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edgepriv.training.quantization import QuantizedTensor


def naive_qdq(model: onnx.ModelProto, weights: Mapping[str, QuantizedTensor], path: Path) -> None:
    """The weight-only export that one would write first: DequantizeLinear in front of each quantized weight.

    The integers and scales are ours; the graph is torch's, its batch normalizations unfolded, since folding them before
    packing is a part of what our ``portable`` profile does. Integers of up to 4 bits are stored as UINT4, else as UINT8.
    """
    graph = model.graph
    kept = [tensor for tensor in graph.initializer if tensor.name not in weights]
    packed, nodes = [], []
    for name in [tensor.name for tensor in graph.initializer if tensor.name in weights]:
        weight = weights[name]
        inputs = [f"{name}.integers", f"{name}.scale", f"{name}.zero_point"]
        packed += [
            _integers(inputs[0], weight.integers, weight.bits),
            numpy_helper.from_array(weight.scale, inputs[1]),
            _integers(inputs[2], weight.zero_point, weight.bits),
        ]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=0))
    _replace(graph.initializer, kept + packed)
    _replace(graph.node, nodes + list(graph.node))
    # A tensor of 4 bits and the name of the weight itself are new to the recorded shapes.
    _replace(graph.value_info, [value for value in graph.value_info if value.name not in weights])
    onnx.save(model, path)


def _integers(name: str, values: np.ndarray, bits: int) -> onnx.TensorProto:
    flat = values.reshape(-1)
    if bits > 4:
        return helper.make_tensor(name, TensorProto.UINT8, values.shape, flat.tobytes(), raw=True)
    padded = np.append(flat, np.uint8(0)) if flat.size % 2 else flat
    nibbles = (padded[0::2] | (padded[1::2] << 4)).astype(np.uint8)
    return helper.make_tensor(name, TensorProto.UINT4, values.shape, nibbles.tobytes(), raw=True)


def _replace(field: object, content: list) -> None:
    del field[:]  # type: ignore[attr-defined]
    field.extend(content)  # type: ignore[attr-defined]


@contextlib.contextmanager
def _prepared(model: onnx.ModelProto) -> Iterator[Path]:
    """The graph as onnxruntime's documentation prepares one for quantization."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, prepared = Path(folder) / "float.onnx", Path(folder) / "prepared.onnx"
        onnx.save(model, source)
        quant_pre_process(str(source), str(prepared))
        yield prepared


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """These tools log to the root logger, standard output and, from C++, standard error."""
    level = logging.root.level
    ort.set_default_logger_severity(3)
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
        logging.root.setLevel(level)
        ort.set_default_logger_severity(2)


def quantized_dynamically(model: onnx.ModelProto, path: Path) -> None:
    """``quantize_dynamic`` with its defaults: int8 weights, activations quantized to 8 bits at every inference."""
    from onnxruntime.quantization import quantize_dynamic

    with _prepared(model) as prepared:
        quantize_dynamic(str(prepared), str(path))


def matmul_nbits(model: onnx.ModelProto, path: Path) -> None:
    """``MatMulNBitsQuantizer`` with its defaults: 4 bits, blocks of 128, asymmetric. It leaves every Conv in float32."""
    with _quiet():
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        from onnxruntime.quantization.onnx_model import ONNXModel
    with _prepared(model) as prepared:
        wrapped = ONNXModel(onnx.load(prepared))
        wrapped.replace_gemm_with_matmul()
        quantizer = MatMulNBitsQuantizer(wrapped.model)
        quantizer.process()
        quantizer.model.save_model_to_file(str(path))


def compressed_by_nncf(model: onnx.ModelProto, path: Path) -> None:
    """NNCF's ``compress_weights`` at 4 bits in all layers, a scale for each channel as ours; it keeps Conv at 8 bits.

    Done on OpenVINO's own format, ``path`` and a .bin beside it: OpenVINO 2026.4 refuses what NNCF 3.4 writes as ONNX.
    """
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        import nncf
        import openvino

        source = Path(folder) / "float.onnx"
        onnx.save(model, source)
        compressed = nncf.compress_weights(
            openvino.Core().read_model(source),
            mode=nncf.CompressWeightsMode.INT4_ASYM,
            group_size=-1,
            ratio=1.0,
            all_layers=True,
        )
        openvino.save_model(compressed, path)
