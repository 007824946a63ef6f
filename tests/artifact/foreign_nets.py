"""Float classifiers as other tools write them, small."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def constant(name, array):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))


def model_of(nodes, inputs, outputs, opset, initializers=()):
    graph = helper.make_graph(
        nodes, "theirs", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in initializers]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(8, 3 + opset // 3))
    onnx.checker.check_model(made)
    return made


def floats(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)


def angle_classifier():
    """Paddle's way: open height and width, a batch of -1, weights in Constant nodes, batch norms unfolded, squeeze-excite."""
    weights = {"conv0.w": normal(0, 16, 3, 3, 3), "se.w": normal(1, 16, 16, 1, 1), "fc.w": normal(2, 16, 2)}
    norms = {"gamma": 1 + normal(3, 16), "beta": normal(4, 16), "mean": normal(5, 16), "var": 1 + np.abs(normal(6, 16))}
    nodes = [constant(name, array) for name, array in (weights | norms).items()]
    nodes += [
        helper.make_node("Conv", ["x", "conv0.w"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", *norms], ["b"]),
        helper.make_node("HardSigmoid", ["b"], ["h"], alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", ["b", "h"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["s"]),
        helper.make_node("Conv", ["s", "se.w"], ["e"], kernel_shape=[1, 1]),
        helper.make_node("HardSigmoid", ["e"], ["g"]),
        helper.make_node("Mul", ["a", "g"], ["m"]),
        helper.make_node("GlobalAveragePool", ["m"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "fc.w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scale_0.tmp_1"]),
    ]
    return model_of(nodes, [floats("x", [-1, 3, "h", "w"])], [floats("scale_0.tmp_1", [-1, 2])], 11)


def file_type_classifier(tokens=64):
    """int32 tokens [N, 32], an embedding of 40 rows, a convolution along the sequence, gelu; TensorFlow's names."""
    weights = [
        ("embed/Gather:0", normal(0, 40, 8)),
        ("conv/kernel:0", normal(1, 16, 8, 5)),
        ("head/kernel:0", normal(2, 16, 5)),
        ("head/bias:0", normal(3, 5)),
        ("half", np.array(0.5, np.float32)),
        ("root", np.array(np.sqrt(0.5), np.float32)),
        ("one", np.array(1, np.float32)),
    ]
    nodes = [
        helper.make_node("Gather", ["embed/Gather:0", "bytes"], ["t"]),
        helper.make_node("Transpose", ["t"], ["u"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["u", "conv/kernel:0"], ["c"], kernel_shape=[5]),
        helper.make_node("Mul", ["c", "root"], ["r"]),
        helper.make_node("Erf", ["r"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["e1"]),
        helper.make_node("Mul", ["c", "e1"], ["ce"]),
        helper.make_node("Mul", ["ce", "half"], ["g"]),
        helper.make_node("ReduceMax", ["g"], ["p"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["p", "head/kernel:0"], ["q"]),
        helper.make_node("Add", ["q", "head/bias:0"], ["logits"]),
    ]
    source = helper.make_tensor_value_info("bytes", TensorProto.INT32, ["N", 32])
    return model_of(nodes, [source], [floats("logits", ["N", 5])], 15, weights)


def perceptron(opset=9):
    """scikit-learn's way: Gemm without transB, a batch of 4, an embedding beside the probabilities."""
    weights = [("w1", normal(0, 10, 12)), ("b1", normal(1, 12)), ("w2", normal(2, 12, 3)), ("b2", normal(3, 3))]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    outputs = [floats("embedding", [4, 12]), floats("probabilities", [4, 3])]
    return model_of(nodes, [floats("x", [4, 10])], outputs, opset, weights)


def channels_last():
    """Keras' way: the input [N, H, W, C], turned by the first operator."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "conv.w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["g"]),
        helper.make_node("Flatten", ["g"], ["v"]),
        helper.make_node("MatMul", ["v", "fc.w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
    ]
    weights = [("conv.w", normal(0, 16, 3, 3, 3)), ("fc.w", normal(1, 16, 5))]
    return model_of(nodes, [floats("x", ["N", 12, 16, 3])], [floats("p", ["N", 5])], 17, weights)
