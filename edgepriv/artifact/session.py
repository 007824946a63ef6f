"""The shipped bytes, as onnxruntime runs them."""

import json
import os
import tempfile
import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort

from edgepriv.artifact.model_files import external_files
from edgepriv.device import predict as device
from edgepriv.errors import UserError

Model = str | bytes | os.PathLike[str]

Form = Literal["probabilities", "logits", "label"]

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_INTEGERS = {"tensor(int64)", "tensor(int32)"}
_INPUTS: dict[str, Literal["float32", "uint8"]] = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
_LARGEST_BATCH = 2**22
"""Numbers fed at once: 16 MiB of float32, so that the activations of a large network fit a laptop's memory."""
_PROBES = 8


@dataclass(frozen=True)
class Contract:
    """What a classifier file takes and returns. ``row_shape``: of one example, None where free. ``fixed_batch``: the only
    number of rows it accepts, None if any. ``returns``: what its output was found to hold: ``predict`` returns
    probabilities of ``"probabilities"`` and ``"logits"``, and rows with a single 1 of ``"label"``. ``input_dtype``:
    ``predict`` takes [0, 1] either way and feeds whole bytes to ``"uint8"``."""

    input_name: str
    row_shape: tuple[int | None, ...]
    fixed_batch: int | None
    output_name: str
    classes: int
    returns: Form
    input_dtype: Literal["float32", "uint8"] = "float32"


def name_of(model: Model) -> str:
    """How an error message calls the file."""
    return "the model" if isinstance(model, bytes) else os.fspath(model)


def open_session(model: Model, threads: int = 1, dump_optimized: str | None = None) -> ort.InferenceSession:
    """The one kind of session: the device kit's, default options plus the number of threads (0: all cores).

    Raises UserError when the file does not exist or onnxruntime cannot open it.
    """
    if not isinstance(model, bytes) and not Path(model).is_file():
        raise UserError(f"no such file: {os.fspath(model)}")
    if not isinstance(model, bytes):
        external_files(Path(model))  # refuses those that are missing or stand elsewhere
    try:
        return device.open_session(model, threads, dump_optimized)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise UserError(
            f"{name_of(model)} cannot be opened as an ONNX model: {device.reason_of(error)[:300]}"
        ) from error


_contracts: weakref.WeakKeyDictionary[ort.InferenceSession, Contract] = weakref.WeakKeyDictionary()


def check_contract(
    session: ort.InferenceSession, probe: np.ndarray | None = None, classes: int | None = None
) -> Contract:
    """How to feed and read a session; decided once for each session.

    One input, float32 [N, ...] in [0, 1] or uint8; the first float output [N, K] with K >= 2 counts, so the label that
    scikit-learn exporters put first is passed over. It holds probabilities if its rows are non-negative and sum to one,
    else logits; a few rows tell: ``probe``, or random ones where the input's shape is known. Files of edgepriv say it
    themselves, and may return nothing but labels, int64 [N]; so may any other file where ``classes`` says among how many it
    chooses. Raises UserError for any other inputs or outputs, in one sentence.
    """
    if session not in _contracts:
        try:
            _contracts[session] = _read_contract(session, probe, classes)
        except UnicodeDecodeError as error:
            raise UserError("the model is damaged: a name or a metadata entry in it is not valid text") from error
    return _contracts[session]


def row_shape(session: ort.InferenceSession) -> tuple[int | None, ...]:
    """The declared shape of one example, None where free; empty for a model that ``check_contract`` refuses anyway."""
    try:
        inputs = session.get_inputs()
    except UnicodeDecodeError:
        return ()
    return tuple(size if isinstance(size, int) else None for size in inputs[0].shape[1:]) if len(inputs) == 1 else ()


