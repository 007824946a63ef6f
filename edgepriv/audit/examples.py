"""The user's examples as a third-party file takes them: in their own numbers, and measured in [0, 1] beside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgepriv import data
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.data import Dataset
from edgepriv.data.pixels import ROUNDING, laid_out
from edgepriv.data.raw import Raw
from edgepriv.errors import UserError
from edgepriv.recipe import Data

Kind = Literal["bytes", "unit", "other"]


@dataclass(frozen=True)
class Examples:
    """``dataset``: inputs in [0, 1], which is what perturbations are measured in. ``low``, ``high``: what 0 and 1 stand for in
    the user's numbers, float64 scalars or [F]. ``raw``: those numbers [N, ...], channels first. ``kind``: "bytes" are fed
    as the user says, "unit" lie in [0, 1] by themselves, "other" are fed as they are."""

    dataset: Dataset
    raw: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kind: Kind

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Inputs, exact enough for the user's very numbers to be made of them again.

        Args:
            index: int64 [n], or a slice.

        Returns:
            float64 [n, ...] in [0, 1].
        """
        scaled: np.ndarray = (self.raw[index].astype(np.float64) - self.low) / (self.high - self.low)
        return scaled

    @property
    def per_feature(self) -> bool:
        """Whether 0 and 1 stand for another range in each feature."""
        return self.low.ndim > 0

    @property
    def span(self) -> float | None:
        """Width of the range in the user's numbers, 1 where they lie in [0, 1]; None where each feature has its own."""
        return None if self.per_feature else 1.0 if self.kind == "bytes" else float(self.high - self.low)


def of_dataset(dataset: Dataset) -> Examples:
    """The examples of a data set: bytes, or numbers in [0, 1].

    Args:
        dataset: any.

    Returns:
        The examples.
    """
    bytes_ = dataset.x.dtype == np.uint8
    return Examples(
        dataset, dataset.x, np.zeros(()), np.full((), 255.0 if bytes_ else 1.0), "bytes" if bytes_ else "unit"
    )


def from_files(
    model: DeployedModel,
    members: Path,
    non_members: Path,
    asked: Data,
    input_range: tuple[float, float] | None,
    inherited: Collection[str] = (),
) -> Examples:
    """Members, then non-members.

    Of a file that is not ours numbers outside [0, 1] are kept as they are: an image's lie in ``input_range`` or between the
    smallest and the largest of all, a feature's between its own. The rows of tables become inputs as the file itself says.

    Args:
        model: the file that is audited.
        members: an .npz, a table or a folder of pictures.
        non_members: another.
        asked: how the two are to be read.
        input_range: lowest and highest number of an image, in the user's units; None if not known.
        inherited: fields of ``asked`` that were given for the model's own data, and hold where these files have what they name.

    Returns:
        The examples of both.

    Raises:
        UserError: for files that hold no examples.
    """
    paths = (members, non_members)
    table = model.table
    asked = asked if table is None else table.reading(asked)
    raws = data.read_members(members, non_members, asked, inherited)
    if table is not None and any(raw.cells is not None for raw in raws):
        raws, _ = data.encoded_members(raws, table, asked)
        return of_dataset(replace(data.of_members(paths, raws, asked), encoding=table))
    if model.is_ours:
        raws = _in_the_models_order(raws, asked)
    if model.is_ours or asked.range is not None or not any(_as_they_are(raw.x) for raw in raws):
        return of_dataset(data.of_members(paths, raws, asked))
    return _measured(paths, raws, asked, input_range)


def _in_the_models_order(raws: Sequence[Raw], asked: Data) -> list[Raw]:
    """Tables with their columns as the model takes them, which is told by its own data."""
    if not any(raw.cells is not None and raw.cells.titled for raw in raws):
        return list(raws)
    own = data.columns_of(asked)
    if own is not None and own.titled:
        return data.as_in(own, raws)
    note = "the model's own table cannot be read: columns are taken in the order of the file of members"
    return [replace(raw, notes=(*raw.notes, note)) for raw in raws]


def _as_they_are(x: np.ndarray) -> bool:
    """Whether the numbers lie outside [0, 1] and are no image of 8 or 16 bits."""
    if x.dtype.kind not in "uibf" or not x.size or (x.dtype in (np.uint8, np.uint16) and x.ndim > 2):
        return False
    return bool(np.isfinite(x).all() and (x.min() < -ROUNDING or x.max() > 1 + ROUNDING))


def _measured(
    paths: tuple[Path, Path], raws: Sequence[Raw], asked: Data, input_range: tuple[float, float] | None
) -> Examples:
    raws = data.in_one_order(raws)
    parts = [laid_out(str(path), raw.x, asked) for path, raw in zip(paths, raws, strict=True)]
    if parts[0].shape[1:] != parts[1].shape[1:]:
        shapes = " and ".join(str(list(part.shape[1:])) for part in parts)
        raise UserError(f"members ({paths[0]}) and non-members ({paths[1]}) have shapes {shapes}")
    stored = np.concatenate(parts)
    if input_range is not None:
        low, high = (np.asarray(end, np.float64) for end in input_range)
        if stored.min() < low or stored.max() > high:
            raise UserError(
                f"{paths[0]} and {paths[1]}: examples lie in [{stored.min():g}, {stored.max():g}], outside --input-range "
                f"{low:g}:{high:g}"
            )
    elif stored.ndim == 2:
        low, high = stored.min(axis=0).astype(np.float64), stored.max(axis=0).astype(np.float64)
        high = np.where(high > low, high, low + 1)
    else:
        low, high = (np.asarray(end, np.float64) for end in (stored.min(), stored.max()))
    units = np.split(((stored - low) / (high - low)).astype(np.float32), [len(parts[0])])
    dataset = data.of_members(
        paths,
        [replace(raw, x=unit, cells=None) for raw, unit in zip(raws, units, strict=True)],
        asked.model_copy(update={"channels": None, "image_size": None}),
    )
    return Examples(dataset, stored, low, high, "other")
