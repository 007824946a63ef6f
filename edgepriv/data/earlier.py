"""Data as earlier versions of splits saw them, so that a model trained then still finds who its members were.

Which of several readings is the right one nobody has to say: the digests that a split records tell.
"""

from dataclasses import replace

import numpy as np

from edgepriv.data.dataset import Dataset
from edgepriv.recipe import Data

LEAST = 40
"""Examples of each side that version 2 needs to keep parts."""
_NAMED = 3
"""From this version on groups and parts have the names that they have now."""
_KEYS = ("group", "groups", "patient", "patients", "subject", "subjects")
"""Keys of an .npz that named groups before, in the order in which they were looked for."""
_FEATURES = ("patients", "persons", "subjects", "patient_id", "subject_id", "person_id", "patient", "subject", "person")
"""Columns of a table that were features before: the first three always, the others where they held one value alone."""


def as_earlier(dataset: Dataset, version: int) -> list[Dataset]:
    """What a split may have been drawn from.

    Args:
        dataset: as it is read now.
        version: of the split.

    Returns:
        The data set as that version saw it; before version 3 also without the groups and the parts that only newer versions
        know by their names.
    """
    if version == 1:
        return [replace(dataset, parts=None, groups=None)]
    if version >= _NAMED:
        return [dataset]
    both = [dataset, replace(dataset, groups=None)] if dataset.groups is not None else [dataset]
    return [_with_two_parts(one) for one in both] + [replace(one, parts=None) for one in both if one.parts is not None]


def _with_two_parts(dataset: Dataset) -> Dataset:
    if dataset.parts is None:
        return dataset
    inside = dataset.parts == "train"
    if dataset.groups is not None:
        inside = np.isin(dataset.groups, dataset.groups[inside])
    kept = min(inside.sum(), (~inside).sum()) >= LEAST
    return replace(dataset, parts=np.where(inside, "train", "test") if kept else None)


def earlier_readings(asked: Data, version: int) -> list[Data]:
    """Ways to read a file that an earlier version may have meant, by the names that it knew.

    Args:
        asked: the reading that was recorded.
        version: of the split.

    Returns:
        None from version 3 on, or where groups were asked for.
    """
    if version >= _NAMED or asked.groups is not None:
        return []
    return [asked.model_copy(update={"groups": key}) for key in _KEYS] + [
        asked.model_copy(update={"keep": (*(asked.keep or ()), title)}) for title in _FEATURES
    ]
