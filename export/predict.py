"""Open an ONNX classifier and predict with it: ``python predict.py model.onnx inputs.npy``.

Needs Python 3.10+, numpy and onnxruntime, nothing else. ``open_session`` is the only place that constructs an
``InferenceSession``: edgepriv's proofs, audits and timings run in the very session that a device runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

if __package__:
    from .memguard import UNREADABLE, guarded, load
    from .memguard import beside as guard_beside
    from .table import KIND, TableError, encoded, read_rows, table_of, text_of
else:
    from memguard import UNREADABLE, guarded, load  # type: ignore
    from memguard import beside as guard_beside  # type: ignore
    from table import KIND, TableError, encoded, read_rows, table_of, text_of  # type: ignore

TABLES = (".csv", ".tsv", ".txt")
_NUMPY_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


class KitError(Exception):
    """Bad input; the message is one sentence. Exit code 2."""


def open_session(
    model: str | bytes | os.PathLike[str], threads: int = 1, dump_optimized: str | None = None
) -> ort.InferenceSession:
    """The session every number is measured in: default options except for what the arguments say.

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


def table_record(session: ort.InferenceSession, folder: Path | None = None) -> dict[str, Any] | None:
    """How the rows of a table become the model's inputs.

    Args:
        session: of the model, whose metadata are looked at first.
        folder: the kit, whose device.json is looked at then; None for none.

    Returns:
        The record of the table (see ``table.py``); None for a model that takes numbers as they are.

    Raises:
        KitError: where the record cannot be read.
    """
    text = session.get_modelmeta().custom_metadata_map.get(KIND)
    try:
        if text is None and folder is not None and (folder / "device.json").is_file():
            stored = json.loads((folder / "device.json").read_text()).get(KIND)
            text = None if stored is None else json.dumps(stored)
        return None if text is None else table_of(text)
    except (OSError, ValueError) as error:
        raise KitError(
            f"how the model reads a table is not to be read ({error}): copy the model and the kit again"
        ) from error


def read_table(path: Path, record: dict[str, Any]) -> tuple[np.ndarray, list[str]]:
    """Read the rows of a CSV file as inputs of the model.

    Args:
        path: of the file.
        record: from ``table_record``.

    Returns:
        float32 [n, F] in [0, 1], and sentences about cells that training did not know.

    Raises:
        KitError: for a file that cannot be read or lacks a column, and for cells that cannot be read.
    """
    if not path.is_file():
        raise KitError(f"no such file: {path}")
    try:
        text, _ = text_of(path.read_bytes())
        if text is None:
            raise KitError(f"{path} is not text")
        rows, lines = read_rows(text, record)
        if not rows:
            raise KitError(f"{path} holds no example")
        return encoded(record, rows, lines)
    except TableError as error:
        raise KitError(f"{path}: {error}") from error
    except OSError as error:
        raise KitError(f"cannot read {path}: {error.strerror}") from error


def read_inputs(path: Path) -> np.ndarray:
    """A .npy, ``x`` (else ``x_test``, else the only array) of a .npz, the numbers of a .csv, row by row.

    Args:
        path: of the file.

    Returns:
        The array as it is stored; float32 [n, F] of a .csv.

    Raises:
        KitError: where there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise KitError(f"no such file: {path}")
    try:
        if path.suffix == ".csv":
            return np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2)
        with path.open("rb") as file:  # numpy leaves a damaged one open
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return stored
            with stored:
                names = list(stored.files)
                name = next((name for name in ("x", "x_test") if name in names), names[0] if len(names) == 1 else None)
                if name is None:
                    raise KitError(f"{path} holds the arrays {', '.join(names)}: name the inputs x")
                inputs: np.ndarray = stored[name]
                return inputs
    except UNREADABLE as error:
        raise KitError(f"{path} is not a readable .npy, .npz or .csv file of numbers: {error}") from error


def fit_inputs(session: ort.InferenceSession, x: np.ndarray) -> np.ndarray:
    """Convert inputs to the type that the model takes.

    uint8 becomes float32 by division by 255 when the model takes float32; whole numbers up to 255 become uint8 when it
    takes that.

    Args:
        session: of the model.
        x: numbers [n, ...]; a single example may come without its batch axis.

    Returns:
        float32 or uint8 [n, ...].

    Raises:
        KitError: where shape, type or range do not fit.
    """
    wanted = session.get_inputs()[0]
    if wanted.type not in _NUMPY_TYPES:
        raise KitError(f"the model takes {wanted.type}, but only tensor(float) and tensor(uint8) can be fed")
    row = wanted.shape[1:]
    if x.ndim == len(row) and _fits(x.shape, row):
        x = x[None]
    if x.ndim != len(row) + 1 or not _fits(x.shape[1:], row):
        shape = ", ".join(str(size) for size in ("N", *row))
        raise KitError(f"the inputs have shape {list(x.shape)}, but the model takes [{shape}]")
    kind = _NUMPY_TYPES[wanted.type]
    if x.dtype == np.uint8:
        return x if kind == np.uint8 else x.astype(np.float32) / np.float32(255)
    if x.dtype.kind not in "fiu":
        raise KitError(f"the inputs are {x.dtype}, but the model takes {wanted.type}")
    if kind == np.uint8:
        return _bytes(x)
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise KitError("the inputs hold values that are not finite numbers")
    if "edgepriv_version" in session.get_modelmeta().custom_metadata_map and x.size and (x.min() < 0 or x.max() > 1):
        raise KitError(f"the inputs lie in [{x.min():g}, {x.max():g}], but the model takes [0, 1]: scale them first")
    return x


def _bytes(x: np.ndarray) -> np.ndarray:
    """Whole numbers as uint8. Fractions up to 1 are refused, though some of them are whole: they are another scale."""
    if not ((x >= 0) & (x <= 255) & (x == np.round(x))).all() or (x.dtype.kind == "f" and x.size and x.max() <= 1):
        raise KitError(f"the inputs are {x.dtype}, but the model takes bytes: whole numbers from 0 to 255")
    return x.astype(np.uint8)


def _fits(shape: tuple[int, ...], wanted: list[Any]) -> bool:
    return len(shape) == len(wanted) and all(
        not isinstance(size, int) or size == have for have, size in zip(shape, wanted, strict=True)
    )


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


def guarded_answers(model: Path, probabilities: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Send a model's answers through the model.memguard.npz beside it, if there is one.

    Args:
        model: the model's file.
        probabilities: float32 [n, K], its answers.
        x: [n, ...], the inputs that it was given.

    Returns:
        float32 [n, K]; ``probabilities`` where there is no MemGuard.

    Raises:
        KitError: where the kit was made for this model with a MemGuard and the file is missing or another one, or where it
            cannot be read or is for another number of classes.
    """
    path = guard_beside(model)
    check_guard(model, Path(__file__).resolve().parent)
    if not path.is_file():
        return probabilities
    try:
        guard = load(path)
    except UNREADABLE as error:
        raise KitError(f"{path} is not a readable MemGuard ({error}): copy it again") from error
    if guard.classes != probabilities.shape[1]:
        raise KitError(f"{path} is for {guard.classes} classes, but the model has {probabilities.shape[1]}")
    return guarded(guard, probabilities, x)


