"""Which records each reference model is trained on.

As many as the target was: a model of more records knows each of them less well, and what it shows is then not what the
target would have shown. Candidates are taken without a look at who the target's members are, and each about equally often.

While the target has at most half as many members as there are candidates, the models take consecutive chunks of seeded
permutations of the candidates, so all candidates have equally many IN models, up to one. With exactly half, these are
pairs of complementary halves. When the target has more, half of the candidates are too few to train on: records of the
attacker's own pool fill up, and where the pool is too small, more candidates, up to two thirds of them, so that each is
still OUT of a third of the models.

Where records belong to persons (groups), all this is done with whole persons: each is IN a model with all of her records or
OUT with all, and the sizes are met up to a part of one person. A person who does not fit waits for the next model. One with
more records than a model takes would never be IN, which ``refuse_too_large`` says before any model is trained.

Canaries (``data.canaries``) are drawn apart from the others, so that models 2p and 2p + 1 hold complementary halves of them
whatever the sizes: each is IN half of the models and OUT of the other half, as it is IN the target with a chance of a half.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from edgepriv.data import Split
from edgepriv.data.groups import first_groups, fitting
from edgepriv.errors import UserError

MOST_INSIDE = 2 / 3
"""Share of the candidates that one model is trained on, at most."""
_DIGESTED = 4
_CANARY_STREAM = 1_000_003  # added to the seed: canaries are halved apart from the others

Index = np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """candidates: int64 [n] into the data set. inside: how many of them each model is trained on. filler: how many records
    of ``reserve`` (int64, into the data set) beside these. population: int64, the rest of the attacker's pool. groups: int64
    of the whole data set, whose records they are; None where each is by itself. With groups, ``inside`` and ``filler`` are
    about so many. canaries: bool [n], which candidates are canaries; None without any."""

    candidates: Index
    inside: int
    filler: int
    reserve: Index
    population: Index
    seed: int
    groups: np.ndarray | None = None
    canaries: np.ndarray | None = None

    @property
    def records(self) -> int:
        """How many records each model is trained on; with an odd number of candidates, every other one more, and with groups
        about so many (``mean_records``)."""
        return self.inside + self.filler

    def mean_records(self, count: int) -> int:
        """How many records models are trained on, on average.

        Args:
            count: models.

        Returns:
            Their mean, rounded; without groups, and of no models, ``records``.
        """
        if self.groups is None or not count:
            return self.records
        return round(np.mean([len(self.training_set(r, member)) for r, member in enumerate(self.memberships(count))]))

    def memberships(self, count: int) -> list[np.ndarray]:
        """The candidates that each model is trained on. The first models do not depend on how many there are.

        Args:
            count: models.

        Returns:
            bool [n] for each.
        """
        person, sizes = self._persons()
        if self.canaries is not None:
            return self._memberships_beside_canaries(person, sizes, count)
        return [persons[person] for persons in self._chosen(sizes, self.inside, count)]

    def _chosen(self, sizes: np.ndarray, inside: int, count: int) -> list[np.ndarray]:
        """bool [persons] for each model, of persons with ``sizes`` records each, of whom it takes ``inside`` records."""
        if self.inside == len(self.candidates) // 2:
            return [_half(sizes, r, self.seed) for r in range(count)]
        return _chunks(sizes, inside, count, self.seed)

    def _memberships_beside_canaries(self, person: np.ndarray, sizes: np.ndarray, count: int) -> list[np.ndarray]:
        """Halves of the persons with a canary, and of the others what is then missing."""
        apart = np.bincount(person, weights=self.canaries) > 0
        held = int(sizes[apart].sum())
        others = self._chosen(sizes[~apart], self.inside - held // 2, count)
        memberships = []
        for r, of_others in enumerate(others):
            persons = np.empty(len(sizes), dtype=bool)
            persons[apart], persons[~apart] = _half(sizes[apart], r, self.seed + _CANARY_STREAM), of_others
            memberships.append(persons[person])
        return memberships

    def _persons(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [n], whose record each candidate is, from 0; and int64 [persons], how many records each has."""
        if self.groups is None:
            return np.arange(len(self.candidates)), np.ones(len(self.candidates), dtype=np.int64)
        person = np.unique(self.groups[self.candidates], return_inverse=True)[1]
        return person, np.bincount(person)

    def refuse_too_large(self) -> None:
        """Refuse persons of whom no model as large as these could be IN, or OUT.

        Raises:
            UserError: where one holds more records than a model takes, and where all records are one person's.
        """
        if self.groups is None:
            return
        sizes, n = self._persons()[1], len(self.candidates)
        room = max(self.inside, n - self.inside) if self.inside == n // 2 else self.inside
        if len(sizes) < 2:
            raise UserError(
                f"members and non-members are records of {len(sizes)} group: reference models need groups to train on and "
                "groups to leave out"
            )
        if sizes.max() > room:
            raise UserError(
                f"the largest group holds {int(sizes.max()):,} records, more than the {room:,} that a reference model may be "
                f"trained on ({int((sizes > room).sum()):,} of {len(sizes):,} groups do): no model of the target's size can "
                "know it. Leave such groups out, or audit without reference models (--references 0)"
            )

    def training_set(self, r: int, member: np.ndarray) -> Index:
        """The records of a model.

        Args:
            r: the model, from 0.
            member: bool [n], the candidates that it is trained on.

        Returns:
            Sorted int64 indices into the data set.
        """
        order = np.random.default_rng([self.seed, 9, r]).permutation(self.reserve)
        others = first_groups(order, self.groups, self.filler)[0]
        return np.sort(np.concatenate([self.candidates[member], others]))

    def digest(self) -> str:
        """Of the first models' records: models trained by another plan are not these."""
        sets = (self.training_set(r, member) for r, member in enumerate(self.memberships(_DIGESTED)))
        return hashlib.sha256(b"".join(hashlib.sha256(records.tobytes()).digest() for records in sets)).hexdigest()


