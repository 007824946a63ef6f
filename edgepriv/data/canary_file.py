"""Canaries that the user brings: the records of a file, as the data are read."""

from pathlib import Path

import numpy as np

from edgepriv.data.canary_kinds import Examples
from edgepriv.data.dataset import Dataset, as_inputs, with_classes
from edgepriv.data.files import from_file, kind_of
from edgepriv.errors import UserError
from edgepriv.recipe import Data
from edgepriv.recipe.canaries import FEWEST

_ROUNDING = 1e-3
_SHOWN = 8


def of_file(file: Path, dataset: Dataset, asked: Data) -> Examples:
    """The user's own records, as the data are read, under the classes of the data.

    Args:
        file: that holds them.
        dataset: among whose examples they are to be.
        asked: how the data are read.

    Returns:
        All of them, in the file's order.

    Raises:
        UserError: for records of another shape, under other classes, or of an odd or too small number.
    """
    read_as = asked.model_copy(update={"groups": None, "subgroups": None, "split_column": None})
    own = from_file(kind_of(file), file, read_as, str(file), dataset.encoding)
    if own.cells is not None and own.encoding is None:
        raise UserError(f"{file} holds rows of text, and {dataset.name} numbers: save the canaries as the data are")
    if own.input_shape != dataset.input_shape:
        raise UserError(
            f"{file}: canaries have shape {list(own.input_shape)}, and the examples of {dataset.name} have "
            f"{list(dataset.input_shape)}"
        )
    if len(own) % 2 or len(own) < FEWEST:
        raise UserError(
            f"{file} holds {len(own)} records: half of the canaries are trained on, so there must be an even number of "
            f"{FEWEST} or more"
        )
    refuse_other_labels(file, own.class_names, dataset)
    return _in_type(file, own.x, dataset), with_classes(own, dataset.class_names).y


def refuse_other_labels(file: Path, names: tuple[str, ...], dataset: Dataset) -> None:
    """Labels must be classes of the data by name or by position: in what order others would stand, nobody says.

    Args:
        file: that they are read from.
        names: of its labels.
        dataset: whose classes they must be.

    Raises:
        UserError: for any other label.
    """
    positions = set(map(str, range(dataset.num_classes)))
    for known in (set(dataset.class_names), positions):
        if set(names) <= known:
            return
    unknown = sorted(set(names) - set(dataset.class_names) - positions)
    raise UserError(
        f"{file}: label {(unknown or list(names))[0]!r} is no class of {dataset.name} "
        f"({', '.join(dataset.class_names[:_SHOWN])}{', ...' if dataset.num_classes > _SHOWN else ''})"
    )


def _in_type(file: Path, x: np.ndarray, dataset: Dataset) -> np.ndarray:
    if x.dtype == dataset.x.dtype:
        return x
    if dataset.x.dtype != np.uint8:
        return as_inputs(x).astype(dataset.x.dtype)
    pixels: np.ndarray = np.rint(x * 255)
    if np.abs(pixels - x * 255).max() > 255 * _ROUNDING:
        raise UserError(f"{file}: its numbers are finer than the bytes of {dataset.name}: save the pictures as bytes")
    return pixels.astype(np.uint8)
