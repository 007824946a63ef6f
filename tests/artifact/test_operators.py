"""Every operator of the twin against onnxruntime's own."""

import numpy as np
import pytest
import torch
from graphs import model, node, run
from onnx import TensorProto, helper, numpy_helper

from edgepriv.artifact.compiler import attribute_value
from edgepriv.artifact.operators import ARITHMETIC, Attributes
from edgepriv.artifact.operators_layers import LAYERS
from edgepriv.artifact.operators_shapes import SHAPES
from edgepriv.artifact.operators_types import CASTS

OPERATORS = ARITHMETIC | LAYERS | SHAPES | CASTS
RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 3, 7, 6)).astype(np.float32)
MATRIX = RNG.standard_normal((4, 5)).astype(np.float32)
POSITIVE = np.abs(MATRIX) + 0.1
KERNEL = RNG.standard_normal((4, 3, 3, 2)).astype(np.float32)
ROW = RNG.standard_normal(5).astype(np.float32)
CHANNELS = RNG.uniform(0.5, 1.5, (4, 3)).astype(np.float32)
UNARY = (
    "Neg Abs Exp Tanh Sigmoid Relu Softplus Softsign HardSwish Mish Erf Identity HardSigmoid LeakyRelu Elu Celu Gelu"
)


def ints(*values):
    return np.array(values, np.int64)


def case(op, *inputs, opset=21, outputs="y", **attributes):
    marks = [f"{name}={value}" for name, value in attributes.items() if not isinstance(value, TensorProto)]
    return pytest.param(op, inputs, opset, outputs, attributes, id="-".join([op, *marks, str(opset)]).replace(" ", ""))