def plan(split: Split, seed: int, groups: np.ndarray | None = None, canaries: np.ndarray | None = None) -> Plan:
    """What reference models of a target are trained on.

    Args:
        split: who is a member of the target.
        seed: of the draws.
        groups: int64, of the data set; None without.
        canaries: bool [n], which candidates are canaries; None without any.

    Returns:
        The plan.
    """
    candidates = np.concatenate([split.members, split.non_members])
    members, half = len(split.members), len(candidates) // 2
    inside, filler = (half if abs(2 * members - len(candidates)) <= 1 else members), 0
    if 2 * members > len(candidates) + 1:
        filler = min(members - half, len(split.reference) // 2)
        inside = max(half, min(members - filler, int(MOST_INSIDE * len(candidates))))
    pool = np.random.default_rng([seed, 10]).permutation(split.reference)
    # Twice as many as one model takes, where the pool has them, so that models differ in these too.
    reserved, population = first_groups(pool, groups, min(2 * filler, len(pool) // 2))
    return Plan(candidates, inside, filler, np.sort(reserved), np.sort(population), seed, groups, canaries)


def _half(sizes: np.ndarray, r: int, seed: int) -> np.ndarray:
    """bool [persons]: models 2p and 2p + 1 hold complementary halves of persons with ``sizes`` records each."""
    order = np.random.default_rng([seed, 14, r // 2]).permutation(len(sizes))  # [seed, 0] would draw as seed alone does
    member = np.zeros(len(sizes), dtype=bool)
    member[order[fitting(sizes[order], int(sizes.sum()) // 2)]] = True
    return member if r % 2 == 0 else ~member


def _chunks(sizes: np.ndarray, size: int, count: int, seed: int) -> list[np.ndarray]:
    """bool [persons] each: consecutive chunks, of ``size`` records each, of permutations of the persons. A chunk that begins
    in one permutation and ends in the next takes none twice: what it has already is left for the chunk after it."""
    waiting, lap, members = np.empty(0, dtype=np.int64), 0, []
    able = sizes <= max(size, int(sizes.min()))
    for _ in range(count):
        there = int(sizes[waiting].sum())
        if there >= size:
            taken = fitting(sizes[waiting], size)
            chunk, waiting = waiting[taken], waiting[~taken]
        else:
            order = np.random.default_rng([seed, 8, lap]).permutation(len(sizes))
            order = order[able[order]]
            twice = np.isin(order, waiting)
            fresh = order[~twice]
            taken = fitting(sizes[fresh], size - there, least=not there)
            chunk = np.concatenate([waiting, fresh[taken]])
            waiting, lap = np.concatenate([order[twice], fresh[~taken]]), lap + 1
        member = np.zeros(len(sizes), dtype=bool)
        member[chunk] = True
        members.append(member)
    return members
