"""BlindMI (Hui et al. 2021): is the example nearer to non-members, or would they be further off without it?

Differential comparison: D(T, N) is the squared maximum mean discrepancy (MMD) between the answers to a set T of
would-be members and a set N of non-members. Moving a member from T to N brings the sets nearer, moving a non-member
takes them further apart. As Ding et al. 2023, section 4.4.1, have it: no shadow model, no labels (Blackbox-Blind), each
answer reduced to its three largest probabilities.

What the paper leaves open or decides one by one:

Kernel. The authors' code sums Gaussians of variance 1e-6, 1e-5, ... up to 1e6. Beyond 1 they are straight lines on
probabilities and only add computing time, so here the sum ends at 1.

Size. All pairs of n answers are too many. The authors cut the candidates into batches; here the sets are found on a
random 2,000 of the candidates (by content, so that the order of the candidates plays no part), and then judge all.

Score. The paper moves an example or not; a ROC curve needs a number. It is D with the example counted as a member less
D with it counted as a non-member, given the final sets (without itself): the paper's comparison, whose sign is its
decision.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.svm import OneClassSVM
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.ml_leaks import largest
from edgepriv.audit.evidence import Evidence

VARIANCES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
OWN = float(len(VARIANCES))
"""The kernel of an example with itself."""
MOST, CHUNK = 2_000, 1_000
# Rounds end by themselves when nothing moves any more, in practice within a few.
ROUNDS = 50
# Share of generated answers that the one-class machine may leave outside: they are all non-members.
STRANGE = 0.01

Float32s = npt.NDArray[np.float32]


def blindmi_diff(evidence: Evidence) -> Floats:
    """BlindMI-Diff-w: N begins as answers to generated inputs, all candidates as T; moves go from T to N only.

    Args:
        evidence: with ``generated``.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: without answers to generated inputs.
    """
    seen = largest(evidence.target.probabilities)
    chosen = _sample(seen, evidence.seed)
    pool = np.concatenate([seen[chosen], _generated(evidence)])
    kernel = _kernel(pool, pool)
    member = np.arange(len(kernel)) < len(chosen)
    for _ in range(ROUNDS):
        moved = _nearer_as_non_members(kernel, member)
        if not moved.any() or moved.sum() > member.sum() - 2:
            break
        member &= ~moved
    return _judge(seen, pool, kernel, member, chosen)


def blindmi_diff_without(evidence: Evidence) -> Floats:
    """BlindMI-Diff-w/o generated answers: N begins as the half whose largest probability is smaller; moves go both ways.

    Args:
        evidence: any.

    Returns:
        float64 [n]; higher for members. All 0 where the largest probabilities cannot be cut into halves.
    """
    seen = largest(evidence.target.probabilities)
    chosen = _sample(seen, evidence.seed)
    kernel = _kernel(seen[chosen], seen[chosen])
    member = seen[chosen, 0] > np.median(seen[chosen, 0])
    if not 1 < member.sum() < len(member) - 1:
        return np.zeros(len(seen))
    for _ in range(ROUNDS):
        if not _climb(kernel, member):
            break
    return _judge(seen, seen[chosen], kernel, member, chosen)


def blindmi_one_class(evidence: Evidence) -> Floats:
    """BlindMI-1class: how far outside of the answers to generated inputs, by a one-class support vector machine.

    Minus the decision function of scikit-learn's OneClassSVM with a Gaussian kernel. No candidate takes part in training.

    Args:
        evidence: with ``generated``.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: without answers to generated inputs.
    """
    with threadpool_limits(1):
        machine = OneClassSVM(nu=STRANGE, gamma="scale").fit(_generated(evidence))
        outside: Floats = -machine.decision_function(largest(evidence.target.probabilities))
    return outside


def _generated(evidence: Evidence) -> Floats:
    if evidence.generated is None:
        raise Unavailable("needs answers to generated inputs")
    return largest(evidence.generated[:MOST])


def _sample(seen: Floats, seed: int) -> npt.NDArray[np.int64]:
    """At most ``MOST`` of the candidates, chosen by seed among them in the order of their answers."""
    by_content = np.lexsort(seen.T)
    return by_content[np.random.default_rng(seed).permutation(len(seen))[:MOST]]


def _kernel(a: Floats, b: Floats) -> Float32s:
    """Sum of Gaussian kernels between the rows of a [n, d] and b [m, d]: float32 [n, m]."""
    apart = np.zeros((len(a), len(b)), dtype=np.float32)
    for i in range(a.shape[1]):  # exact for answers that differ by 1e-6, where |a|^2 + |b|^2 - 2ab is not
        apart += ((a[:, i, None] - b[None, :, i]) ** 2).astype(np.float32)
    total, one = np.zeros_like(apart), np.empty_like(apart)
    for variance in VARIANCES:
        np.multiply(apart, np.float32(-0.5 / variance), out=one)
        total += np.exp(one, out=one)
    return total


@dataclass(frozen=True)
class _Sums:
    """Of the kernel: within T, within N, between, and the sizes of the two sets; numbers, or arrays of many cases."""

    within_t: Floats
    within_n: Floats
    between: Floats
    t: Floats
    n: Floats

    @classmethod
    def of(cls, to_t: Floats, to_n: Floats, member: Bools) -> "_Sums":
        """``to_t``, ``to_n`` [rows]: each row's sum over T and over N; ``member``: which rows are T."""
        t, n = np.asarray(member.sum(), dtype=np.float64), np.asarray((~member).sum(), dtype=np.float64)
        return cls(to_t[member].sum(), to_n[~member].sum(), to_n[member].sum(), t, n)

    def with_t(self, to_t: Floats, to_n: Floats, sign: Floats | int = 1) -> "_Sums":
        """With an example of these sums over T and N joined to T; with ``sign`` -1, one taken out of T (sums with itself)."""
        within = self.within_t + sign * 2 * to_t + OWN
        return _Sums(within, self.within_n, self.between + sign * to_n, self.t + sign, self.n)

    def with_n(self, to_t: Floats, to_n: Floats, sign: Floats | int = 1) -> "_Sums":
        """The same of N."""
        within = self.within_n + sign * 2 * to_n + OWN
        return _Sums(self.within_t, within, self.between + sign * to_t, self.t, self.n + sign)

    def distance(self) -> Floats:
        """Squared MMD: the mean within T, plus that within N, less twice that between."""
        return self.within_t / self.t**2 + self.within_n / self.n**2 - 2 * self.between / (self.t * self.n)