def _shipped_with(model: Path) -> Path | None:
    """The kit's folder, if device.json in it has this very file on record."""
    folder = Path(__file__).resolve().parent
    try:
        files = json.loads((folder / "device.json").read_text())["files"]
        return folder if _sha256(model) in files.values() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def check_guard(model: Path, folder: Path) -> str | None:
    """The MemGuard that a kit has on record for a model.

    Args:
        model: the model's file.
        folder: the kit, with its device.json.

    Returns:
        Name of the file, which is beside the model; None where none is on record.

    Raises:
        KitError: unless that very file is there, and where device.json cannot be read.
    """
    try:
        record = json.loads((folder / "device.json").read_text())
        guard, released = record.get("guard"), set(record["files"].values())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise KitError(f"{folder / 'device.json'} cannot be read ({error}): copy the kit again") from error
    if guard is None or _sha256(model) not in released:
        return None
    path = guard_beside(model)
    if not path.is_file():
        raise KitError(
            f"{path} is missing, and the model's answers are not protected without it: copy it beside the model"
        )
    if _sha256(path) != guard["sha256"]:
        raise KitError(f"{path} is not the file that was shipped (its sha256 differs): copy it again")
    return path.name


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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


def run_command(command: Callable[[], None]) -> None:
    """Run ``command``; a KitError is printed as one line (exit 2), an interrupt ends quietly (exit 130).

    Args:
        command: takes nothing and returns nothing.
    """
    try:
        command()
    except KitError as error:
        sys.exit(_complain(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: KitError) -> int:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return 2


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Classify the rows of a .npy, .npz or .csv file.")
    parser.add_argument("model", type=Path, help="the .onnx or .ort file")
    parser.add_argument(
        "inputs",
        type=Path,
        help="values in [0, 1] (or uint8), one example per row; or the rows of a table, with its titles",
    )
    parser.add_argument("--threads", type=int, default=1, help="0 takes all cores (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object with all that the model returns")
    options = parser.parse_args()
    session = open_or_explain(options.model, options.threads)
    record = table_record(session, _shipped_with(options.model))
    if record is not None and options.inputs.suffix.lower() in TABLES:
        x, remarks = read_table(options.inputs, record)
        for remark in remarks:
            print("note:", remark, file=sys.stderr)
    else:
        x = read_inputs(options.inputs)
    x = fit_inputs(session, x)
    if not len(x):
        raise KitError(f"{options.inputs} holds no example")
    try:
        outputs = predict(session, x)
    except Exception as error:
        raise KitError(f"{options.model} cannot classify these inputs: {reason_of(error)}") from error
    kind = output_kind(session, outputs)
    if kind == "probabilities":
        outputs = guarded_answers(options.model, outputs, x)
    labels = (outputs if kind == "label" else outputs.argmax(axis=1)).tolist()
    classes = max(labels) + 1 if kind == "label" else outputs.shape[1]
    names = class_names(session)
    if len(names) != classes and (kind != "label" or len(names) < classes):
        names = [str(label) for label in range(classes)]
    fixed = fixed_batch(session)
    if options.json:
        rows: list[dict[str, Any]] = [{"label": label, "name": names[label]} for label in labels]
        if kind != "label":
            rows = [row | {kind: scores} for row, scores in zip(rows, outputs.tolist(), strict=True)]
        told = {} if fixed is None else {"batch": fixed}
        print(json.dumps({"class_names": names, **told, "predictions": rows}))
        return
    if fixed is not None:
        print(f"{options.model.name} {batch_note(fixed)}", file=sys.stderr)
    width = max(len(name) for name in names)
    shown = None if kind == "label" else softmax(outputs) if kind == "logits" else outputs
    for index, label in enumerate(labels):
        probability = "" if shown is None else f"  {shown[index, label]:.4f}"
        print(f"{index:6d}  {names[label]:<{width}}{probability}")


if __name__ == "__main__":
    run_command(main)
