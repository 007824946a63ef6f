"""Dataset: checked examples and labels in one layout."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edgepriv.errors import UserError

_CHANNEL_COUNTS = (1, 3, 4)


@dataclass(frozen=True)
class Dataset:
    """Examples that passed every check.

    ``x``: uint8 images [N, C, H, W], or float32 in [0, 1], [N, C, H, W] or [N, F]; ``y``: int64 [N] in
    [0, number of classes). ``known_members``: when set, the first so many examples are the members, decided elsewhere.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    known_members: int | None = None

    def inputs(self, index: np.ndarray | slice = slice(None)) -> np.ndarray:
        """float32 inputs in [0, 1] of the examples at ``index``."""
        return as_inputs(self.x[index])

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of every example and label."""
        digest = hashlib.sha256(f"{self.x.dtype}{self.x.shape}".encode())
        digest.update(np.ascontiguousarray(self.x).data)
        digest.update(np.ascontiguousarray(self.y).data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.y)


def as_inputs(x: np.ndarray) -> np.ndarray:
    """uint8 pixels become float32 in [0, 1]; float32 stays."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x


def checked(
    name: str, x: np.ndarray, y: np.ndarray, class_names: tuple[str, ...] | None = None, *, several_classes: bool = True
) -> Dataset:
    """Check and lay out raw arrays.

    ``x``: images [N, H, W], [N, H, W, C] or [N, C, H, W] (uint8, or floats in [0, 1]), or a table [N, F] of numbers in
    [0, 1]. ``y``: whole numbers [N] from 0. ``class_names`` fixes the number of classes, else it is ``max(y) + 1``.
    Raises UserError that names ``name`` and the first thing wrong.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0:
        raise UserError(f"{name}: expected arrays of examples and of labels, not one number")
    if x.size == 0 or len(y) == 0:
        raise UserError(f"{name}: there are no examples in it")
    if len(x) != len(y):
        raise UserError(f"{name}: {len(x)} examples but {len(y)} labels")
    labels = _checked_labels(name, y, class_names)
    names = class_names or tuple(str(label) for label in range(int(labels.max()) + 1))
    if several_classes and (len(names) < 2 or (labels == labels[0]).all()):
        raise UserError(
            f"{name}: all {len(labels)} examples have label {labels[0]}; a classifier needs at least two classes"
        )
    return Dataset(name, _checked_inputs(name, _channels_first(name, x)), labels, names)


def with_classes(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """The examples under a model's class names; UserError for a label that it does not have."""
    _checked_labels(dataset.name, dataset.y, class_names)
    return replace(dataset, class_names=class_names)


def _checked_labels(name: str, y: np.ndarray, class_names: tuple[str, ...] | None) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise UserError(f"{name}: labels have shape {list(y.shape)}; expected one whole number for each example")
    if y.dtype.kind not in "uib" and not (y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.floor(y)).all()):
        raise UserError(f"{name}: labels must be whole numbers from 0 (their dtype is {y.dtype})")
    labels = y.astype(np.int64)
    classes = len(class_names) if class_names else None
    if labels.min() < 0 or (classes is not None and labels.max() >= classes):
        wrong = labels[(labels < 0) | (labels >= (classes or np.iinfo(np.int64).max))]
        known = f"0 to {classes - 1}" if classes else "whole numbers from 0"
        raise UserError(f"{name}: {len(wrong)} labels are outside the classes (first: {wrong[0]}; classes: {known})")
    if classes is None and labels.max() >= max(1000, len(labels)):
        raise UserError(f"{name}: label {labels.max()} with {len(labels)} examples; labels must count classes from 0")
    return labels


def _channels_first(name: str, x: np.ndarray) -> np.ndarray:
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        return x[:, None]
    if x.ndim != 4:
        raise UserError(f"{name}: examples have shape {list(x.shape[1:])}; expected an image or a row of features")
    if x.shape[1] in _CHANNEL_COUNTS:
        return x
    if x.shape[3] in _CHANNEL_COUNTS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    raise UserError(f"{name}: images have shape {list(x.shape[1:])}; expected 1, 3 or 4 channels, first or last")


def _checked_inputs(name: str, x: np.ndarray) -> np.ndarray:
    if x.dtype == np.uint8 and x.ndim == 4:
        return x
    if x.dtype.kind not in "uibf":
        raise UserError(f"{name}: examples must be numbers (their dtype is {x.dtype})")
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if bad.any():
        raise UserError(f"{name}: {int(bad.sum())} examples hold NaN or infinity (first: row {int(bad.argmax())})")
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise UserError(
            f"{name}: examples lie in [{low:g}, {high:g}], but inputs must be in [0, 1]: scale them first "
            "(images may also be uint8)"
        )
    return x.astype(np.float32)


def members_beside(members: Dataset, non_members: Dataset) -> Dataset:
    """One data set of which the first ``len(members)`` examples are known to be the members.

    Raises UserError when the two differ in shape or classes, or share examples.
    """
    if members.input_shape != non_members.input_shape:
        raise UserError(
            f"members ({members.name}) have shape {list(members.input_shape)}, "
            f"non-members ({non_members.name}) {list(non_members.input_shape)}"
        )
    known = {row.tobytes() for row in members.inputs()}
    shared = sum(row.tobytes() in known for row in non_members.inputs())
    if shared:
        raise UserError(
            f"{shared} of the {len(non_members)} non-members ({non_members.name}) stand among the members "
            f"({members.name}) too: remove them from one of the files"
        )
    labels = np.concatenate([members.y, non_members.y])
    if (labels == labels[0]).all():
        raise UserError(
            f"all {len(labels)} examples of {members.name} and {non_members.name} have label {labels[0]}; "
            "a classifier needs at least two classes"
        )
    same_type = members.x.dtype == non_members.x.dtype
    return Dataset(
        f"members:{members.name}|{non_members.name}",
        np.concatenate([part.x if same_type else part.inputs() for part in (members, non_members)]),
        labels,
        max(members.class_names, non_members.class_names, key=len),
        known_members=len(members),
    )