def _sums_to(kernel: Float32s, member: Bools) -> tuple[Floats, Floats]:
    """Each row's sum over T and over N, float64 [rows]."""
    return kernel[:, member].sum(axis=1, dtype=np.float64), kernel[:, ~member].sum(axis=1, dtype=np.float64)


def _nearer_as_non_members(kernel: Float32s, member: Bools) -> Bools:
    """Those of T of which each, moved to N alone, takes the sets further apart: bool [rows]."""
    to_t, to_n = _sums_to(kernel, member)
    sums = _Sums.of(to_t, to_n, member)
    moved = sums.with_t(to_t, to_n, -1).with_n(to_t - OWN, to_n)
    return member & (moved.distance() > sums.distance())


def _climb(kernel: Float32s, member: Bools) -> bool:
    """Move every example once, in place, where that takes the sets further apart; whether any was moved."""
    to_t, to_n = _sums_to(kernel, member)
    sums, any_moved = _Sums.of(to_t, to_n, member), False
    for i in range(len(member)):
        if member[i]:
            sign, moved = -1, sums.with_t(to_t[i], to_n[i], -1).with_n(to_t[i] - OWN, to_n[i])
        else:
            sign, moved = 1, sums.with_n(to_t[i], to_n[i], -1).with_t(to_t[i], to_n[i] - OWN)
        if min(moved.t, moved.n) < 2 or moved.distance() <= sums.distance():
            continue
        to_t += sign * kernel[:, i]
        to_n -= sign * kernel[:, i]
        sums, member[i], any_moved = moved, not member[i], True
    return any_moved


def _judge(seen: Floats, pool: Floats, kernel: Float32s, member: Bools, chosen: npt.NDArray[np.int64]) -> Floats:
    """D(T + x, N) - D(T, N + x) for every candidate x; ``chosen`` are the rows of ``seen`` that ``pool`` begins with."""
    sums = _Sums.of(*_sums_to(kernel, member), member)
    in_t, in_n = np.zeros(len(seen), dtype=bool), np.zeros(len(seen), dtype=bool)
    in_t[chosen], in_n[chosen] = member[: len(chosen)], ~member[: len(chosen)]
    scores = []
    for start in range(0, len(seen), CHUNK):
        part = slice(start, start + CHUNK)
        to_t, to_n = _sums_to(_kernel(seen[part], pool), member)
        # What is in a set already is judged as if it had come from outside.
        own_t, own_n = OWN * in_t[part], OWN * in_n[part]
        outside = _Sums(
            sums.within_t - in_t[part] * (2 * to_t - OWN),
            sums.within_n - in_n[part] * (2 * to_n - OWN),
            sums.between - in_t[part] * to_n - in_n[part] * to_t,
            sums.t - in_t[part],
            sums.n - in_n[part],
        )
        to_t, to_n = to_t - own_t, to_n - own_n
        scores.append(outside.with_t(to_t, to_n).distance() - outside.with_n(to_t, to_n).distance())
    return np.concatenate(scores)
