"""Which operators onnxruntime executes, read from the optimized graph that it dumps.

A graph can be far from what runs: onnxruntime folds constants, fuses and changes layouts when it loads a model. The few
fields needed are read straight from the protocol-buffers bytes, so that a device needs no onnx package.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

if __package__:
    from .session import open_session
else:
    from session import open_session  # type: ignore


def executed_ops(model: str | bytes | os.PathLike[str], threads: int = 1) -> dict[str, int]:
    """How often each operator stands in the graph that onnxruntime executes after its own optimizations.

    Args:
        model: path, or the bytes of the file.
        threads: threads inside one operator, 0 for all cores.

    Returns:
        Operator -> count, the commonest first. Domains other than ONNX's and ``com.microsoft`` are written in front, the latter
        shortened: ``nchwc.Conv``.

    Raises:
        Exception: onnxruntime's own, if the model cannot be opened.
    """
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "optimized.onnx"
        open_session(model, threads, dump_optimized=str(dump))
        graphs = [value for field, value in _fields(dump.read_bytes()) if field == 7]
    counts = Counter(name for graph in graphs for name in _op_names(graph))
    return dict(counts.most_common())


def _op_names(graph: bytes) -> Iterator[str]:
    """Operators of a GraphProto: nodes are field 1; subgraphs hang on attributes (field 5 of a node) as 6 and 11."""
    for node in (value for field, value in _fields(graph) if field == 1):
        parts = list(_fields(node))
        op = next(value for field, value in parts if field == 4).decode()
        domain = next((value.decode() for field, value in parts if field == 7), "")
        domain = domain.removeprefix("ai.onnx").removeprefix("com.microsoft").lstrip(".")
        yield f"{domain}.{op}" if domain else op
        for attribute in (value for field, value in parts if field == 5):
            for subgraph in (value for field, value in _fields(attribute) if field in (6, 11)):
                yield from _op_names(subgraph)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of the length-delimited fields of a protocol-buffers message; scalar fields are skipped."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            _, at = _varint(message, at)
        elif wire == 2:
            size, at = _varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        else:
            at += {1: 8, 5: 4}[wire]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
