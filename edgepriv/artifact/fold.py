"""BatchNormalization into the layer before it: exact, and the integers stay integers."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgepriv.training.quantization import QuantizedTensor

_BIAS = 2
"""Position of the bias among the inputs of Conv and Gemm; the weight stands before it."""


def fold_batch_norms(graph: ir.Graph, weights: Mapping[str, QuantizedTensor]) -> dict[str, QuantizedTensor]:
    """Fold every BatchNormalization that directly follows a Conv or a Linear.

    y = (Wx + b - mean) * f + shift with f = gamma / sqrt(var + eps) for each output channel. A float weight is
    multiplied by f; for an integer weight |f| joins the scale and a negative f mirrors the grid, q -> 2^bits - 1 - q
    and zero_point alike, so the weight's scale becomes one per channel. Left alone, as BatchNormalization: one behind
    anything else (DenseNet's stand before the convolution), or behind a layer whose output or weight is used elsewhere.

    Args:
        graph: changed in place.
        weights: integers by name.

    Returns:
        The integers after it.
    """
    folded = dict(weights)
    for norm in [node for node in graph if node.op_type == "BatchNormalization"]:
        layer = _foldable_layer(norm)
        if layer is None:
            continue
        factor, shift = _affine(norm)
        weight = layer.inputs[1]
        assert weight is not None
        assert weight.name is not None
        if weight.name in folded:
            folded[weight.name] = scale_channels(folded[weight.name], factor)
        else:
            _replace_array(weight, _array(weight) * _along_rows(factor, _array(weight).ndim))
        old_bias = layer.inputs[_BIAS] if len(layer.inputs) > _BIAS else None
        bias = shift if old_bias is None else _array(old_bias) * factor + shift
        if old_bias is not None and len(old_bias.uses()) == 1:
            _replace_array(old_bias, bias)
        else:
            _add_bias(graph, layer, weight.name.removesuffix("weight") + "bias", bias)
        norm.outputs[0].replace_all_uses_with(layer.outputs[0], replace_graph_outputs=True)
        graph.remove(norm, safe=True)
    drop_unused_initializers(graph)
    return folded


def scale_channels(tensor: QuantizedTensor, factor: np.ndarray) -> QuantizedTensor:
    """The integers of ``factor * weight``.

    Args:
        tensor: the weight.
        factor: float64 [C] of any sign, one for each row of axis 0.

    Returns:
        The product.
    """
    top = tensor.integers.dtype.type(2**tensor.bits - 1)
    integers = np.where(_along_rows(factor < 0, tensor.integers.ndim), top - tensor.integers, tensor.integers)
    if tensor.block is not None:
        factor = factor[:, None]
    flip = factor < 0
    zero_point = np.where(flip, top - tensor.zero_point, tensor.zero_point)
    # A channel switched off (factor 0) keeps the smallest scale there is: what it adds vanishes beside any shift.
    scale = np.maximum(tensor.scale * np.abs(factor), np.finfo(np.float32).tiny).astype(np.float32)
    return replace(tensor, integers=integers, scale=scale, zero_point=zero_point)


def drop_unused_initializers(graph: ir.Graph) -> None:
    """Remove the initializers that no node reads.

    Args:
        graph: changed in place.
    """
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        graph.initializers.pop(name)


def drop_zero_biases(graph: ir.Graph) -> None:
    """Remove the zeros that torch's exporter adds to a convolution without bias.

    Args:
        graph: changed in place.
    """
    for node in graph:
        bias = node.inputs[_BIAS] if node.op_type == "Conv" and len(node.inputs) > _BIAS else None
        if bias is not None and bias.is_initializer() and not _array(bias).any():
            node.resize_inputs(_BIAS)
    drop_unused_initializers(graph)


def _foldable_layer(norm: ir.Node) -> ir.Node | None:
    source = norm.inputs[0]
    layer = source.producer() if source is not None else None
    if layer is None or len(layer.outputs[0].uses()) != 1 or layer.outputs[0].is_graph_output():
        return None
    if layer.op_type == "Gemm":
        plain = all(
            (layer.attributes[name].value if name in layer.attributes else default) == wanted
            for name, default, wanted in (("transA", 0, 0), ("transB", 0, 1), ("alpha", 1.0, 1.0), ("beta", 1.0, 1.0))
        )
        if not plain:
            return None
    elif layer.op_type != "Conv":
        return None
    constants = [*layer.inputs[1:], *norm.inputs[1:]]
    if any(value is not None and not value.is_initializer() for value in constants):
        return None
    weight = layer.inputs[1]
    return layer if weight is not None and len(weight.uses()) == 1 else None


def _affine(norm: ir.Node) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (_array(value) for value in norm.inputs[1:5])
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    factor = gamma / np.sqrt(variance + epsilon)
    return factor, beta - mean * factor


def _add_bias(graph: ir.Graph, layer: ir.Node, name: str, bias: np.ndarray) -> None:
    value = ir.val(_free_name(graph, name), const_value=ir.tensor(bias.astype(np.float32)))
    graph.register_initializer(value)
    layer.resize_inputs(_BIAS + 1)
    layer.replace_input_with(_BIAS, value)


def _free_name(graph: ir.Graph, name: str) -> str:
    while name in graph.initializers:
        name += "_"
    return name


def _replace_array(value: ir.Value, array: np.ndarray) -> None:
    value.const_value = ir.tensor(array.astype(np.float32), name=value.name)


def _array(value: ir.Value | None) -> np.ndarray:
    """An initializer in float64: factors are computed there and rounded once."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)


def _along_rows(vector: np.ndarray, ndim: int) -> np.ndarray:
    return vector.reshape((-1,) + (1,) * (ndim - 1))