def _read_contract(session: ort.InferenceSession, probe: np.ndarray | None, classes: int | None) -> Contract:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UserError(f"the model must take one input, float32 [N, ...] (its inputs are: {names})")
    (source,) = inputs
    if source.type not in _INPUTS or len(source.shape) < 2:
        raise UserError(
            f"the model must take float32 or uint8 [N, ...] (its input {source.name!r} is {source.type} {source.shape})"
        )
    dtype = _INPUTS[source.type]
    batch, *row = (size if isinstance(size, int) else None for size in source.shape)
    metadata = session.get_modelmeta().custom_metadata_map
    ours = metadata.get("output") == "label"
    if ours or (classes is not None and _only_labels(session)):
        count = _class_count(metadata) if ours or classes is None else classes
        return Contract(source.name, tuple(row), batch, session.get_outputs()[0].name, count, "label", dtype)
    if probe is None or batch is not None or None not in row:
        # A free size without data to go by: any one will do that pooling layers do not reduce to nothing.
        sizes = (batch or _PROBES, *(size or 224 for size in row))
        probe = np.random.default_rng(0).random(sizes, dtype=np.float32)
    output = _probability_output(session)
    few = as_fed(np.ascontiguousarray(probe[:_PROBES], np.float32), dtype)
    scores = _run(session, output, source.name, few)
    if scores.ndim != 2 or len(scores) != len(few) or scores.shape[1] < 2:
        raise UserError(
            f"the model must return one probability per class, float32 [N, K] with K of 2 or more "
            f"(its output {output!r} has shape {list(scores.shape)} for {len(few)} rows)"
        )
    returns: Form = "probabilities" if _sums_to_one(scores) else "logits"
    if "edgepriv_version" in metadata:
        returns = "logits" if metadata.get("output") == "logits" else "probabilities"
    return Contract(source.name, tuple(row), batch, output, scores.shape[1], returns, dtype)


def _only_labels(session: ort.InferenceSession) -> bool:
    """Whether the one output is a whole number for each row, as of a graph that ends with ArgMax."""
    outputs = session.get_outputs()
    return len(outputs) == 1 and outputs[0].type in _INTEGERS and len(outputs[0].shape or ()) in (0, 1)


def _class_count(metadata: Mapping[str, str]) -> int:
    try:
        names = json.loads(metadata.get("class_names", ""))
    except ValueError:
        names = None
    if not isinstance(names, list) or len(names) < 2:
        raise UserError("the model returns labels, but its metadata does not name the classes that they stand for")
    return len(names)


def as_fed(x: np.ndarray, dtype: Literal["float32", "uint8"]) -> np.ndarray:
    """float32 in [0, 1] as the file takes it; bytes are rounded, as a camera's are."""
    return x if dtype == "float32" else np.rint(x.clip(0, 1) * 255).astype(np.uint8)


def on_byte_grid(x: np.ndarray, contract: Contract) -> np.ndarray:
    """The float32 inputs that a file which takes bytes really sees of ``x`` in [0, 1]; for any other, ``x`` itself."""
    return x if contract.input_dtype == "float32" else as_fed(x, "uint8").astype(np.float32) / np.float32(255)


def _probability_output(session: ort.InferenceSession) -> str:
    outputs = session.get_outputs()
    for output in outputs:
        # A runtime that could not infer the rank gives an empty shape.
        if output.type in _FLOATS and len(output.shape or ()) in (0, 2):
            return output.name
    if any(output.type.startswith("seq(map") for output in outputs):
        raise UserError(
            "the model returns its probabilities as a list of dictionaries (ZipMap): "
            "convert it again with skl2onnx's option zipmap=False"
        )
    found = ", ".join(f"{output.name} {output.type} {output.shape}" for output in outputs) or "none"
    raise UserError(f"the model must return one probability per class, float32 [N, K] (its outputs are: {found})")


