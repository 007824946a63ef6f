"""What other tools make of the same float network: plain QDQ, onnxruntime's three quantizers, NNCF, LiteRT.

Each peer gets its best chance by its own documentation. onnxruntime's quantizers run on a graph that its own
``quant_pre_process`` has prepared (batch normalizations folded), and its 4-bit quantizer, which knows MatMul only, on one
whose Gemm were rewritten to MatMul by onnxruntime's own helper. Olive was not measured.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader
from torch import nn

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


class _Examples(CalibrationDataReader):  # type: ignore[misc]
    """Inputs one by one, as onnxruntime's quantizer asks for them."""

    def __init__(self, name: str, x: np.ndarray) -> None:
        self.left = iter([{name: row[None]} for row in x])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def quantized_statically(model: onnx.ModelProto, x: np.ndarray, path: Path) -> None:
    """``quantize_static``: QDQ, int8 weights for each channel, uint8 activations, calibrated on ``x`` float32 [n, ...].

    Without VNNI sums of 8-bit products saturate; its documentation has weights of 7 bits then (``reduce_range``).
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with _prepared(model) as prepared:
        quantize_static(
            str(prepared),
            str(path),
            _Examples(model.graph.input[0].name, x),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range="vnni" not in Path("/proc/cpuinfo").read_text(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def quantized_by_nncf(model: onnx.ModelProto, x: np.ndarray, path: Path) -> None:
    """NNCF's ``quantize``, its default post-training int8 of weights and activations, calibrated on ``x`` float32 [n, ...]."""
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        import nncf
        import openvino

        source = Path(folder) / "float.onnx"
        onnx.save(model, source)
        data = nncf.Dataset([row[None] for row in x])
        openvino.save_model(nncf.quantize(openvino.Core().read_model(source), data, subset_size=len(x)), path)


def converted_to_litert(network: nn.Module, shape: Sequence[int], path: Path) -> None:
    """LiteRT's own conversion of the torch network, float32, for one example at a time."""
    with _quiet():
        import litert_torch

        litert_torch.convert(network.eval(), (torch.zeros(1, *shape),)).export(str(path))


def quantized_for_litert(network: nn.Module, x: np.ndarray, path: Path) -> None:
    """LiteRT's file with int8 weights and activations by its quantizer, calibrated on ``x`` float32 [n, ...]."""
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        from ai_edge_quantizer import quantizer, recipe

        source = Path(folder) / "float.tflite"
        converted_to_litert(network, x.shape[1:], source)
        tool = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
        name = litert_input(source)
        ranges = tool.calibrate({"serving_default": [{name: row[None]} for row in x]})
        tool.quantize(ranges).export_model(str(path))


def litert_input(path: Path) -> str:
    """Name of the input in the file's signature."""
    from ai_edge_litert.interpreter import Interpreter

    (name,) = Interpreter(str(path)).get_signature_list()["serving_default"]["inputs"]
    return str(name)


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
