"""Canaries: audit records that stand for the people whom a model exposes most (Aerni et al. 2024, section 4).

The average record says little of them: a model may forget most of its members and still know the few that are unlike all
others. Canaries are such records by construction. They take the places of ordinary candidates after the split is drawn,
half of them members and half not, so the split, its digests and the sizes of the roles stay what they are. Where records
belong to persons, no two canaries are of one person.

What they are is drawn by their kind (``data.canary_kinds``) or read from a file (``data.canary_file``).

A canary that equals another record, label included, would be trained on through that one even where it is meant to be out. So
each is a record of its own (``data.equal_records``): those that are not are drawn again, and a file of them is refused.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.data.canary_file import of_file
from edgepriv.data.canary_kinds import MAKERS, Examples
from edgepriv.data.dataset import Dataset
from edgepriv.data.equal_records import EqualRecords
from edgepriv.data.splits import Split
from edgepriv.errors import UserError
from edgepriv.recipe import Data
from edgepriv.recipe.canaries import KINDS, Planted, planted

MOST_SHARE = 4
"""There are at most so many times fewer canaries than members: with more, the model would be one of other data."""
_STREAM = 21  # of the split's seed
_TRIES = 50  # of drawing a record that there is not yet
_SIDES = ("members", "non_members")


@dataclass(frozen=True, eq=False)
class Canaries:
    """``asked``: as the recipe writes it; ``kind``: one of ``recipe.canaries.KINDS``, or "file". ``index``: int64, ascending,
    their places in the data set; ``members``: how many of them are members. ``before``: hex sha256 of the data without them.
    ``digest``: hex sha256 of places, inputs and labels."""

    asked: str
    kind: str
    index: np.ndarray
    members: int
    before: str
    digest: str

    @property
    def record(self) -> dict[str, Any]:
        """Enough to plant the same ones again and to prove it, as JSON. It lists no places."""
        return {
            "asked": self.asked,
            "kind": self.kind,
            "members": self.members,
            "non_members": len(self.index) - self.members,
            "sha256": self.digest,
        }


def with_canaries(dataset: Dataset, split: Split, asked: Data) -> Dataset:
    """The data with canaries in the places of some candidates.

    Args:
        dataset: the examples, rows of tables encoded.
        split: who is a member; it stays as it is.
        asked: ``canaries``, and how a file of them is read.

    Returns:
        The data with ``canaries``; ``dataset`` itself where none are asked for.

    Raises:
        UserError: for more canaries than the data have room for, and for a file that does not fit the data.
    """
    if asked.canaries is None:
        return dataset
    wanted = planted(asked.canaries)
    generator = np.random.default_rng([split.seed, _STREAM])
    own = None if wanted.file is None else of_file(wanted.file, dataset, asked)
    count = len(own[1]) if own is not None else wanted.count or 0
    known = EqualRecords(dataset)
    index, members = _places(dataset, split, count, generator, known if wanted.kind == "mislabelled" else None)
    known.leave_out(index)
    if own is not None:
        _refuse_equal(wanted, dataset, known, own)
        order = generator.permutation(count)
        x, y = own[0][order], own[1][order]
    else:
        x, y = _each_its_own(wanted, dataset, known, _ordinary(split, index), index, generator)
    return _planted(dataset, wanted, index, members, (x, y))


def canary_files(asked: str | None) -> list[Path]:
    """The file that canaries are read from.

    Args:
        asked: as a recipe writes it; None for none.

    Returns:
        Its path; empty for those of a kind.
    """
    file = None if asked is None else planted(asked).file
    return [] if file is None else [file]


def ordinary(split: Split, dataset: Dataset) -> Split:
    """The split without canaries: whom figures of the average record are about.

    Args:
        split: with everybody.
        dataset: that it is of.

    Returns:
        The same, with fewer members and non-members; ``split`` itself without canaries.
    """
    if dataset.canaries is None:
        return split
    planted_at = dataset.canaries.index
    return replace(
        split, members=_without(split.members, planted_at), non_members=_without(split.non_members, planted_at)
    )


def canaries_in(split: Split, dataset: Dataset) -> np.ndarray:
    """Which candidates are canaries.

    Args:
        split: with everybody.
        dataset: that it is of.

    Returns:
        bool [n] of the members, then the non-members.
    """
    candidates = np.concatenate([split.members, split.non_members])
    if dataset.canaries is None:
        return np.zeros(len(candidates), dtype=bool)
    return np.isin(candidates, dataset.canaries.index)


def refuse_other_canaries(dataset: Dataset, record: dict[str, Any]) -> None:
    """Refuse canaries that are not those which a model was trained with.

    Args:
        dataset: with canaries.
        record: ``Canaries.record`` of the model's.

    Raises:
        UserError: where they differ.
    """
    if dataset.canaries is None or dataset.canaries.digest != record["sha256"]:
        raise UserError(
            f"{dataset.name}: the canaries ({record['asked']}) are no longer those that the model was trained with; their "
            "file, or the library that draws them, has changed"
        )


def canary_notes(dataset: Dataset) -> list[str]:
    """Which records are canaries, in words.

    Args:
        dataset: any.

    Returns:
        A sentence; none without canaries.
    """
    known = dataset.canaries
    if known is None:
        return []
    what = KINDS.get(known.kind, f"records of {known.asked}")
    return [
        f"{len(known.index):,} canaries in the places of other records, {known.members:,} of the members and "
        f"{len(known.index) - known.members:,} of the non-members: {what}; figures of the average record leave them out"
    ]


def _planted(dataset: Dataset, wanted: Planted, index: np.ndarray, members: int, examples: Examples) -> Dataset:
    x, y = examples
    labels = dataset.y.copy()
    labels[index] = y
    inputs = dataset.x
    if not np.array_equal(inputs[index], x):  # a copy of all inputs is large
        inputs = dataset.x.copy()
        inputs[index] = x
    digest = hashlib.sha256(index.tobytes())
    digest.update(np.ascontiguousarray(x).data)
    digest.update(np.ascontiguousarray(y).data)
    known = Canaries(str(wanted), wanted.kind, index, members, dataset.sha256, digest.hexdigest())
    return replace(dataset, x=inputs, y=labels, canaries=known)


def _each_its_own(
    wanted: Planted,
    dataset: Dataset,
    known: EqualRecords,
    others: np.ndarray,
    index: np.ndarray,
    generator: np.random.Generator,
) -> Examples:
    """Canaries of a kind; those that equal another record are drawn again."""
    make, by_inputs = MAKERS[wanted.kind], wanted.kind == "rare"
    x, y = make(dataset, others, index, generator)
    for _ in range(_TRIES):
        again = known.not_new(x, y, by_inputs=by_inputs)
        if not again.any():
            return x, y
        x = x.copy()
        x[again], y[again] = make(dataset, others, index[again], generator)
    raise UserError(
        f"{dataset.name}: {wanted} needs records of their own, and the data have too few different ones: "
        f"{int(known.not_new(x, y, by_inputs=by_inputs).sum()):,} canaries would equal another record, which is trained on "
        "where they are not. Ask for fewer, for another kind, or bring a file of your own"
    )


def _refuse_equal(wanted: Planted, dataset: Dataset, known: EqualRecords, own: Examples) -> None:
    """Refuse the user's records that are in the data, or twice in the file."""
    there, twice = known.there(*own), known.not_new(*own)
    if twice.any():
        told = [f"{int(there.sum()):,} are in {dataset.name} too"] if there.any() else []
        told += [f"{int((twice & ~there).sum()):,} stand there twice"] if (twice & ~there).any() else []
        raise UserError(
            f"{wanted}: of {len(twice):,} canaries {' and '.join(told)}, label included, as the model sees them. Such a record "
            "is trained on where the canary is left out: remove it from the file"
        )


