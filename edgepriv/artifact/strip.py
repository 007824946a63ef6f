"""Nothing travels in the file that the device does not need: stack traces, long names, default values written out."""

import itertools
import string
from collections.abc import Iterator

import onnx_ir as ir

from edgepriv.artifact.head import HEAD

_ALPHABET = string.ascii_letters

_DEFAULTS: dict[str, dict[str, object]] = {
    "Conv": {"auto_pad": "NOTSET", "group": 1},
    "Gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
    "MaxPool": {"auto_pad": "NOTSET", "ceil_mode": 0, "storage_order": 0},
    "AveragePool": {"auto_pad": "NOTSET", "ceil_mode": 0, "count_include_pad": 0},
    "ReduceMean": {"keepdims": 1, "noop_with_empty_axes": 0},
    "BatchNormalization": {"momentum": 0.9, "training_mode": 0},
    "LayerNormalization": {"stash_type": 1},
}
_DEFAULT_LISTS = {"pads": 0, "strides": 1, "dilations": 1}
"""Attributes of Conv and the pools that default to a list of this number."""


def strip(model: ir.Model) -> None:
    """Drop what torch's exporter left behind and rename every value but inputs, outputs and parameters, in place.

    Gone are documentation strings, metadata of nodes, values and the model (they hold source paths and stack traces),
    shapes of intermediate values, names of nodes, and attributes that equal their defaults. What belongs to a head keeps its
    name, by which it can be told from the model.

    Args:
        model: changed in place.
    """
    graph = model.graph
    model.doc_string, model.producer_name, model.producer_version = None, "edgepriv", None
    model.domain, model.model_version = None, None
    model.metadata_props.clear()
    model.functions.clear()
    model.opset_imports.pop("pkg.onnxscript.torch_lib.common", None)
    graph.name, graph.doc_string = "edgepriv", None
    graph.metadata_props.clear()
    for node in graph:
        node.name = node.name if (node.name or "").startswith(HEAD) else None
        node.doc_string = None
        node.metadata_props.clear()
        _drop_default_attributes(node)
    _shorten_values(graph)


def _drop_default_attributes(node: ir.Node) -> None:
    defaults = _DEFAULTS.get(node.op_type, {})
    for name, attribute in list(node.attributes.items()):
        listed = node.op_type in ("Conv", "MaxPool", "AveragePool") and name in _DEFAULT_LISTS
        if (name in defaults and attribute.value == defaults[name]) or (
            listed and all(number == _DEFAULT_LISTS[name] for number in attribute.as_ints())
        ):
            node.attributes.pop(name)


def _shorten_values(graph: ir.Graph) -> None:
    kept = {*graph.inputs, *graph.outputs}
    names = _short_names({value.name for value in [*kept, *graph.initializers.values()]})
    for value in list(graph.initializers.values()):
        value.doc_string = None
        value.metadata_props.clear()
        value.shape, value.type = None, None
        if value.const_value is not None:
            value.const_value.doc_string = None
            value.const_value.metadata_props.clear()
    for value in kept:
        value.doc_string = None
        value.metadata_props.clear()
    for node in graph:
        for output in node.outputs:
            output.doc_string = None
            output.metadata_props.clear()
            if output not in kept:
                if not (output.name or "").startswith(HEAD):
                    output.name = next(names)
                output.shape, output.type = None, None


def _short_names(taken: set[str | None]) -> Iterator[str]:
    """a, b, ..., Z, aa, ab, ... without those taken."""
    for length in itertools.count(1):
        for letters in itertools.product(_ALPHABET, repeat=length):
            if (name := "".join(letters)) not in taken:
                yield name
