"""What a classifier file takes and returns, and how its answers are laid out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime as ort

from edgepriv.device import session as device
from edgepriv.errors import UserError

Returned = Literal["probabilities", "unnormalized", "logits", "label"]
"""``"unnormalized"``: numbers from 0 that are in proportion to probabilities, such as votes or ``exp(logits)``."""
Dtype = Literal["float32", "uint8", "float64", "float16", "int32", "int64"]
"""Whole numbers of 32 and 64 bits are tokens: they are fed as they are."""
Layout = Literal["matrix", "single", "parts", "maps", "label"]
"""How the scores of the classes stand in the outputs: one output [N, K] (or [N, K, 1, 1]); one number for each row, of the
second of two classes; an output for each class; a dictionary for each row (ZipMap); the label alone."""

_INPUTS: dict[str, Dtype] = {
    "tensor(float)": "float32",
    "tensor(uint8)": "uint8",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
TOKENS = ("int32", "int64")


@dataclass(frozen=True)
class Source:
    """The one input. ``row_shape``: of one example, None where free. ``fixed_batch``: the only number of rows it accepts,
    None if any."""

    name: str
    row_shape: tuple[int | None, ...]
    fixed_batch: int | None
    dtype: Dtype


@dataclass(frozen=True)
class Contract:
    """What a classifier file takes and returns.

    ``row_shape``: of one example, None where free. ``fixed_batch``: the only number of rows it accepts, None if any.
    ``outputs``: names of those that count, in the order of the classes where there is one for each. ``returns``: what they
    were found to hold: ``predict`` returns rows with a single 1 of ``"label"`` and probabilities of all others.
    ``input_dtype``: ``predict`` takes [0, 1] either way and feeds whole bytes to ``"uint8"``. ``order``: the column of each
    class where they stand in another order. ``names``: the file's own names of its classes, None where it has none.
    ``rounded``: whether rows of probabilities sum to one only roughly, as when they are stored in 8 bits.
    """

    input_name: str
    row_shape: tuple[int | None, ...]
    fixed_batch: int | None
    outputs: tuple[str, ...]
    classes: int
    returns: Returned
    input_dtype: Dtype = "float32"
    layout: Layout = "matrix"
    order: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = None
    rounded: bool = False

    @property
    def output_name(self) -> str:
        """The first output that counts, and mostly the only one."""
        return self.outputs[0]


def source_of(session: ort.InferenceSession) -> Source:
    """The one input of a session.

    Args:
        session: of any file.

    Returns:
        Its name, shape and type.

    Raises:
        UserError: for several, and for types that no example can be fed as.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UserError(f"the model must take one input, float32 [N, ...] (its inputs are: {names})")
    (source,) = inputs
    if source.type not in _INPUTS or len(source.shape) < 2:
        raise UserError(
            f"the model must take floating-point numbers, uint8 or tokens (int32, int64) [N, ...] (its input {source.name!r} "
            f"is {source.type} {source.shape}): export it with an input of float32"
        )
    batch, *row = (size if isinstance(size, int) and size > 0 else None for size in source.shape)
    return Source(source.name, tuple(row), batch, _INPUTS[source.type])


def row_shape(session: ort.InferenceSession) -> tuple[int | None, ...]:
    """The declared shape of one example.

    Args:
        session: of any model.

    Returns:
        Sizes without the batch, None where one is free; empty for a model that ``check_contract`` refuses anyway.
    """
    try:
        inputs = session.get_inputs()
    except UnicodeDecodeError:
        return ()
    row = inputs[0].shape[1:] if len(inputs) == 1 else ()
    return tuple(size if isinstance(size, int) and size > 0 else None for size in row)


def fixed_batch_of(session: ort.InferenceSession) -> int | None:
    """How many rows a model takes at a time, where it takes no other number.

    Args:
        session: of any model.

    Returns:
        The number of rows, None for any; None too for a model that ``check_contract`` refuses anyway.
    """
    try:
        batch: int | None = device.fixed_batch(session)
        return batch
    except (UnicodeDecodeError, IndexError):
        return None


def as_fed(x: np.ndarray, dtype: Dtype) -> np.ndarray:
    """Inputs in the type that a file takes. Bytes are made from [0, 1] and rounded, as a camera's are.

    Args:
        x: float [n, ...]; for a file of bytes, numbers outside [0, 1] are clipped; for one of tokens, whole numbers.
        dtype: of the file's input.

    Returns:
        [n, ...] of that type; for uint8 in [0, 255].
    """
    if dtype in TOKENS:
        tokens: np.ndarray = np.rint(x).astype(dtype)
        return tokens
    return np.rint(x.clip(0, 1) * 255).astype(np.uint8) if dtype == "uint8" else x.astype(dtype, copy=False)


def on_byte_grid(x: np.ndarray, contract: Contract) -> np.ndarray:
    """The inputs that a file which takes bytes really sees.

    Args:
        x: float32 [n, ...] in [0, 1].
        contract: of the file.

    Returns:
        float32 [n, ...], rounded to multiples of 1/255; for a file that does not take bytes ``x`` itself.
    """
    return x if contract.input_dtype != "uint8" else as_fed(x, "uint8").astype(np.float32) / np.float32(255)


