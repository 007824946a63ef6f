"""Resampling, recurrent and less common operators of the twin: onnxruntime's values, and the slopes that they have."""

import itertools

import numpy as np
import pytest
import torch
from graphs import model, node, run
from onnx import TensorProto, helper

from edgepriv.artifact.compiler import OPERATORS, Untwinnable, attribute_value
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.operators import Attributes
from edgepriv.artifact.operators_more import MORE
from edgepriv.artifact.operators_recurrent import RECURRENT
from edgepriv.artifact.operators_resize import RESIZING

RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 4, 6, 5)).astype(np.float32)
MATRIX = RNG.standard_normal((4, 5)).astype(np.float32)
ROW = RNG.standard_normal(5).astype(np.float32)
GRID = RNG.uniform(-1.1, 1.1, (2, 3, 4, 2)).astype(np.float32)
SEQUENCE = RNG.standard_normal((5, 2, 3)).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def floats(*values):
    return np.array(values, np.float32)


def case(op, *inputs, opset=21, outputs="y", **attributes):
    marks = [f"{name}={value}" for name, value in attributes.items()]
    return pytest.param(op, inputs, opset, outputs, attributes, id="-".join([op, *marks, str(opset)]).replace(" ", ""))


def weights(gates, directions=1, hidden=4):
    shapes = (gates * hidden, 3), (gates * hidden, hidden), (2 * gates * hidden,)
    return [RNG.uniform(-1, 1, (directions, *shape)).astype(np.float32) for shape in shapes]


def states(count, directions=1, hidden=4):
    return [RNG.uniform(-1, 1, (directions, 2, hidden)).astype(np.float32) for _ in range(count)]


def resized(*, opset=21, sizes=None, scales=None, **attributes):
    return case("Resize", IMAGE, None, scales, sizes, opset=opset, **attributes)


POSITIONS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
UP, DOWN = floats(1, 1, 1.5, 2), ints(2, 4, 4, 2)

CASES = [
    *[
        resized(scales=UP, mode=mode, coordinate_transformation_mode=position)
        for mode, position in itertools.product(("nearest", "linear", "cubic"), POSITIONS)
    ],
    *[resized(sizes=DOWN, mode=mode) for mode in ("nearest", "linear", "cubic")],
    *[
        resized(scales=UP, mode="nearest", nearest_mode=mode)
        for mode in ("floor", "ceil", "round_prefer_ceil", "round_prefer_floor")
    ],
    resized(sizes=DOWN, mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5),
    resized(sizes=ints(3, 2), mode="linear", axes=[2, 3]),
    resized(sizes=ints(9, 9), mode="linear", axes=[2, 3], keep_aspect_ratio_policy="not_larger"),
    case("Resize", IMAGE, floats(1, 1, 2, 2), opset=10, mode="linear"),
    case("Upsample", IMAGE, floats(1, 1, 2, 3), opset=9, mode="nearest"),
    *[
        case("GridSample", IMAGE, GRID, mode=mode, padding_mode=padding, align_corners=corners)
        for mode, padding, corners in (("linear", "zeros", 0), ("nearest", "border", 1), ("cubic", "reflection", 0))
    ],
    case("GridSample", IMAGE, GRID, opset=16, mode="bilinear"),
    case("DepthToSpace", IMAGE, blocksize=2),
    case("DepthToSpace", IMAGE, blocksize=2, mode="CRD"),
    case("SpaceToDepth", IMAGE[..., :4], blocksize=2),
    case("DFT", IMAGE[:, :, :, :1], None, np.int64(2), onesided=1),
    case("DFT", IMAGE[:, :, :, :2], None, np.int64(1), inverse=1),
    case("DFT", IMAGE[:, :, :, :1], opset=17, axis=2),
    case("STFT", IMAGE[:, :, :, 0].reshape(2, 24, 1), np.int64(4), floats(0.5, 1, 1, 1, 1, 0.5), np.int64(6)),
    case("LSTM", SEQUENCE, *weights(4), hidden_size=4),
    case("LSTM", SEQUENCE, *weights(4, 2), None, *states(2, 2), hidden_size=4, direction="bidirectional"),
    case("LSTM", SEQUENCE, *weights(4)[:2], hidden_size=4, direction="reverse", outputs="- - y"),
    case("GRU", SEQUENCE, *weights(3), None, *states(1), hidden_size=4),
    case(
        "GRU", SEQUENCE, *weights(3, 2), hidden_size=4, direction="bidirectional", linear_before_reset=1, outputs="- y"
    ),
    case("RNN", SEQUENCE, *weights(1), hidden_size=4),
    case("RNN", SEQUENCE, *weights(1), hidden_size=4, direction="reverse", activations=["Relu"]),
    *[
        case(op, MATRIX)
        for op in ("Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Round", "Floor", "Ceil", "Sign", "Selu")
    ],
    case("Selu", MATRIX, alpha=2.0, gamma=0.5),
    case("ThresholdedRelu", MATRIX, alpha=0.5),
    case("Shrink", MATRIX, lambd=0.4, bias=0.1),
    case("Mod", MATRIX, np.abs(ROW), fmod=1),
    case("Mod", ints(7, -7, 5), ints(3, 3, -3)),
    case("Mean", MATRIX, ROW),
    case("Xor", MATRIX > 0, MATRIX > 1),
    case("IsNaN", np.where(MATRIX > 0, MATRIX, np.nan).astype(np.float32)),
    case("QuantizeLinear", MATRIX, np.float32(0.02), np.uint8(100)),
    case("QuantizeLinear", MATRIX, floats(0.1, 0.01, 0.02, 0.03, 0.5), np.array([0, 1, 2, -3, 4], np.int8), axis=1),
    case("TopK", MATRIX, ints(2), outputs="y z"),
    case("TopK", MATRIX, ints(2), outputs="y z", axis=0, largest=0),
    case("CumSum", MATRIX, np.int64(1), exclusive=1, reverse=1),
    case("GatherND", MATRIX, np.array([[0, 1], [3, -1]])),
    case("ScatterND", MATRIX, np.array([[1], [3]]), MATRIX[:2]),
    case("ScatterND", MATRIX, np.array([[1], [3]]), MATRIX[:2], reduction="add"),
    case("GatherElements", MATRIX, np.array([[0, -1], [2, 1]]), axis=1),
    case("ScatterElements", MATRIX, np.array([[0, -1], [2, 1]]), MATRIX[:2, :2], axis=1),
    case("ScatterElements", MATRIX, np.array([[0, 1], [2, 1]]), MATRIX[:2, :2], axis=1, reduction="add"),
    case("Trilu", MATRIX, np.int64(1)),
    case("Trilu", MATRIX, upper=0),
    case("LpNormalization", MATRIX, axis=1),
    case("LpNormalization", MATRIX, axis=0, p=1),
    case("ReduceProd", IMAGE, ints(1, -1), keepdims=0),
    case("ReduceL1", IMAGE, ints(1)),
    case("ReduceLogSum", np.abs(IMAGE), ints(-1), keepdims=0),
    case("RMSNormalization", MATRIX, ROW, opset=23),
    case("Size", IMAGE),
]
BOOLEAN, WHOLE = ("Xor", "IsNaN"), ("Size",)


