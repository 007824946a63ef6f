"""Which records each reference model is trained on.

As many as the target was: a model of more records knows each of them less well, and what it shows is then not what the
target would have shown. Candidates are taken without a look at who the target's members are, and each about equally often.

While the target has at most half as many members as there are candidates, the models take consecutive chunks of seeded
permutations of the candidates, so all candidates have equally many IN models, up to one. With exactly half, these are
pairs of complementary halves. When the target has more, half of the candidates are too few to train on: records of the
attacker's own pool fill up, and where the pool is too small, more candidates, up to two thirds of them, so that each is
still OUT of a third of the models.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from edgepriv.data import Split

MOST_INSIDE = 2 / 3
"""Share of the candidates that one model is trained on, at most."""
_DIGESTED = 4

Index = np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """candidates: int64 [n] into the data set. inside: how many of them each model is trained on. filler: how many records
    of ``reserve`` (int64, into the data set) beside these. population: int64, the rest of the attacker's pool."""

    candidates: Index
    inside: int
    filler: int
    reserve: Index
    population: Index
    seed: int

    @property
    def records(self) -> int:
        """How many records each model is trained on; with an odd number of candidates, every other one more."""
        return self.inside + self.filler

    def memberships(self, count: int) -> list[np.ndarray]:
        """bool [n] for each of ``count`` models: the candidates that it is trained on. The first ones do not depend on
        ``count``."""
        n = len(self.candidates)
        if self.inside == n // 2:
            return [_half(n, r, self.seed) for r in range(count)]
        return _chunks(n, self.inside, count, self.seed)

    def training_set(self, r: int, member: np.ndarray) -> Index:
        """Sorted int64 indices of the records of model ``r``, which is trained on the candidates ``member``."""
        others = np.random.default_rng([self.seed, 9, r]).permutation(self.reserve)[: self.filler]
        return np.sort(np.concatenate([self.candidates[member], others]))

    def digest(self) -> str:
        """Of the first models' records: models trained by another plan are not these."""
        sets = (self.training_set(r, member) for r, member in enumerate(self.memberships(_DIGESTED)))
        return hashlib.sha256(b"".join(hashlib.sha256(records.tobytes()).digest() for records in sets)).hexdigest()


def plan(split: Split, seed: int) -> Plan:
    """What reference models of a target trained on ``split.members`` are trained on."""
    candidates = np.concatenate([split.members, split.non_members])
    members, half = len(split.members), len(candidates) // 2
    inside, filler = (half if abs(2 * members - len(candidates)) <= 1 else members), 0
    if 2 * members > len(candidates) + 1:
        filler = min(members - half, len(split.reference) // 2)
        inside = max(half, min(members - filler, int(MOST_INSIDE * len(candidates))))
    pool = np.random.default_rng([seed, 10]).permutation(split.reference)
    # Twice as many as one model takes, where the pool has them, so that models differ in these too.
    reserved = min(2 * filler, len(pool) // 2)
    return Plan(candidates, inside, filler, np.sort(pool[:reserved]), np.sort(pool[reserved:]), seed)


def _half(n: int, r: int, seed: int) -> np.ndarray:
    """Models 2p and 2p + 1 hold complementary halves."""
    member = np.zeros(n, dtype=bool)
    member[np.random.default_rng([seed, r // 2]).permutation(n)[: n // 2]] = True
    return member if r % 2 == 0 else ~member


def _chunks(n: int, size: int, count: int, seed: int) -> list[np.ndarray]:
    """Consecutive chunks of permutations of 0 .. n - 1. A chunk that begins in one permutation and ends in the next takes
    none twice: what it has already is left for the chunk after it."""
    waiting, lap, members = np.empty(0, dtype=np.int64), 0, []
    for _ in range(count):
        if len(waiting) >= size:
            chunk, waiting = waiting[:size], waiting[size:]
        else:
            order = np.random.default_rng([seed, 8, lap]).permutation(n)
            twice = np.isin(order, waiting)
            fresh, missing = order[~twice], size - len(waiting)
            chunk = np.concatenate([waiting, fresh[:missing]])
            waiting, lap = np.concatenate([order[twice], fresh[missing:]]), lap + 1
        member = np.zeros(n, dtype=bool)
        member[chunk] = True
        members.append(member)
    return members
