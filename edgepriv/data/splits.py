"""The one module that knows who is a member."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepriv.data.dataset import Dataset
from edgepriv.data.earlier import as_earlier
from edgepriv.data.groups import refuse_shared, together
from edgepriv.data.sizes import ROLES, of_non_members, of_parts, of_pool
from edgepriv.errors import UserError
from edgepriv.recipe import Data

VERSION = 4
"""Of how a split is drawn. 1: every set is one pool. 2: the training part and the groups of a user's file are kept, if both
sides have ``earlier.LEAST`` examples. 3: all of its parts are, whatever their sizes. 4: large groups leave some for
every role."""
_SPARING = 4
SHOWN = {"non_members": "non-members", "reference": "attacker's pool"}
"""Roles that are called otherwise in words."""


@dataclass(frozen=True)
class Split:
    """Disjoint int64 index arrays into one data set.

    ``members`` train the target; ``non_members`` are what an audit compares them with; ``reference`` is the attacker's
    own pool; ``holdout`` are the non-members that a defence may use (posterior flattening, DMP, masks); ``validation``
    chooses checkpoints. ``asked``: the sizes that were asked for, which groups may exceed.
    """

    seed: int
    members: np.ndarray
    non_members: np.ndarray
    reference: np.ndarray
    holdout: np.ndarray
    validation: np.ndarray
    asked: tuple[int, ...] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Examples in each role."""
        return {role: len(getattr(self, role)) for role in ROLES}

    def record(self) -> dict[str, Any]:
        """Seed, sizes and the sha256 of each index array: enough to rebuild the split and to prove that it is the same."""
        asked = dict(zip(ROLES, self.asked or (), strict=False))
        return {
            "version": VERSION,
            "seed": self.seed,
            "sizes": self.sizes,
            **({"asked": asked} if asked and asked != self.sizes else {}),
            "sha256": {role: hashlib.sha256(getattr(self, role).tobytes()).hexdigest() for role in ROLES},
        }


@dataclass(frozen=True)
class _Side:
    """Examples, in the order in which the ``roles`` draw from them."""

    name: str
    order: np.ndarray
    roles: tuple[str, ...]


def make_split(dataset: Dataset, sizes: Data, seed: int) -> Split:
    """Draw the roles from a data set by a seeded permutation.

    Where the data set has parts of its own, members are drawn from its training part, non-members from its test part, holdout
    and validation from its validation part; where it has two parts, all but members from the other. Where it has groups, all
    examples of a group play one role, so sizes are met up to a part of a group, and each role gets a group if there are enough.

    Args:
        dataset: the examples.
        sizes: of each role; those left open take the data set's default.
        seed: of the permutation.

    Returns:
        int64 positions of each role; none is in two roles.

    Raises:
        UserError: when there are too few examples, or groups for the roles that are asked for, and where a group is in the
            training part and in another.
    """
    split = _made(dataset, sizes, seed, spare=True)
    empty = [SHOWN.get(role, role) for role in ROLES if getattr(sizes, role) and not len(getattr(split, role))]
    if empty and dataset.groups is not None:
        raise UserError(
            f"{dataset.name}: its {len(np.unique(dataset.groups)):,} groups are too few for {' and '.join(empty)}: each role "
            "takes whole groups, so ask for fewer roles (with a size of 0) or for smaller ones"
        )
    return split


def _made(dataset: Dataset, sizes: Data, seed: int, *, spare: bool) -> Split:
    """``spare``: whether groups are left for later roles, as from version 4 on."""
    generator = np.random.default_rng(seed)
    counts, sides = _drawn_from(dataset, sizes, generator)
    drawn: dict[str, np.ndarray] = {}
    for side in sides:
        wanted = {role: counts[role] for role in side.roles}
        if sum(wanted.values()) > len(side.order):
            each = " + ".join(f"{count} {role}" for role, count in wanted.items())
            raise UserError(f"{side.name} has {len(side.order)} examples, fewer than {each}: ask for fewer")
        if dataset.groups is None:
            drawn |= _cut(side.order, wanted)
        else:
            drawn |= _in_groups(side, wanted, dataset.groups, spare=spare)
    if min(len(drawn["members"]), len(drawn["non_members"])) < 2:
        of = "" if dataset.groups is None else f" of {len(np.unique(dataset.groups)):,} groups"
        raise UserError(f"{dataset.name} has {len(dataset)} examples{of}: too few to set members and non-members apart")
    split = Split(seed, **{role: np.sort(drawn[role]) for role in ROLES}, asked=tuple(counts.values()))
    if len(np.unique(dataset.y[split.members])) < 2:
        raise UserError(f"{dataset.name}: the {len(split.members)} members are all of one class: ask for more members")
    return split


