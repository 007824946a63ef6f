"""Dataset: checked examples and labels in one layout."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edgepriv.data import labels as classes
from edgepriv.data.group_names import in_one_writing
from edgepriv.data.groups import refuse_shared
from edgepriv.data.labels import Labels
from edgepriv.data.pixels import laid_out, scaled
from edgepriv.data.raw import Cells
from edgepriv.errors import UserError
from edgepriv.recipe import Data

if TYPE_CHECKING:
    from edgepriv.data.canaries import Canaries
    from edgepriv.data.encoding import TableEncoding
    from edgepriv.data.extra import ExtraData


@dataclass(frozen=True)
class Dataset:
    """Examples that passed every check.

    ``x``: uint8 images [N, C, H, W], or float32 in [0, 1], [N, C, H, W] or [N, F]; ``y``: int64 [N] in
    [0, number of classes). ``known_members``: when set, the first so many examples are the members, decided elsewhere.
    ``parts``: "train", "val" or "test" [N], the file's own parts; None where it names none, or one alone. ``groups``:
    int64 [N], whose examples they are: one person's play one role; None where nobody says. ``subgroups``: whom figures are
    reported for apart. Groups are never an input. ``notes``: what was made of the file, in sentences.

    ``encoding``: how the rows of a table became ``x``, None where the file holds numbers in [0, 1]. Until it is learnt from the
    members (``encoding.fitted``), ``cells`` holds the table as text, read as ``asked``, and ``x`` the same.

    ``canaries``: which of the examples are not those of the file, but canaries in their places; None without any.

    ``extra``: what is trained on beside its members, ``public``: what is distilled on in their place. Neither is a part of it;
    None for nothing.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    known_members: int | None = None
    parts: np.ndarray | None = None
    groups: np.ndarray | None = None
    subgroups: "Subgroups | None" = None
    notes: tuple[str, ...] = ()
    encoding: "TableEncoding | None" = None
    cells: Cells | None = None
    asked: Data | None = None
    canaries: "Canaries | None" = None
    extra: "ExtraData | None" = None
    public: "ExtraData | None" = None

    def inputs(self, index: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Examples as a network is fed them.

        Args:
            index: int64 [n], or a slice.

        Returns:
            float32 [n, ...] in [0, 1].
        """
        return as_inputs(self.x[index])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example: (C, H, W) of an image, (F,) of a row of features."""
        return tuple(self.x.shape[1:])

    @property
    def num_classes(self) -> int:
        """How many classes there are, whether or not each has an example."""
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


@dataclass(frozen=True, eq=False)
class Subgroups:
    """``title``: of the column; ``of``: int64 [N], positions in ``names``."""

    title: str
    of: np.ndarray
    names: tuple[str, ...]

    def take(self, index: np.ndarray) -> "Subgroups":
        """The subgroups of some of the examples.

        Args:
            index: int64 [n], their positions.

        Returns:
            Under the same names, whether or not one of the examples is left in each.
        """
        return replace(self, of=self.of[index])


def subgroups_of(title: str | None, cells: np.ndarray | None) -> Subgroups | None:
    """The subgroups that a column names, in the order of their names.

    Args:
        title: of the column; None for none.
        cells: its texts [N]; None for none.

    Returns:
        The subgroups, whole numbers without a fraction, cells without a value as "(no value)"; None without a column.

    Raises:
        UserError: where nearly each record would be a subgroup.
    """
    if title is None or cells is None:
        return None
    texts = ["(no value)" if text.lower() in classes.MISSING else text for text in in_one_writing(cells).tolist()]
    names, of = np.unique(texts, return_inverse=True)
    if len(names) > max(classes.FEW, len(texts) / 2):
        raise UserError(
            f"--subgroups {title} names {len(names):,} subgroups of {len(texts):,} records: name a column of fewer"
        )
    return Subgroups(title, of.astype(np.int64), tuple(names.tolist()))


def as_inputs(x: np.ndarray) -> np.ndarray:
    """Examples as a network is fed them.

    Args:
        x: uint8 pixels in [0, 255], or float32.

    Returns:
        float32 of the same shape: pixels in [0, 1], other numbers as they are.
    """
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x


_MOST_CLASSES = 100_000
_CHANCE = 4.0
"""Standard deviations beyond which rows in two files are alike by more than chance."""


def checked(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    class_names: tuple[str, ...] | None = None,
    *,
    several_classes: bool = True,
    asked: Data | None = None,
) -> Dataset:
    """Check and lay out raw arrays.

    Args:
        name: of the data, for messages.
        x: images [N, H, W], [N, H, W, C] or [N, C, H, W] (uint8, uint16, or floats in [0, 1]), or a table [N, F] of numbers
            in [0, 1].
        y: whole numbers or names [N], or one-hot rows [N, L].
        class_names: among which numbers are positions; None takes the different labels for the classes.
        several_classes: whether examples of one class alone are refused.
        asked: in which other range the numbers are, which channels and size images are to have.

    Returns:
        The data set, with what was made of the arrays in its notes.

    Raises:
        UserError: that names ``name`` and the first thing wrong.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0:
        raise UserError(f"{name}: expected arrays of examples and of labels, not one number")
    if x.size == 0 or len(y) == 0:
        raise UserError(f"{name}: there are no examples in it")
    if len(x) != len(y):
        raise UserError(f"{name}: {len(x)} examples but {len(y)} labels")
    labels = classes.coded(name, y, class_names)
    if several_classes and (len(labels.names) < 2 or (labels.y == labels.y[0]).all()):
        raise UserError(
            f"{name}: all {len(labels.y)} examples have label {labels.names[labels.y[0]]}; a classifier needs at least two "
            "classes"
        )
    asked = asked or Data()
    inputs, notes = scaled(name, laid_out(name, x, asked), asked)
    return Dataset(name, inputs, labels.y, labels.names, notes=(*notes, *labels.notes))


def with_classes(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """The examples under a model's class names: labels are found among them by name, else by position, else in order.

    Args:
        dataset: with class names of its own.
        class_names: of the model, in the order of its outputs.

    Returns:
        The same examples; see ``labels.renamed``.

    Raises:
        UserError: for a label that the model does not have.
    """
    labels = classes.renamed(dataset.name, Labels(dataset.y, dataset.class_names, dataset.notes), class_names)
    return replace(dataset, y=labels.y, class_names=class_names, notes=labels.notes)


def counted_from_zero(dataset: Dataset) -> Dataset | None:
    """The same examples, with a class for every whole number from 0 to the largest label: 0, 1 and 3 are of four classes.

    That is what a network with as many outputs was trained on.

    Args:
        dataset: with class names of its own.

    Returns:
        The data set; None where the labels are other than such numbers with gaps.
    """
    names = dataset.class_names
    if not all(label.isdecimal() for label in names):
        return None
    most = max(map(int, names)) + 1
    return with_classes(dataset, tuple(map(str, range(most)))) if len(names) < most <= _MOST_CLASSES else None


def described(dataset: Dataset) -> str:
    """What the data are, in a line.

    Args:
        dataset: any.

    Returns:
        ``120 examples of 3 features; 2 classes: 0 (63), 1 (57)``.
    """
    shape = dataset.input_shape
    if dataset.cells is not None:
        what = f"of {shape[0]} column{'s' if shape[0] > 1 else ''}"
    elif len(shape) == 1:
        what = f"of {shape[0]} feature{'s' if shape[0] > 1 else ''}"
    else:
        channels = f"{shape[0]} channel{'s' if shape[0] > 1 else ''}"
        what = f"of {channels}, {shape[1]} x {shape[2]} pixels"
    return f"{len(dataset):,} examples {what}; {classes.counted(dataset.y, dataset.class_names)}"


def members_beside(members: Dataset, non_members: Dataset) -> Dataset:
    """One data set of which the first ``len(members)`` examples are known to be the members.

    Args:
        members: with class names of their own.
        non_members: of the same shape.

    Returns:
        Both, under the same class names.

    Raises:
        UserError: when the two differ in shape or classes, share examples or groups, or are all of one class.
    """
    if members.input_shape != non_members.input_shape:
        raise UserError(
            f"members ({members.name}) have shape {list(members.input_shape)}, "
            f"non-members ({non_members.name}) {list(non_members.input_shape)}"
        )
    alike = _rows_of_both(members, non_members)
    members, non_members = _under_one_roof(members, non_members)
    labels = np.concatenate([members.y, non_members.y])
    if (labels == labels[0]).all():
        raise UserError(
            f"all {len(labels)} examples of {members.name} and {non_members.name} have label "
            f"{members.class_names[labels[0]]}; a classifier needs at least two classes"
        )
    groups = _groups_of(members, non_members)
    refuse_shared(groups, np.arange(len(labels)) < len(members), (members.name, non_members.name))
    same_type = members.x.dtype == non_members.x.dtype
    return Dataset(
        f"members:{members.name}|{non_members.name}",
        np.concatenate([part.x if same_type else part.inputs() for part in (members, non_members)]),
        labels,
        members.class_names,
        known_members=len(members),
        groups=groups,
        notes=tuple(dict.fromkeys(members.notes + non_members.notes + alike)),
    )


def _rows_of_both(members: Dataset, non_members: Dataset) -> tuple[str, ...]:
    """What there is to say of rows of a table that a member and a non-member have alike: where two members are so often alike,
    too, they need not be one record. Raises UserError where there are more, and for any picture."""
    known = Counter(row.tobytes() for row in members.inputs())
    shared = sum(row.tobytes() in known for row in non_members.inputs())
    several = sum(times for times in known.values() if times > 1) if len(members.input_shape) == 1 else 0
    expected = several / len(members) * len(non_members)
    if shared > expected + _CHANCE * expected**0.5:
        raise UserError(
            f"{shared} of the {len(non_members)} non-members ({non_members.name}) stand among the members "
            f"({members.name}) too: remove them from one of the files"
        )
    if not shared:
        return ()
    return (
        f"{shared:,} of {len(non_members):,} non-members have the inputs of a member, about as often as two members have the "
        "same: they count as records of their own",
    )


def _under_one_roof(*parts: Dataset) -> tuple[Dataset, ...]:
    """The parts under the class names of all."""
    if len({part.class_names for part in parts}) == 1:
        return parts
    every = sorted({label for part in parts for label in part.class_names}, key=classes.numbers_first)
    return tuple(with_classes(part, tuple(every)) for part in parts)


def _groups_of(members: Dataset, non_members: Dataset) -> np.ndarray | None:
    if members.groups is None or non_members.groups is None:
        return None
    return np.concatenate([members.groups, non_members.groups])