CASES = [
    *[case(op, MATRIX) for op in UNARY.split()],
    *[case(op, POSITIVE) for op in ("Log", "Sqrt", "Reciprocal")],
    *[case(op, MATRIX, POSITIVE) for op in ("Add", "Sub", "Mul", "Div")],
    *[case(op, MATRIX, ROW, POSITIVE) for op in ("Min", "Max", "Sum")],
    case("Pow", POSITIVE, np.float32(1.5)),
    case("Pow", POSITIVE, np.int64(2)),
    case("Div", ints(7, -7, 5), ints(2, 2, -3)),
    case("PRelu", MATRIX, ROW),
    case("HardSigmoid", MATRIX, alpha=0.5, beta=0.1),
    case("LeakyRelu", MATRIX, alpha=0.3),
    case("Gelu", MATRIX, approximate="tanh"),
    case("Clip", MATRIX, np.float32(-0.2), np.float32(0.4)),
    case("Clip", MATRIX, None, np.float32(0.4)),
    case("Clip", MATRIX, opset=10, min=-0.2, max=0.4),
    case("Dropout", MATRIX),
    case("Softmax", MATRIX),
    case("Softmax", IMAGE, axis=1),
    case("Softmax", IMAGE, opset=11, axis=1),
    case("Softmax", IMAGE, opset=11),
    case("LogSoftmax", MATRIX),
    case("LogSoftmax", IMAGE, opset=11, axis=2),
    case("Gemm", MATRIX, RNG.standard_normal((5, 3)).astype(np.float32)),
    case(
        "Gemm",
        MATRIX,
        RNG.standard_normal((3, 5)).astype(np.float32),
        RNG.standard_normal(3).astype(np.float32),
        transB=1,
    ),
    case("Gemm", MATRIX, RNG.standard_normal((4, 3)).astype(np.float32), MATRIX[:1, :1], transA=1, alpha=0.5, beta=2.0),
    case("MatMul", IMAGE, RNG.standard_normal((6, 2)).astype(np.float32)),
    case("Einsum", MATRIX, POSITIVE, equation="ij,kj->ik"),
    case("Conv", IMAGE, KERNEL),
    case("Conv", IMAGE, KERNEL, np.ones(4, np.float32), pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2]),
    case("Conv", IMAGE, KERNEL, auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", IMAGE, KERNEL, auto_pad="SAME_LOWER", strides=[2, 3]),
    case("Conv", IMAGE, KERNEL, auto_pad="VALID"),
    case("Conv", IMAGE, KERNEL[:3, :1], group=3, pads=[1, 1, 1, 1]),
    case("Conv", IMAGE[..., 0], KERNEL[..., 0]),
    case("ConvTranspose", IMAGE, KERNEL[:3]),
    case(
        "ConvTranspose",
        IMAGE,
        KERNEL[:3],
        np.arange(3, dtype=np.float32),
        pads=[1, 0, 2, 1],
        strides=[2, 3],
        output_padding=[1, 2],
    ),
    case("ConvTranspose", IMAGE, KERNEL[:3, :1], group=3, dilations=[2, 1]),
    case("ConvTranspose", IMAGE[..., 0], KERNEL[:3, ..., 0]),
    case("MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 2]),
    case("MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[0, 1, 2, 0]),
    case("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, pads=[1, 1, 1, 1]),
    case("MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2]),
    case("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", IMAGE, kernel_shape=[3, 2], strides=[2, 2]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[0, 1, 2, 1]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[0, 1, 2, 1], count_include_pad=1),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    case("GlobalAveragePool", IMAGE),
    case("GlobalMaxPool", IMAGE),
    case("LRN", IMAGE, size=3, alpha=0.1, beta=0.6, bias=1.5),
    case("BatchNormalization", IMAGE, *CHANNELS, epsilon=1e-2),
    case("LayerNormalization", MATRIX, ROW, ROW * 2, epsilon=1e-2),
    case("LayerNormalization", IMAGE, IMAGE[0, 0], axis=2),
    case("InstanceNormalization", IMAGE, *CHANNELS[:2]),
    case("GroupNormalization", np.concatenate([IMAGE, IMAGE * 2], 1), *np.tile(CHANNELS[:2], 2), num_groups=2),
    case("GroupNormalization", np.concatenate([IMAGE, IMAGE * 2], 1), *CHANNELS[:2, :2], num_groups=2, opset=18),
    case("ReduceMean", IMAGE, ints(-1, -2), keepdims=0),
    case("ReduceMean", IMAGE, opset=13, axes=[2], keepdims=1),
    case("ReduceMean", IMAGE),
    case("ReduceMean", IMAGE, noop_with_empty_axes=1),
    *[
        case(op, IMAGE, ints(1))
        for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
    ],
    case("Shape", IMAGE, start=1, end=3),
    case("Reshape", IMAGE, ints(0, -1, 3)),
    case("Reshape", IMAGE, ints(-1, 21), allowzero=1),
    case("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    case("Transpose", MATRIX),
    case("Squeeze", IMAGE[:1], ints(0)),
    case("Squeeze", IMAGE[:1]),
    case("Squeeze", IMAGE[:1], opset=11, axes=[0]),
    case("Unsqueeze", MATRIX, ints(-1, 0)),
    case("Unsqueeze", MATRIX, opset=11, axes=[1]),
    case("Slice", IMAGE, ints(1, -4), ints(100, -1), ints(1, 2)),
    case("Slice", IMAGE, ints(-1), ints(-100), ints(3), ints(-2)),
    case("Slice", IMAGE, ints(0, 1), ints(1, 2)),
    case("Slice", IMAGE, opset=9, starts=[1], ends=[5], axes=[2]),
    case("Split", MATRIX, ints(2, 3), outputs="y z", axis=1),
    case("Split", MATRIX, outputs="y z", axis=1, num_outputs=2),
    case("Split", IMAGE, opset=11, outputs="y z", axis=1, split=[1, 2]),
    case("Concat", MATRIX, POSITIVE, axis=-1),
    case("Flatten", IMAGE),
    case("Flatten", IMAGE, axis=-1),
    case("Flatten", IMAGE, axis=0),
    case("Gather", IMAGE, ints(2, -1), axis=1),
    case("Gather", IMAGE, np.int64(1), axis=2),
    case("Gather", MATRIX, np.array([[0, 1], [2, 3]])),
    case("Expand", ROW, ints(3, 1, 5)),
    case("Tile", MATRIX, ints(2, 3)),
    case("Pad", MATRIX, ints(0, 1, 2, 0), np.float32(7)),
    case("Pad", IMAGE, ints(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect"),
    case("Pad", IMAGE, ints(0, 0, 1, 2, 0, 0, 0, 1), mode="edge"),
    case("Pad", MATRIX, ints(1, 2), None, ints(-1)),
    case("Pad", MATRIX, opset=10, pads=[0, 1, 2, 0], value=3.0),
    case("ConstantOfShape", ints(2, 3), value=helper.make_tensor("v", TensorProto.FLOAT, [1], [2.5])),
    case("Range", np.int64(2), np.int64(9), np.int64(3)),
    case("Where", MATRIX > 0, MATRIX, POSITIVE),
    *[case(op, MATRIX, ROW) for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")],
    case("Not", MATRIX > 0),
    case("And", MATRIX > 0, MATRIX < 1),
    case("Or", MATRIX > 0, MATRIX < -1),
    case("Cast", MATRIX * 9, to=TensorProto.INT32),
    case("CastLike", MATRIX * 9, ints(1)),
    case("BitShift", np.array([200, 3], np.uint8), np.array([1, 2], np.uint8), direction="LEFT"),
    case("BitShift", np.array([200, 3], np.uint8), np.array([1, 2], np.uint8), direction="RIGHT"),
    case("BitwiseAnd", np.array([200, 3], np.uint8), np.array([129, 2], np.uint8)),
    case("BitwiseOr", np.array([200, 3], np.uint8), np.array([129, 2], np.uint8)),
    case("DequantizeLinear", np.array([[1, 200], [3, 4]], np.uint8), np.float32(0.5), np.uint8(100)),
    case("DequantizeLinear", np.array([[1, -20], [3, 4]], np.int8), np.array([0.5, 2], np.float32), axis=0),
    case(
        "DequantizeLinear",
        np.arange(12, dtype=np.int8).reshape(2, 6),
        np.array([[0.5, 2], [1, 3]], np.float32),
        np.array([[1, 2], [3, 4]], np.int8),
        axis=1,
        block_size=3,
    ),
]


@pytest.mark.parametrize(("op", "inputs", "opset", "outputs", "attributes"), CASES)
def test_operator_equals_onnxruntime(op, inputs, opset, outputs, attributes):
    names = ["-" if array is None else f"i{position}" for position, array in enumerate(inputs)]
    made = node(op, " ".join(names), outputs, **attributes)
    constants = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    # The first input is fed, so that onnxruntime executes the operator instead of folding it.
    fed = np.asarray(constants.pop("i0"))
    kind = helper.np_dtype_to_tensor_dtype(fed.dtype)
    expected_type = _result_type(op, fed, attributes)
    proto = model([made], constants, inputs={"i0": fed.shape}, opset=opset, input_type=kind)
    proto.graph.output[0].type.tensor_type.elem_type = expected_type
    expected = run(proto, fed)

    parsed = Attributes({attribute.name: attribute_value(attribute) for attribute in made.attribute}, opset)
    parsed["outputs"] = len(made.output)
    tensors = [torch.from_numpy(np.array(array)) if array is not None else None for array in inputs]
    found = OPERATORS[op](parsed, *tensors)
    found = found[0] if isinstance(found, tuple) else found
    assert tuple(found.shape) == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-6)


def _result_type(op, fed, attributes):
    if op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or"):
        return TensorProto.BOOL
    if op in ("DequantizeLinear", "ConstantOfShape", "Where"):
        return TensorProto.FLOAT
    if op in ("Shape", "CastLike"):
        return TensorProto.INT64
    return attributes["to"] if op == "Cast" else helper.np_dtype_to_tensor_dtype(fed.dtype)


def test_every_operator_is_compared():
    assert {parameter.values[0] for parameter in CASES} == OPERATORS.keys()


def test_constants_of_tensors_are_read():
    stored = helper.make_attribute("value", numpy_helper.from_array(MATRIX))
    np.testing.assert_array_equal(attribute_value(stored).numpy(), MATRIX)