def ask(session: ort.InferenceSession, outputs: Sequence[str], source: str, x: np.ndarray) -> list[Any]:
    """The named outputs of a file.

    Args:
        session: that runs it.
        outputs: their names.
        source: name of its input.
        x: as the file takes it.

    Returns:
        One value for each name.

    Raises:
        UserError: when the file does not run on that.
    """
    try:
        answers: list[Any] = session.run(list(outputs), {source: x})
        return answers
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise UserError(
            f"the model cannot be run on inputs of shape {list(x.shape)}: {device.reason_of(error)[:300]}"
        ) from error


def scores_in(contract: Contract, outputs: Sequence[Any], rows: int) -> np.ndarray:
    """Scores of the classes, as a contract reads them.

    Args:
        contract: how the file is read.
        outputs: what was found in ``contract.outputs``.
        rows: inputs that were asked about.

    Returns:
        [rows, K], one column for each class in order; of a file that returns labels int64 [rows].

    Raises:
        UserError: when the outputs are not what the contract says.
    """
    if contract.layout == "label":
        return _labels(contract, np.asarray(outputs[0]).reshape(-1))
    columns = laid_out(contract.layout, outputs, rows, contract.names)
    if columns is None or columns.shape[1] != contract.classes:
        raise UserError(f"the model's output {contract.output_name!r} changes its shape with the inputs")
    if contract.layout == "single":
        other = 1 - columns[:, 1:] if contract.returns == "probabilities" else np.zeros_like(columns[:, 1:])
        columns = np.concatenate([other, columns[:, 1:]], axis=1)
    return columns if contract.order is None else columns[:, contract.order]


def laid_out(
    layout: Layout, outputs: Sequence[Any], rows: int, names: Sequence[str] | None = None
) -> np.ndarray | None:
    """The numbers of one layout.

    Args:
        layout: of the outputs.
        outputs: what the file returned.
        rows: inputs that were asked about.
        names: keys of the classes, where the layout has these.

    Returns:
        [rows, K], of "single" with zeros in the first column; None where the outputs do not have that layout.
    """
    if layout == "maps":
        (maps,) = outputs
        if len(maps) != rows or not maps:
            return None
        keys = names if names is not None else [str(key) for key in maps[0]]
        texts = [{str(key): value for key, value in row.items()} for row in maps]
        if any(row.keys() != set(keys) for row in texts):
            return None
        return np.array([[row[key] for key in keys] for row in texts], np.float32)
    arrays = [np.asarray(array) for array in outputs]
    if any(array.ndim == 0 or len(array) != rows or array.size % rows for array in arrays):
        return None
    flat = [array.reshape(rows, -1) for array in arrays]
    if layout == "parts":
        return np.concatenate(flat, axis=1) if all(part.shape[1] == 1 for part in flat) else None
    if layout == "single":
        return np.concatenate([np.zeros_like(flat[0]), flat[0]], axis=1) if flat[0].shape[1] == 1 else None
    # [N, K, 1, 1] or [N, 1, 1, K] is a convolution's answer; anything wider is a picture or a sequence.
    return flat[0] if sum(size > 1 for size in arrays[0].shape[1:]) <= 1 else None


def _labels(contract: Contract, values: np.ndarray) -> np.ndarray:
    if contract.names is not None:
        places = {name: place for place, name in enumerate(contract.names)}
        strange = next((str(value) for value in values.tolist() if str(value) not in places), None)
        if strange is not None:
            raise UserError(f"the model returned the label {strange!r}, which is none of its classes")
        return np.array([places[str(value)] for value in values.tolist()], np.int64)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= contract.classes:
        raise UserError(f"the model must return one label per row, a class from 0 to {contract.classes - 1}")
    return values.astype(np.int64)


def divided_by_sum(scores: np.ndarray) -> np.ndarray:
    """Numbers from 0, each row divided by its sum.

    Args:
        scores: [n, K].

    Returns:
        [n, K]; a row of zeros tells nothing, and all its classes are alike.
    """
    weights = np.maximum(scores, 0)
    sums = weights.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.where(sums > 0, weights / np.where(sums > 0, sums, 1), 1 / scores.shape[1])
    return shares.astype(scores.dtype, copy=False)


def as_probabilities(contract: Contract, scores: np.ndarray) -> np.ndarray:
    """Probabilities of scores.

    Args:
        contract: says what the scores are.
        scores: of ``scores_in``.

    Returns:
        [n, K], float64 of a file that returns that, else float32.

    Raises:
        UserError: for values that are not finite.
    """
    if contract.returns == "label":
        certain: np.ndarray = np.eye(contract.classes, dtype=np.float32)[scores]
        return certain
    if scores.dtype != np.float64:
        scores = scores.astype(np.float32, copy=False)
    if not np.isfinite(scores).all():
        raise UserError("the model returns values that are not finite numbers: check the inputs and the weights")
    if contract.returns == "logits":
        probabilities: np.ndarray = device.softmax(scores)
        return probabilities
    if contract.returns == "unnormalized":
        return divided_by_sum(scores)
    return scores / scores.sum(axis=1, keepdims=True) if contract.rounded else scores
