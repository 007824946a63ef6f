"""The shipped bytes, as onnxruntime runs them."""

import os
import tempfile
import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from edgepriv.artifact import choice, outputs
from edgepriv.artifact.contract import Contract, Returned, as_fed, as_probabilities, ask, scores_in, source_of
from edgepriv.artifact.metadata import names_in
from edgepriv.artifact.model_files import external_files, parsed
from edgepriv.device import session as device
from edgepriv.errors import UserError
from edgepriv.files import read_bytes

Model = str | bytes | os.PathLike[str]

_LARGEST_BATCH = 2**22
"""Numbers fed at once: 16 MiB of float32, so that the activations of a large network fit a laptop's memory."""
_PROBES = 8


def open_session(model: Model, threads: int = 1, dump_optimized: str | None = None) -> ort.InferenceSession:
    """Open a session of onnxruntime as the device kit does: default options, and the number of threads.

    Args:
        model: path or bytes of the file.
        threads: 0 for all cores.
        dump_optimized: path to write the optimized graph to; None for nowhere.

    Returns:
        The session.

    Raises:
        UserError: when the file does not exist or onnxruntime cannot open it.
    """
    if isinstance(model, bytes):
        return started(model, "the model", threads, dump_optimized)
    if not Path(model).is_file():
        raise UserError(f"no such file: {os.fspath(model)}")
    graph = parsed(read_bytes(Path(model), "model"))
    if graph is not None:
        external_files(Path(model), graph)  # refuses those that are missing or stand elsewhere
    return started(model, model, threads, dump_optimized)


def started(
    model: Model, name: str | os.PathLike[str], threads: int = 1, dump_optimized: str | None = None
) -> ort.InferenceSession:
    """``open_session`` of a file whose other files are known to be there.

    Args:
        model: path or bytes of the file.
        name: how an error message calls it.
        threads: 0 for all cores.
        dump_optimized: path to write the optimized graph to; None for nowhere.

    Returns:
        The session.

    Raises:
        UserError: when onnxruntime cannot open it.
    """
    try:
        return device.open_session(model, threads, dump_optimized)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise UserError(
            f"{os.fspath(name)} cannot be opened as an ONNX model: {device.reason_of(error)[:300]}"
        ) from error


_contracts: weakref.WeakKeyDictionary[ort.InferenceSession, Contract] = weakref.WeakKeyDictionary()


def check_contract(
    session: ort.InferenceSession, probe: np.ndarray | None = None, classes: int | None = None
) -> Contract:
    """How to feed and read a session; decided once for each session.

    One input, float or uint8 [N, ...]; the first output that holds a number for each of two or more classes counts, so the
    label that scikit-learn exporters put first is passed over. It holds probabilities if its rows are non-negative and sum to
    one, else logits; a few rows tell. Files of edgepriv say it themselves, and may return nothing but labels, int64 [N].
    ``choice.choose`` decides by true labels, for ``agree_on``.

    Args:
        session: of any model.
        probe: a few inputs [n, ...]; None for random ones, where the input's shape is known.
        classes: among how many any other file chooses, which may then return nothing but labels too; None if not known.

    Returns:
        The contract, the first that was decided for this session.

    Raises:
        UserError: for any other inputs or outputs, in one sentence; for a damaged file.
    """
    if session not in _contracts:
        try:
            _contracts[session] = _read_contract(session, probe, classes)
        except UnicodeDecodeError as error:
            raise UserError("the model is damaged: a name or a metadata entry in it is not valid text") from error
    return _contracts[session]


def agree_on(session: ort.InferenceSession, contract: Contract) -> None:
    """Read a session by a contract from now on.

    Args:
        session: of any file.
        contract: how it is fed and read.
    """
    _contracts[session] = contract


def is_ours(session: ort.InferenceSession) -> bool:
    """Whether edgepriv wrote the file, which then says itself what it takes and returns.

    Args:
        session: of any file.

    Returns:
        True by its metadata.
    """
    return "edgepriv_version" in session.get_modelmeta().custom_metadata_map


