"""Whose records are whose: a group is all records of one person (or household, device, ...), and plays one role."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgepriv.data.group_names import in_one_writing, refuse_missing, refuse_rounded, refuse_unlike
from edgepriv.data.raw import Raw
from edgepriv.errors import UserError

GROUP_NAMES = (
    *("patient_id", "subject_id", "person_id", "participant_id"),
    *("patient", "patients", "subject", "subjects", "person", "persons", "participant", "participants"),
    *("group_id", "groups", "group"),
)
"""Keys of an .npz that name groups, where ``--groups`` names none: the plainest first. ``group`` may as well be an arm of a
study: it is only taken for want of another, and in an .npz alone."""


def rank(title: str) -> int | None:
    """The place of a title among GROUP_NAMES.

    Args:
        title: in any writing (``Patient ID``, ``PatientID``).

    Returns:
        From 0, the plainest; None where it is none of them.
    """
    return _RANKS.get(re.sub(r"[^a-z0-9]", "", title.lower()))


_RANKS = {name.replace("_", ""): place for place, name in enumerate(GROUP_NAMES)}
AMBIGUOUS = _RANKS["group"]


def agreed(where: str, option: str, candidates: Sequence[tuple[str, np.ndarray]]) -> str | None:
    """The first of several columns that all look like what ``option`` names.

    Args:
        where: the file, for messages.
        option: that says which one is meant.
        candidates: title and values [N] of each.

    Returns:
        Its title; None without any.

    Raises:
        UserError: where two of them do not tell the records apart in the same way.
    """
    if not candidates:
        return None
    first, values = candidates[0]
    for title, others in candidates[1:]:
        if not alike(values, others):
            raise UserError(f"{where}: {first!r} and {title!r} both may be meant, and differ: say which with {option}")
    return first


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two columns tell the same records apart, whatever they call them.

    Args:
        one: [N], numbers or texts.
        other: [N].

    Returns:
        True where each value of one goes with one value of the other.
    """
    codes = [np.unique(in_one_writing(values), return_inverse=True)[1].reshape(-1) for values in (one, other)]
    counts = {len(np.unique(column)) for column in codes}
    return len(counts) == 1 and len(np.unique(np.stack(codes), axis=1).T) in counts


def most_of_one(groups: np.ndarray | None, own: np.ndarray) -> int:
    """The most records that one group has.

    Args:
        groups: int [N], whose record each is; None where nobody says.
        own: places of the records that are asked about.

    Returns:
        1 or more; 1 where nobody says.
    """
    if groups is None or len(own) == 0:
        return 1
    return int(np.unique(groups[own], return_counts=True)[1].max())


def numbered(name: str, groups: np.ndarray | None) -> np.ndarray | None:
    """Groups as numbers.

    Args:
        name: of the data, for messages.
        groups: [N], numbers or texts; None without any.

    Returns:
        int64 [N], one number from 0 for each group; None without any.

    Raises:
        UserError: for a record whose group is missing: it may be anybody's; and for numbers of which some digits are lost.
    """
    if groups is None:
        return None
    refuse_missing(name, groups)
    refuse_rounded(name, groups)
    texts = groups.dtype.kind in "USO"
    return np.unique(in_one_writing(groups) if texts else groups, return_inverse=True)[1].astype(np.int64).reshape(-1)


def refuse_other_meaning(name: str, groups: np.ndarray | None, y: np.ndarray, parts: np.ndarray | None) -> None:
    """Refuse groups that are something else.

    Args:
        name: of the data, for messages.
        groups: [N]; None without any.
        y: int64 [N].
        parts: [N]; None without any.

    Raises:
        UserError: where they are the classes or the parts of the data by other names.
    """
    if groups is None or len(np.unique(groups)) < 2:
        return
    for column, what in ((y, "classes"), (parts, "parts")):
        if column is not None and alike(groups, column):
            raise UserError(
                f"{name}: what --groups names, or is taken for groups, is the {what} of the data, not persons: name another "
                "column, key or level with --groups"
            )


def joint(paths: Sequence[Path], raws: Sequence[Raw]) -> tuple[list[np.ndarray | None], tuple[str, ...]]:
    """The groups of several files, one numbering for all.

    Args:
        paths: of the files, for messages.
        raws: what was read from each.

    Returns:
        int64 [N] for each file, all None where one of them names no groups; and what is said of that.

    Raises:
        UserError: for a record whose group is missing, and for files that write their groups in different ways.
    """
    given = [raw.groups for raw in raws]
    present = [groups for groups in given if groups is not None]
    if len(present) < len(raws):
        without = [path.name for path, groups in zip(paths, given, strict=True) if groups is None]
        note = f"{' and '.join(without)} does not say whose records it holds: groups are not looked at"
        return [None] * len(raws), ((note,) if present else ())
    for path, groups in zip(paths, present, strict=True):
        refuse_missing(path.name, groups)
        refuse_rounded(path.name, groups)
    refuse_unlike([path.name for path in paths], present)
    every = np.unique(np.concatenate([in_one_writing(groups) for groups in present]), return_inverse=True)[1]
    every = every.astype(np.int64).reshape(-1)
    return list(np.split(every, np.cumsum([len(groups) for groups in present])[:-1])), ()


def refuse_shared(groups: np.ndarray | None, inside: np.ndarray, sides: tuple[str, str]) -> None:
    """Refuse groups that have records on both sides, counting those that have.

    Args:
        groups: int64 [N]; None without any.
        inside: bool [N], the records of the first side.
        sides: what the two sides are called.

    Raises:
        UserError: where a group has records on both sides.
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
    """About the first so many of some records, whole groups of them.

    Args:
        order: int64 [n], the records.
        groups: int64 [N] of the data set; None without any.
        count: how many records are wanted; exactly so many are taken without groups.

    Returns:
        Those that are taken (``fitting``), and the others, int64 each.
    """
    if groups is None:
        return order[:count], order[count:]
    ordered, ends = together(order, groups)
    sizes = np.diff(ends, prepend=0)
    taken = np.repeat(fitting(sizes, count), sizes)
    return ordered[taken], ordered[~taken]


def halved(groups: np.ndarray | None, side: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random half of some records, whole groups; the odd one goes to the other half.

    Args:
        groups: int64 [N] of the data set; None without any.
        side: int64 [n], positions of the records.
        generator: that draws.

    Returns:
        int64, the positions of the half. Where all are one group's, it is cut by records.
    """
    if groups is not None and len(np.unique(groups[side])) < 2:
        groups = None
    return first_groups(generator.permutation(side), groups, len(side) // 2)[0]