def _places(
    dataset: Dataset,
    split: Split,
    count: int,
    generator: np.random.Generator,
    known: EqualRecords | None = None,
) -> tuple[np.ndarray, int]:
    """int64 [count], ascending; and how many of them are members' places, half. ``known``: where the records there stay, under
    another label, which must leave each of them unlike all others."""
    if count * MOST_SHARE > len(split.members):
        raise UserError(
            f"{count:,} canaries are more than a quarter of the {len(split.members):,} members: ask for fewer canaries, or "
            "for more members"
        )
    half = count // 2
    drawn: list[np.ndarray] = []
    for name in _SIDES:
        side = getattr(split, name)
        order = generator.permutation(side)
        if known is not None:
            order = known.relabelable(order, besides=np.concatenate([*drawn, np.empty(0, np.int64)]))
        usable = len(order)
        if dataset.groups is not None:  # one record of each person
            order = order[np.sort(np.unique(dataset.groups[order], return_index=True)[1])]
        if 2 * half > len(order):
            title = name.replace("_", "-")
            there = f"{len(side):,} {title}"
            if usable < len(side):
                there = f"{usable:,} of the {there} whose inputs have a label left under which they are not in the data"
            if dataset.groups is not None:
                there = f"{len(order):,} groups among the {there}, which give one canary each"
            raise UserError(
                f"{half:,} canaries among the {title} would be more than half of the {there}: ask for fewer"
            )
        drawn.append(order[:half])
    return np.sort(np.concatenate(drawn)).astype(np.int64), half


def _ordinary(split: Split, index: np.ndarray) -> np.ndarray:
    return _without(np.concatenate([split.members, split.non_members]), index)


def _without(side: np.ndarray, index: np.ndarray) -> np.ndarray:
    return side[~np.isin(side, index)]
