"""Open an ONNX classifier and ask it.

``open_session`` is the only place that constructs an ``InferenceSession``: edgepriv's proofs, audits and timings run in the
very session that a device runs.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np

# Builds of onnxruntime send usage events to its makers, under a number for this device. They read this when they are
# imported, before they can be asked to stop, so this module imports onnxruntime for all others.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

if __package__:
    from .command import KitError
else:
    from command import KitError  # type: ignore

__all__ = (
    "batch_note",
    "class_names",
    "fixed_batch",
    "open_or_explain",
    "open_session",
    "ort",
    "output_kind",
    "predict",
    "reason_of",
    "softmax",
)

if os.environ["ORT_DISABLE_TELEMETRY"] == "1":
    ort.disable_telemetry_events()  # older Windows builds know this alone


def open_session(
    model: str | bytes | os.PathLike[str], threads: int = 1, dump_optimized: str | None = None
) -> ort.InferenceSession:
    """The session every number is measured in: default options, float activations, and what the arguments say.

    Args:
        model: path, or the bytes of the file.
        threads: threads inside one operator, 0 for all cores; operators run one after the other.
        dump_optimized: where onnxruntime shall write the graph that it really executes; under a name that ends in .ort, in the
            format of its minimal builds, without what only this kind of processor can run. None for nowhere.

    Returns:
        An open session on the CPU.

    Raises:
        Exception: onnxruntime's own, if the model cannot be opened.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Weights of 4 bits in standard operators run in a kernel that rounds activations to 8 bits by itself; 1 is float32.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    options.log_severity_level = 4  # an error is raised anyway; logged as well, it would reach the terminal twice
    if dump_optimized is not None:
        options.optimized_model_filepath = dump_optimized
        if dump_optimized.endswith(".ort"):
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    source = model if isinstance(model, bytes) else os.fspath(model)
    # Without this the wrapper prints a banner on standard output when a file is damaged.
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def open_or_explain(path: Path, threads: int = 1, dump_optimized: str | None = None) -> ort.InferenceSession:
    """``open_session`` for a command line.

    Args:
        path: the model's file.
        threads: threads inside one operator, 0 for all cores.
        dump_optimized: as ``open_session`` takes it.

    Returns:
        An open session on the CPU.

    Raises:
        KitError: for every failure, in one sentence.
    """
    if threads < 0:
        raise KitError(f"--threads {threads}: give a number of threads, or 0 for all cores")
    if not path.is_file():
        raise KitError(f"no such file: {path}")
    try:
        return open_session(path, threads, dump_optimized)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise KitError(f"{path} cannot be opened as an ONNX model: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """The part of an onnxruntime message that a person can use, on one line.

    Args:
        error: that onnxruntime raised.

    Returns:
        The first line without its code; the exception's name where it has no message.
    """
    lines = str(error).strip().splitlines()
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", lines[0]) if lines else type(error).__name__


def class_names(session: ort.InferenceSession) -> list[str]:
    """Names of the classes, from the file's metadata; empty if it holds none that can be read.

    Args:
        session: of the model.

    Returns:
        One name for each class, in their order.
    """
    try:
        names = json.loads(session.get_modelmeta().custom_metadata_map.get("class_names", "[]"))
    except json.JSONDecodeError:
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def predict(session: ort.InferenceSession, x: np.ndarray, batch: int = 256) -> np.ndarray:
    """The first output of the model.

    Args:
        session: of the model.
        x: [n, ...] as ``fit_inputs`` returns it, n at least 1.
        batch: examples at a time. A model with a fixed batch gets as many as it takes, the last filled up with zeros.

    Returns:
        float32 [n, K], probabilities or logits; int64 [n] from a file that returns labels.
    """
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    rows = fixed_batch(session) or batch
    parts = []
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        count = len(part)
        if fixed_batch(session) and count < rows:
            part = np.concatenate([part, np.zeros((rows - count, *x.shape[1:]), x.dtype)])
        parts.append(session.run([output], {name: part})[0][:count])
    return np.concatenate(parts)


def fixed_batch(session: ort.InferenceSession) -> int | None:
    """The only number of examples that the model takes at a time; None if it takes any.

    Args:
        session: of the model.

    Returns:
        The size of its batch axis, or None.
    """
    shape = session.get_inputs()[0].shape
    return shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else None


def batch_note(batch: int) -> str:
    """A model with a fixed batch, in words that go on behind its name.

    Args:
        batch: of ``fixed_batch``, at least 1.

    Returns:
        A clause.
    """
    return "takes one example at a time: each is asked alone" if batch == 1 else f"takes {batch} examples at a time"


def output_kind(session: ort.InferenceSession, outputs: np.ndarray) -> str:
    """What the first output holds.

    edgepriv names outputs so. In a file of another origin integers are labels, and rows that sum to 1 probabilities.

    Args:
        session: of the model.
        outputs: what ``predict`` returned.

    Returns:
        "probabilities", "logits" or "label".

    Raises:
        KitError: where it is none of them.
    """
    name = session.get_outputs()[0].name
    if outputs.dtype.kind in "iu" and outputs.ndim == 1:
        return "label"
    if outputs.dtype.kind != "f" or outputs.ndim != 2:
        raise KitError(f"the model returns {outputs.dtype} {list(outputs.shape)} first, not one number per class")
    if name in ("probabilities", "logits"):
        return str(name)
    return "probabilities" if np.allclose(outputs.sum(axis=1), 1, atol=1e-3) and (outputs >= 0).all() else "logits"


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [n, K] of logits [n, K].

    Args:
        logits: [n, K].

    Returns:
        [n, K], of the same dtype; rows sum to 1.
    """
    powers: np.ndarray = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares
