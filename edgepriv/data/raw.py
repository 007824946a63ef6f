"""What a file of the user's holds, as read: nothing checked yet."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepriv.errors import UserError

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of the official parts of a data set, in lower case -> what they are."""


PART_KEYS = frozenset({"split", "part", "partition", "subset", "set", "fold"})
"""What a column of such names is called, where ``--split-column`` names none."""


def parts_of(where: str, cells: np.ndarray) -> np.ndarray:
    """Of which part each example is, by what ``--split-column`` names.

    Args:
        where: the file and the column, for messages.
        cells: [N], names of parts in any writing.

    Returns:
        "train", "val" or "test" [N].

    Raises:
        UserError: for a name that is none of a part.
    """
    names = np.char.lower(np.char.strip(cells.astype(str)))
    unknown = sorted(set(names.tolist()) - PART_NAMES.keys())
    if unknown:
        shown = ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
        raise UserError(f"{where} holds {shown}: the parts of the data are called train, val (or validation) and test")
    return np.array([PART_NAMES[name] for name in names.tolist()])


def names_parts(where: str, cells: np.ndarray) -> bool:
    """Whether a column under one of PART_KEYS holds parts.

    Args:
        where: the file and the column, for messages.
        cells: [N].

    Returns:
        True where every cell names a part.

    Raises:
        UserError: where some cells are train or test and others are no part: such examples would be drawn like any other.
    """
    names = set(np.char.lower(np.char.strip(cells.astype(str))).tolist())
    if {PART_NAMES.get(name) for name in names} & {"train", "test"}:
        parts_of(where, cells)
    return names <= PART_NAMES.keys()


@dataclass(frozen=True, eq=False)
class Cells:
    """The features of a table, as text.

    ``titles``: of the columns; ``rows``: [N, columns], strings as objects; ``lines``: where each row stands in its file.
    ``places``: of the columns in the whole table, which has ``width`` columns, named in the file if ``titled``, and its
    label under the title ``label`` at ``label_place``. ``separator``: of columns. ``plain``: whether all cells are
    numbers in [0, 1], which a network takes as they are. ``duplicated``: titles that several columns of the whole table have.
    """

    path: Path
    titles: tuple[str, ...]
    rows: np.ndarray
    lines: list[int]
    places: tuple[int, ...]
    width: int
    titled: bool
    label: str
    label_place: int
    separator: str
    plain: bool
    duplicated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Raw:
    """``x``: any layout [N, ...]; ``y``: numbers, names or one-hot rows. ``class_names``: as the file gives them, or None.

    ``parts``: "train", "val" or "test" for each example; ``groups``: numbers or texts, one for each person or other group of
    examples that belong together; ``subgroups``: texts, to report on by; each [N], None where the file says nothing.
    ``notes``: what was understood, in sentences. ``cells``: of a table its features as text; ``x`` is the same as
    objects where not all of them are numbers.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...] | None = None
    parts: np.ndarray | None = None
    groups: np.ndarray | None = None
    subgroups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    cells: Cells | None = None
