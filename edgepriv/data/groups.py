"""Whose records are whose: a group is all records of one person (or household, device, ...), and plays one role."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgepriv.data.labels import MISSING
from edgepriv.data.raw import Raw
from edgepriv.errors import UserError

GROUP_NAMES = (
    *("group", "groups", "group_id", "patient", "patients", "patient_id"),
    *("subject", "subjects", "subject_id", "person", "persons", "person_id"),
)
"""Keys of an .npz that name groups, where ``--groups`` names none."""


def numbered(name: str, groups: np.ndarray | None) -> np.ndarray | None:
    """int64 [N], one number for each group; None without any.

    Args:
        name: of the data, for messages.
        groups: [N], numbers or texts.

    Raises:
        UserError: for a record whose group is missing: it may be anybody's.
    """
    if groups is None:
        return None
    missing = _missing(groups)
    if missing.any():
        raise UserError(
            f"{name}: {int(missing.sum()):,} of {len(groups):,} records have no group: say whose they are, or leave them out"
        )
    return np.unique(groups, return_inverse=True)[1].astype(np.int64).reshape(-1)


def _missing(groups: np.ndarray) -> np.ndarray:
    if groups.dtype.kind == "f":
        absent: np.ndarray = np.isnan(groups)
        return absent
    if groups.dtype.kind in "US":
        return np.isin(np.char.lower(np.char.strip(groups.astype(str))), sorted(MISSING))
    return np.zeros(len(groups), dtype=bool)


def joint(paths: Sequence[Path], raws: Sequence[Raw]) -> tuple[list[np.ndarray | None], tuple[str, ...]]:
    """The groups of several files, one numbering for all, and what is said where one of them names none."""
    given = [raw.groups for raw in raws]
    present = [groups for groups in given if groups is not None]
    if len(present) < len(raws):
        without = [path.name for path, groups in zip(paths, given, strict=True) if groups is None]
        note = f"{' and '.join(without)} does not say whose records it holds: groups are not looked at"
        return [None] * len(raws), ((note,) if present else ())
    name = " and ".join(path.name for path in paths)
    every = numbered(name, np.concatenate(present))
    assert every is not None  # it is of groups that are there
    return list(np.split(every, np.cumsum([len(groups) for groups in present])[:-1])), ()


def refuse_shared(groups: np.ndarray | None, inside: np.ndarray, sides: tuple[str, str]) -> None:
    """Raise UserError where a group has records on both sides, counting those that have.

    Args:
        groups: int64 [N]; None without any.
        inside: bool [N], the records of the first side.
        sides: what the two sides are called.
    """
    if groups is None:
        return
    shared = np.intersect1d(groups[inside], groups[~inside])
    if len(shared):
        records = int(np.isin(groups, shared).sum())
        raise UserError(
            f"{len(shared):,} of {len(np.unique(groups)):,} groups ({records:,} records) stand both in {sides[0]} and in "
            f"{sides[1]}: whoever has a record in training is a member with all of them, so leave each group on one side only"
        )


def together(order: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Records in an order in which those of a group stand one after another.

    Args:
        order: int64 [n] into the data set.
        groups: int64 [N] of the data set.

    Returns:
        int64 [n], groups in the order in which ``order`` first meets them; and int64 [G], where each of them ends.
    """
    _, first, group = np.unique(groups[order], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))[group]
    return order[np.argsort(rank, kind="stable")], np.cumsum(np.bincount(rank))


def fitting(sizes: np.ndarray, records: int, *, least: bool = True) -> np.ndarray:
    """Groups, in their order, that bring the whole nearer to ``records``; one that does not fit is passed over.

    Args:
        sizes: int [G], records of each group.
        records: how many are wanted.
        least: whether one of several groups is taken at least where any record is wanted, and never all where fewer are.

    Returns:
        bool [G].
    """
    taken = np.zeros(len(sizes), dtype=bool)
    ends = np.cumsum(sizes)
    whole = int(np.searchsorted(ends, records, side="right"))
    taken[:whole] = True
    total = int(ends[whole - 1]) if whole else 0
    for place in range(whole, len(sizes)):
        if sizes[place] < 2 * (records - total):
            taken[place] = True
            total += int(sizes[place])
    if not least or records <= 0 or len(sizes) < 2:
        return taken
    if not taken.any():
        taken[sizes.argmin()] = True
    elif taken.all() and records < ends[-1]:
        taken[-1] = False
    return taken


def first_groups(order: np.ndarray, groups: np.ndarray | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """About the first ``count`` records at ``order`` [n], whole groups of them (``fitting``), and the others; exactly so many
    without groups."""
    if groups is None:
        return order[:count], order[count:]
    ordered, ends = together(order, groups)
    sizes = np.diff(ends, prepend=0)
    taken = np.repeat(fitting(sizes, count), sizes)
    return ordered[taken], ordered[~taken]


def halved(groups: np.ndarray | None, side: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random half of the positions ``side`` (int64 [n]), whole groups; the odd one goes to the other half."""
    return first_groups(generator.permutation(side), groups, len(side) // 2)[0]