def _sums_to_one(scores: np.ndarray) -> bool:
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def predict(session: ort.InferenceSession, x: np.ndarray, batch: int = 256) -> np.ndarray:
    """Probabilities float32 [n, K] for ``x`` float32 [n, ...].

    At most ``batch`` rows at a time, fewer for large images; as many as the graph says if it accepts only one number.
    A file that takes bytes is fed round(255 x). Logits become probabilities by softmax; of a file that returns labels come
    rows with a single 1. Raises UserError when ``x`` does not fit or a result is not finite.
    """
    if not np.issubdtype(x.dtype, np.floating):
        raise UserError(f"the inputs must be float32 (they are {x.dtype}): divide images of bytes by 255 first")
    x = np.ascontiguousarray(x, np.float32)
    contract = check_contract(session, x if len(x) else None)
    _check_rows(contract, x)
    if not len(x):
        return np.zeros((0, contract.classes), np.float32)
    if contract.input_dtype == "uint8" and not np.isfinite(x).all():
        raise UserError("the inputs hold values that are not finite numbers, and the model takes bytes")
    rows = contract.fixed_batch or min(batch, max(1, _LARGEST_BATCH // x[0].size))
    parts = []
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        missing = contract.fixed_batch - len(part) if contract.fixed_batch else 0
        if missing:
            part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.float32)])
        scores = _run(session, contract.output_name, contract.input_name, as_fed(part, contract.input_dtype))
        parts.append(scores[: rows - missing] if missing else scores)
    scores = np.concatenate(parts)
    if contract.returns == "label":
        return _one_hot(scores, contract)
    scores = scores.astype(np.float32, copy=False)
    if not np.isfinite(scores).all():
        raise UserError("the model returns values that are not finite numbers: check the inputs and the weights")
    return scores if contract.returns == "probabilities" else _softmax(scores)


def _one_hot(labels: np.ndarray, contract: Contract) -> np.ndarray:
    if labels.ndim != 1 or labels.min() < 0 or labels.max() >= contract.classes:
        raise UserError(f"the model must return one label per row, a class from 0 to {contract.classes - 1}")
    return np.eye(contract.classes, dtype=np.float32)[labels]


def _check_rows(contract: Contract, x: np.ndarray) -> None:
    wanted = contract.row_shape
    fits = x.ndim == len(wanted) + 1 and all(
        size in (None, have) for size, have in zip(wanted, x.shape[1:], strict=True)
    )
    if not fits:
        expected = ", ".join(["N", *("any" if size is None else str(size) for size in wanted)])
        raise UserError(f"the model takes inputs of shape [{expected}], but these have {list(x.shape)}")


def _run(session: ort.InferenceSession, output: str, source: str, x: np.ndarray) -> np.ndarray:
    try:
        return session.run([output], {source: x})[0]
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise UserError(
            f"the model cannot be run on inputs of shape {list(x.shape)}: {device.reason_of(error)[:300]}"
        ) from error


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def read_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The parsed .onnx. Raises UserError when it does not exist, is truncated or is not ONNX."""
    if not Path(path).is_file():
        raise UserError(f"no such file: {os.fspath(path)}")
    external_files(Path(path))  # refuses those that are missing or stand elsewhere
    try:
        model = onnx.load(path, format="protobuf")
    except Exception as error:  # protobuf's and onnx's own exceptions
        if Path(path).suffix == ".ort":
            raise UserError(f"{os.fspath(path)} is in onnxruntime's own format: name the .onnx beside it") from error
        raise UserError(f"{os.fspath(path)} is not a readable ONNX file (truncated, or of another format)") from error
    if not model.graph.node or not model.graph.output:
        raise UserError(f"{os.fspath(path)} is not a readable ONNX file: it holds no graph")
    return model


def whole_content(path: str | os.PathLike[str]) -> bytes:
    """The model as one run of bytes, with the weights inside that stand in other files. Raises UserError as ``read_model``
    does, and for more than protobuf can hold."""
    if not external_files(Path(path)):
        return Path(path).read_bytes()
    try:
        return read_model(path).SerializeToString()
    except Exception as error:  # protobuf's own exceptions
        if isinstance(error, UserError):
            raise
        raise UserError(f"{os.fspath(path)} and the files with its weights are larger than 2 GB together") from error


def optimized_graph(model: Model) -> onnx.ModelProto:
    """The graph that onnxruntime really executes on this machine, after its own optimizations."""
    with tempfile.TemporaryDirectory(prefix="edgepriv-") as folder:
        dump = Path(folder) / "optimized.onnx"
        # What is dumped would look for weights in other files beside itself.
        open_session(model if isinstance(model, bytes) else whole_content(model), dump_optimized=str(dump))
        return read_model(dump)


def histogram(model: onnx.ModelProto) -> dict[str, int]:
    """Operator -> number of nodes, the most frequent first."""
    return dict(Counter(node.op_type for node in model.graph.node).most_common())


def op_histogram(model: Model) -> dict[str, int]:
    """Operators that run, after optimization: the proof of which kernels a file gets."""
    return histogram(optimized_graph(model))