@pytest.mark.parametrize(("op", "inputs", "opset", "outputs", "attributes"), CASES)
def test_operator_equals_onnxruntime(op, inputs, opset, outputs, attributes):
    names = ["-" if array is None else f"i{position}" for position, array in enumerate(inputs)]
    made = node(op, " ".join(names), " ".join("" if name == "-" else name for name in outputs.split()), **attributes)
    made.output[:] = ["" if name == "-" else name for name in outputs.split()]
    constants = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    fed = np.asarray(constants.pop("i0"))
    proto = model(
        [made], constants, inputs={"i0": fed.shape}, opset=opset, input_type=helper.np_dtype_to_tensor_dtype(fed.dtype)
    )
    kind = helper.np_dtype_to_tensor_dtype(fed.dtype)
    kind = TensorProto.BOOL if op in BOOLEAN else TensorProto.INT64 if op in WHOLE else kind
    if op == "QuantizeLinear":
        kind = helper.np_dtype_to_tensor_dtype(inputs[2].dtype)
    proto.graph.output[0].type.tensor_type.elem_type = kind
    expected = run(proto, fed)

    parsed = Attributes({attribute.name: attribute_value(attribute) for attribute in made.attribute}, opset)
    parsed["outputs"] = len(made.output)
    tensors = [torch.from_numpy(np.array(array)) if array is not None else None for array in inputs]
    found = OPERATORS[op](parsed, *tensors)
    found = found[outputs.split().index("y")] if isinstance(found, tuple) else found
    assert tuple(found.shape) == expected.shape
    np.testing.assert_allclose(found.numpy().astype(float), expected.astype(float), rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize(("op", "inputs", "opset", "outputs", "attributes"), [
    parameter for parameter in CASES if parameter.values[0] in ("Resize", "GridSample", "DFT", "STFT", "LSTM", "GRU", "RNN")
])  # fmt: skip
def test_slopes_are_those_of_small_differences(op, inputs, opset, outputs, attributes):
    parsed = Attributes(
        {attribute.name: attribute_value(attribute) for attribute in node(op, "x", **attributes).attribute}, opset
    )
    tensors = [torch.from_numpy(np.array(array)) if array is not None else None for array in inputs]
    tensors = [one.double() if one is not None and one.dtype == torch.float32 else one for one in tensors]
    x, rest = tensors[0], tensors[1:]

    def value(x):
        found = OPERATORS[op](parsed, x, *rest)
        found = found[outputs.split().index("y")] if isinstance(found, tuple) else found
        return (found * torch.linspace(-1, 1, found.numel(), dtype=torch.float64).reshape(found.shape)).sum()

    (slope,) = torch.autograd.grad(value(x.requires_grad_()), x)
    way = torch.from_numpy(np.random.default_rng(1).standard_normal(x.shape))
    with torch.no_grad():
        difference = (value(x + 1e-5 * way) - value(x - 1e-5 * way)) / 2e-5
    torch.testing.assert_close((slope * way).sum(), difference, rtol=1e-4, atol=1e-5)


def test_every_operator_is_compared():
    assert {parameter.values[0] for parameter in CASES} == {*RESIZING, *RECURRENT, *MORE}


def test_what_no_counterpart_has_names_itself(tmp_path):
    nodes = [
        node("Unsqueeze", "x axes", "i", name="/in"),
        node("Resize", "i - scales", "r", name="/up/Resize", mode="linear", antialias=1),
        node("Flatten", "r", "f"),
        node("MatMul", "f w"),
    ]
    constants = {"axes": ints(1, 2), "scales": floats(1, 1, 1, 0.5), "w": MATRIX[:2, :3]}
    made = model(nodes, constants)
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(Untwinnable, match=r"Resize \(node /up/Resize\): .*antialias"):
        DeployedModel.open(path).differentiable()