def _drawn_from(dataset: Dataset, sizes: Data, generator: np.random.Generator) -> tuple[dict[str, int], list[_Side]]:
    """How many of each role, and the sides from which they are drawn."""
    known, total = dataset.known_members, len(dataset)
    inside = training_side(dataset)
    if known is not None:
        counts = _with_defaults(sizes, (known, *of_non_members(total - known)))
        if counts["members"] != known:
            raise UserError(
                f"{dataset.name}: its {known} members are known, so data.members cannot be {counts['members']}"
            )
        others = (known + generator.permutation(total - known)).astype(np.int64)
        return counts, [
            _Side(f"{dataset.name} (members)", np.arange(known), ROLES[:1]),
            _Side(f"{dataset.name} (non-members)", others, ROLES[1:]),
        ]
    if inside is None:
        counts = _with_defaults(sizes, of_pool(dataset))
        return counts, [_Side(dataset.name, generator.permutation(total).astype(np.int64), ROLES)]
    refuse_shared(dataset.groups, inside, (f"the training part of {dataset.name}", "its other parts"))
    training, others = (generator.permutation(np.flatnonzero(side)).astype(np.int64) for side in (inside, ~inside))
    of_validation = validation_side(dataset)
    kept_back = 0 if of_validation is None else int(of_validation.sum())
    defaults, pool_inside = of_parts(len(training), len(others) - kept_back, kept_back, sizes)
    roles = ("members", "reference") if pool_inside else ("members",)
    sides = [_Side(f"the training part of {dataset.name}", training, roles)]
    left = tuple(role for role in ROLES if role not in roles)
    if of_validation is not None:
        sides.append(_Side(f"the validation part of {dataset.name}", others[of_validation[others]], ROLES[3:]))
        left, others = tuple(role for role in left if role not in ROLES[3:]), others[~of_validation[others]]
    what = "other" if of_validation is None else "test"
    return _with_defaults(sizes, defaults), [*sides, _Side(f"the {what} part of {dataset.name}", others, left)]


def _with_defaults(sizes: Data, defaults: tuple[int, ...]) -> dict[str, int]:
    asked = {role: getattr(sizes, role) for role in ROLES}
    return {
        role: default if asked[role] is None else asked[role] for role, default in zip(ROLES, defaults, strict=True)
    }


def training_side(dataset: Dataset) -> np.ndarray | None:
    """Which examples may be members because they are of the file's training part.

    Args:
        dataset: any.

    Returns:
        bool [N]; None where it has no parts, or members that are known.
    """
    if dataset.parts is None or dataset.known_members is not None:
        return None
    inside: np.ndarray = dataset.parts == "train"
    return inside


def validation_side(dataset: Dataset) -> np.ndarray | None:
    """Which examples are of the file's validation part, where it has one beside a test part.

    Args:
        dataset: any.

    Returns:
        bool [N]; None where it has no such part, or members that are known.
    """
    if dataset.parts is None or dataset.known_members is not None or not {"val", "test"} <= set(dataset.parts.tolist()):
        return None
    side: np.ndarray = dataset.parts == "val"
    return side


def trained_elsewhere(dataset: Dataset, sizes: Data) -> Data:
    """Sizes for a model that was not trained here: of a file with parts, the whole training part is its members.

    Args:
        dataset: any.
        sizes: that the user asks for.

    Returns:
        ``sizes``, with the number of members where the file's parts tell it and the user does not.
    """
    inside = training_side(dataset)
    if inside is None or sizes.members is not None:
        return sizes
    return sizes.model_copy(update={"members": int(inside.sum())})


def _cut(order: np.ndarray, wanted: dict[str, int]) -> dict[str, np.ndarray]:
    ends = np.cumsum(list(wanted.values()))
    return dict(zip(wanted, np.split(order[: ends[-1]], ends[:-1]), strict=True))


def _in_groups(side: _Side, wanted: dict[str, int], groups: np.ndarray, *, spare: bool) -> dict[str, np.ndarray]:
    """As ``_cut``, whole groups at a time, in the order in which the permutation first meets them. A role takes the group in
    which its size ends, or with ``spare`` leaves it where too little would remain for the roles after it."""
    if side.roles == ("members",) and wanted["members"] == len(side.order):
        return {"members": side.order}
    order, ends = together(side.order, groups)
    drawn, first, start = {}, 0, 0
    for place, (role, count) in enumerate(wanted.items()):
        later = [size for size in list(wanted.values())[place + 1 :] if size]
        last = min(int(np.searchsorted(ends, start + count)), len(ends) - 1)
        if spare:
            if len(order) - ends[last] < sum(later):
                last -= 1
            last = max(first, min(last, len(ends) - 1 - len(later)))
        if not count or first >= len(ends):
            drawn[role] = order[start:start]
            continue
        first, end = last + 1, int(ends[last])
        drawn[role], start = order[start:end], end
    return drawn


def remake_split(dataset: Dataset, record: dict[str, Any]) -> Split:
    """Draw a split again, as it was recorded.

    Args:
        dataset: the examples.
        record: of ``Split.record``, of any version.

    Returns:
        The same split.

    Raises:
        UserError: when the data or the seed no longer give the same one.
    """
    version = record.get("version", 1)
    sizes = Data(name=dataset.name, **(record["sizes"] | record.get("asked", {})))
    changed: list[str] = []
    refused: list[UserError] = []
    for seen in as_earlier(dataset, version):
        try:
            split = _made(seen, sizes, record["seed"], spare=version >= _SPARING)
        except UserError as error:
            refused.append(error)
            continue
        differs = [role for role, digest in split.record()["sha256"].items() if digest != record["sha256"][role]]
        if not differs:
            return split
        changed = changed or differs
    if not changed:
        raise refused[0]
    raise UserError(
        f"{dataset.name}: the split no longer gives the same {', '.join(changed)} as when the model was trained; "
        "the data set, how its groups and parts are read, or the library that shuffles it has changed"
    )
