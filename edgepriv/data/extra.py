"""Synthetic or public examples that are trained on beside the members, and the proof that they are nobody's in the audit."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgepriv.data.canary_file import refuse_other_labels
from edgepriv.data.dataset import Dataset, checked, with_classes
from edgepriv.data.files import read_arrays
from edgepriv.data.pixels import ROUNDING
from edgepriv.data.repeats import prints
from edgepriv.data.sources import load
from edgepriv.data.splits import Split
from edgepriv.errors import UserError
from edgepriv.recipe import Data


@dataclass(frozen=True, eq=False)
class ExtraData:
    """``x``: uint8 or float32 in [0, 1], [E, ...] as the data set's; ``y``: int64 [E], None where the model is to tell."""

    x: np.ndarray
    y: np.ndarray | None

    @property
    def sha256(self) -> str:
        """Hex digest of every input and label."""
        digest = hashlib.sha256(f"{self.x.dtype}{self.x.shape}".encode())
        for array in (self.x, *([] if self.y is None else [self.y])):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.x)


def read_extra(
    path: Path, dataset: Dataset, asked: Data, *, option: str = "--extra", labelled: bool = True
) -> ExtraData:
    """Extra examples from a file.

    Args:
        path: .npz with x, and y where the labels are known.
        dataset: that they go with.
        asked: range, channels and size of its inputs, which are theirs too.
        option: that names the file, for messages.
        labelled: whether its labels, if it has any, are read.

    Returns:
        The examples, under the classes of ``dataset``.

    Raises:
        UserError: for arrays of another shape, range or other classes, and for a table of which the inputs are made.
    """
    if dataset.encoding is not None:
        raise UserError(
            f"{option} {path}: the inputs of this model are made of the rows of a table, and examples of numbers alone cannot "
            "be told to fit them: "
            + ("add the rows to the training data" if option == "--extra" else "name the rows with --public csv:FILE")
        )
    arrays = read_arrays(path)
    if "x" not in arrays:
        raise UserError(f"{path} has keys {sorted(arrays)}; expected x and, if the labels are known, y")
    y = arrays.get("y") if labelled else None
    _refuse_unscaled(path, arrays["x"], asked, option)
    # Which axis holds the channels is plain where the shape is that of the model's inputs.
    as_it_is = arrays["x"].shape[1:] == dataset.input_shape and len(dataset.input_shape) == 3
    size = (dataset.input_shape[1], dataset.input_shape[2]) if as_it_is else asked.image_size
    placeholders = np.zeros(len(np.atleast_1d(arrays["x"])), np.int64)
    read = checked(
        str(path),
        arrays["x"],
        placeholders if y is None else y,
        several_classes=False,
        asked=Data(range=asked.range, channels=asked.channels, image_size=size),
    )
    if read.input_shape != dataset.input_shape:
        raise UserError(
            f"{path} holds examples of shape {list(read.input_shape)}, the model takes {list(dataset.input_shape)}"
        )
    if y is None:
        return ExtraData(read.x, None)
    refuse_other_labels(path, read.class_names, dataset)
    return ExtraData(read.x, with_classes(read, dataset.class_names).y)


def _refuse_unscaled(path: Path, x: np.ndarray, asked: Data, option: str) -> None:
    """Refuse numbers of a range that the model's inputs do not have: a range is asked for with its own data alone."""
    pictures = x.ndim in (3, 4) and x.dtype in (np.uint8, np.uint16)
    if asked.range is not None or pictures or x.dtype.kind not in "fiu" or not x.size or not np.isfinite(x).all():
        return
    low, high = float(x.min()), float(x.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise UserError(
            f"{option} {path} holds numbers in [{low:g}, {high:g}], and the model's inputs lie in [0, 1]: scale them as its "
            "training data were scaled (divide by 255, for instance), or save bytes of images as uint8"
        )


def read_public(name: str, dataset: Dataset, asked: Data) -> ExtraData:
    """Public examples from a file; labels that it has are not kept.

    Args:
        name: "npz:FILE" (with x), "csv:FILE", "parquet:FILE" or "folder:DIR".
        dataset: that they go with, whose inputs they are made like.
        asked: how its own file is read, as theirs is.

    Returns:
        The examples, without labels.

    Raises:
        UserError: for a file that cannot be read so, and for examples of another shape.
    """
    kind, _, path = name.partition(":")
    if kind == "npz":
        return read_extra(Path(path), dataset, asked, option="--public", labelled=False)
    read = load(name, asked=asked, encoding=dataset.encoding)
    if read.input_shape != dataset.input_shape:
        raise UserError(
            f"--public {path} holds examples of shape {list(read.input_shape)}, the model takes {list(dataset.input_shape)}"
        )
    return ExtraData(read.x, None)


def refuse_shared(extra: ExtraData, path: Path, dataset: Dataset, split: Split, what: str = "Extra data") -> None:
    """Refuse extra examples that play a role already: training on them would make members of non-members.

    Args:
        extra: the examples.
        path: of their file.
        dataset: that they go with.
        split: who plays which role in it.
        what: they are, to begin a sentence.

    Raises:
        UserError: says how many equal members, non-members or held-out examples; images are compared as bytes.
    """
    own = set(prints(extra.x))
    roles = {
        "members": split.members,
        "non-members": split.non_members,
        "held-out examples": np.concatenate([split.holdout, split.validation]),
        "records of the attacker's pool": split.reference,
    }
    shared = {role: len(own.intersection(prints(dataset.x, index))) for role, index in roles.items()}
    if any(shared.values()):
        *most, last = [f"{count:,} {role}" for role, count in shared.items() if count]
        counted = " and ".join([", ".join(most), last] if most else [last])
        raise UserError(
            f"{path} shares examples with the data: {counted} are in it. {what} must be of nobody whom the audit asks "
            "about: remove them from the file"
        )


def shared_with(x: np.ndarray, *others: np.ndarray) -> int:
    """How many examples stand in other sets as well.

    Args:
        x: inputs [N, ...], as a data set keeps them.
        others: sets [M, ...], likewise.

    Returns:
        Different examples that are in ``x`` and in one of the others, by hash; images are compared as bytes.
    """
    theirs: set[bytes] = set().union(*(prints(other) for other in others if x.shape[1:] == other.shape[1:]))
    return len(theirs.intersection(prints(x))) if theirs else 0


def labelled(extra: ExtraData, y: np.ndarray) -> ExtraData:
    """The examples with other labels.

    Args:
        extra: the examples.
        y: int64 [E].

    Returns:
        A copy.
    """
    return replace(extra, y=y)
