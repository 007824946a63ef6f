"""The one module that knows who is a member."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepriv.data.dataset import Dataset
from edgepriv.errors import UserError
from edgepriv.recipe import Data

ROLES = ("members", "non_members", "reference", "holdout", "validation")

# Famili & Lao 2023, section 4.1.3: 15,000 examples for the target, 15,000 for the shadow model, two sets of 15,000 to
# test. The reference pool holds the shadow model's two sets. CIFAR-10 has 60,000 examples in all, so there the
# shadow model's test set gives up 5,000 to the privacy holdout and the validation set, which the paper does without.
_PAPER_SIZES = {
    "fashion_mnist": (15_000, 15_000, 30_000, 5_000, 5_000),
    "mnist": (15_000, 15_000, 30_000, 5_000, 5_000),
    "cifar10": (15_000, 15_000, 25_000, 2_500, 2_500),
    "location30": (1_000, 1_000, 2_000, 400, 400),
}
_SHARES = (0.3, 0.3, 0.3, 0.05, 0.05)
_SHARES_OF_NON_MEMBERS = (0.4, 0.4, 0.1, 0.1)


@dataclass(frozen=True)
class Split:
    """Disjoint int64 index arrays into one data set.

    ``members`` train the target; ``non_members`` are what an audit compares them with; ``reference`` is the attacker's
    own pool; ``holdout`` are the non-members that posterior flattening may use; ``validation`` chooses checkpoints.
    """

    seed: int
    members: np.ndarray
    non_members: np.ndarray
    reference: np.ndarray
    holdout: np.ndarray
    validation: np.ndarray

    def record(self) -> dict[str, Any]:
        """Seed, sizes and the sha256 of each index array: enough to rebuild the split and to prove that it is the same."""
        return {
            "seed": self.seed,
            "sizes": {role: len(getattr(self, role)) for role in ROLES},
            "sha256": {role: hashlib.sha256(getattr(self, role).tobytes()).hexdigest() for role in ROLES},
        }


def make_split(dataset: Dataset, sizes: Data, seed: int) -> Split:
    """Draw the roles from ``dataset`` by a seeded permutation; sizes left open take the data set's default."""
    defaults = _default_sizes(dataset)
    asked = {role: getattr(sizes, role) for role in ROLES}
    counts = [default if asked[role] is None else asked[role] for role, default in zip(ROLES, defaults, strict=True)]
    if sum(counts) > len(dataset):
        wanted = " + ".join(f"{count} {role}" for role, count in zip(ROLES, counts, strict=True))
        raise UserError(f"{dataset.name} has {len(dataset)} examples, fewer than {wanted}: ask for fewer")
    if min(counts[:2]) < 2:
        raise UserError(f"{dataset.name} has {len(dataset)} examples: too few to set members and non-members apart")
    order = _drawn_order(dataset, counts[0], seed)
    parts = np.split(order[: sum(counts)], np.cumsum(counts)[:-1])
    split = Split(seed, *(np.sort(part) for part in parts))
    if len(np.unique(dataset.y[split.members])) < 2:
        raise UserError(f"{dataset.name}: the {len(split.members)} members are all of one class: ask for more members")
    return split


def _default_sizes(dataset: Dataset) -> tuple[int, ...]:
    members = dataset.known_members
    if members is not None:
        return members, *(int(share * (len(dataset) - members)) for share in _SHARES_OF_NON_MEMBERS)
    sizes = _PAPER_SIZES.get(dataset.name)
    if sizes is not None and sum(sizes) <= len(dataset):
        return sizes
    return tuple(int(share * len(dataset)) for share in _SHARES)


def _drawn_order(dataset: Dataset, members: int, seed: int) -> np.ndarray:
    """A seeded permutation; members that are known come first, all of them."""
    generator = np.random.default_rng(seed)
    known = dataset.known_members
    if known is None:
        return generator.permutation(len(dataset)).astype(np.int64)
    if members != known:
        raise UserError(f"{dataset.name}: its {known} members are known, so data.members cannot be {members}")
    return np.concatenate([np.arange(known), known + generator.permutation(len(dataset) - known)]).astype(np.int64)


def remake_split(dataset: Dataset, record: dict[str, Any]) -> Split:
    """The split that ``record`` describes; UserError when the data or the seed no longer give the same one."""
    split = make_split(dataset, Data(name=dataset.name, **record["sizes"]), record["seed"])
    changed = [role for role, digest in split.record()["sha256"].items() if digest != record["sha256"][role]]
    if changed:
        raise UserError(
            f"{dataset.name}: the split no longer gives the same {', '.join(changed)} as when the model was trained; "
            "the data set or the library that shuffles it has changed"
        )
    return split