def _read_contract(session: ort.InferenceSession, probe: np.ndarray | None, classes: int | None) -> Contract:
    source = source_of(session)
    metadata = session.get_modelmeta().custom_metadata_map
    if metadata.get("output") == "label":
        output = session.get_outputs()[0].name
        count = _class_count(metadata)
        return Contract(
            source.name, source.row_shape, source.fixed_batch, (output,), count, "label", source.dtype, "label"
        )
    if probe is None or source.fixed_batch is not None or None not in source.row_shape:
        # A free size without data to go by: any one will do that pooling layers do not reduce to nothing.
        sizes = (source.fixed_batch or _PROBES, *(size or 224 for size in source.row_shape))
        probe = np.random.default_rng(0).random(sizes, dtype=np.float32)
    few = as_fed(np.ascontiguousarray(probe[:_PROBES], np.float32), source.dtype)
    returned = outputs.collect(session, source, few, None)
    usable = [one for one in returned.scores if one.layout != "single" or classes == 2]
    if not usable and (returned.label is None or classes is None):
        listed = ", ".join(f"{name} {shape}" for name, shape in returned.shapes.items()) or "none"
        raise UserError(
            f"the model must return one number per class, [N, K] with K of 2 or more (its outputs are: {listed})"
        )
    contract = choice.first_of(replace(returned, scores=usable), source, classes or 0)
    if is_ours(session):
        told: Returned = "logits" if metadata.get("output") == "logits" else "probabilities"
        contract = replace(contract, returns=told, rounded=False)
    return contract


def _class_count(metadata: Mapping[str, str]) -> int:
    names = names_in(metadata)
    if names is None or len(names) < 2:
        raise UserError("the model returns labels, but its metadata does not name the classes that they stand for")
    return len(names)


def predict(session: ort.InferenceSession, x: np.ndarray, batch: int = 256) -> np.ndarray:
    """Probabilities of a file.

    A file that takes bytes is fed round(255 x). Logits become probabilities by softmax; of a file that returns labels come
    rows with a single 1.

    Args:
        session: that runs it.
        x: float [n, ...].
        batch: rows at a time, at most; fewer for large images, as many as the graph says if it accepts only one number.

    Returns:
        [n, K]: float64 of a file that returns that, else float32.

    Raises:
        UserError: when ``x`` does not fit or a result is not finite.
    """
    scores = answers(session, x, batch)
    return as_probabilities(check_contract(session), scores)


def answers(session: ort.InferenceSession, x: np.ndarray, batch: int = 256) -> np.ndarray:
    """As ``predict``, but what the file itself returns.

    Args:
        session: that runs it.
        x: float [n, ...].
        batch: rows at a time, at most.

    Returns:
        The scores of the classes [n, K], or labels int64 [n].

    Raises:
        UserError: when ``x`` does not fit.
    """
    if not np.issubdtype(x.dtype, np.floating):
        raise UserError(f"the inputs must be float32 (they are {x.dtype}): divide images of bytes by 255 first")
    contract = check_contract(session, x if len(x) else None)
    x = np.ascontiguousarray(x, np.float64 if contract.input_dtype == "float64" else np.float32)
    _check_rows(contract, x)
    if not len(x):
        return np.zeros(0, np.int64) if contract.returns == "label" else np.zeros((0, contract.classes), np.float32)
    if contract.input_dtype == "uint8" and not np.isfinite(x).all():
        raise UserError("the inputs hold NaN or infinity, which a model of bytes cannot take: leave these examples out")
    rows = contract.fixed_batch or min(batch, max(1, _LARGEST_BATCH // x[0].size))
    parts = []
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        count = len(part)
        if contract.fixed_batch and count < rows:
            part = np.concatenate([part, np.zeros((rows - count, *part.shape[1:]), part.dtype)])
        outputs = ask(session, contract.outputs, contract.input_name, as_fed(part, contract.input_dtype))
        parts.append(scores_in(contract, [answer[:count] for answer in outputs], count))
    return np.concatenate(parts)


def _check_rows(contract: Contract, x: np.ndarray) -> None:
    wanted = contract.row_shape
    fits = x.ndim == len(wanted) + 1 and all(
        size in (None, have) for size, have in zip(wanted, x.shape[1:], strict=True)
    )
    if not fits:
        expected = ", ".join(["N", *("any" if size is None else str(size) for size in wanted)])
        raise UserError(f"the model takes inputs of shape [{expected}], but these have {list(x.shape)}")


def optimized_graph(content: bytes) -> onnx.ModelProto:
    """The graph that onnxruntime really executes on this machine, after its own optimizations.

    Args:
        content: of a model that keeps no weights in other files.

    Returns:
        The graph.
    """
    with tempfile.TemporaryDirectory(prefix="edgepriv-") as folder:
        dump = Path(folder) / "optimized.onnx"
        open_session(content, dump_optimized=str(dump))
        return onnx.load_from_string(dump.read_bytes())


def histogram(model: onnx.ModelProto) -> dict[str, int]:
    """Operators and how often they stand in a graph.

    Args:
        model: the graph.

    Returns:
        Operator -> number of nodes, the most frequent first.
    """
    return dict(Counter(node.op_type for node in model.graph.node).most_common())


def op_histogram(content: bytes) -> dict[str, int]:
    """Operators that run, after optimization: the proof of which kernels a file gets.

    Args:
        content: of a model that keeps no weights in other files.

    Returns:
        Operator -> number of nodes, the most frequent first.
    """
    return histogram(optimized_graph(content))
