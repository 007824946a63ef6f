"""Two halves of the records that nobody trains on: what is chosen by one is told by the other."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edgepriv.data.canaries import ordinary
from edgepriv.data.dataset import Dataset
from edgepriv.data.groups import halved
from edgepriv.data.splits import Split


class Halves(NamedTuple):
    """Splits with the same pool, holdout and validation part, and half of the members and non-members each."""

    choosing: Split
    telling: Split


def halves_of(dataset: Dataset, split: Split) -> Halves:
    """Halve the candidates of an audit: members and non-members. No canary is in either.

    Args:
        dataset: the examples.
        split: who is a member.

    Returns:
        Two splits, drawn with the split's seed; a group is in one of them alone.
    """
    plain = ordinary(split, dataset)
    drawn = np.random.default_rng([split.seed, 17])
    first = {role: np.sort(halved(dataset.groups, getattr(plain, role), drawn)) for role in ("members", "non_members")}
    second = {role: np.setdiff1d(getattr(plain, role), index) for role, index in first.items()}
    return Halves(*(replace(plain, members=one["members"], non_members=one["non_members"]) for one in (first, second)))
