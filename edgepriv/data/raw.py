"""What a file of the user's holds, as read: nothing checked yet."""

from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class Raw:
    """``x``: any layout [N, ...]; ``y``: numbers, names or one-hot rows. ``class_names``: as the file gives them, or None.

    ``parts``: "train", "val" or "test" for each example; ``groups``: any numbers, one for each person or other group of
    examples that belong together; both [N], None where the file says nothing. ``notes``: what was understood, in sentences.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...] | None = None
    parts: np.ndarray | None = None
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
