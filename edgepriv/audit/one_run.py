"""A lower bound on epsilon from one training, whose audited records were drawn at random.

If a fair coin decided for each of m records whether it was trained on, guesses of these coins from the model say how private
the training is: under (epsilon, delta)-differential privacy no more of r guesses are right than of r coins with probability
e^epsilon / (1 + e^epsilon), but for a term in delta (Steinke, Nasr & Jagielski 2023, theorem 5.2; theirs is
``epsilon_one_run``). Records need not be independent of each other in the model, which an interval of two rates assumes. The
f-DP form (Mahloujifar, Melis & Chaudhuri 2024, theorem 9 and algorithm "audit_rh_with_cap") tests the whole trade-off curve of
a Gaussian mechanism instead, and shows more where delta is above 0; an epsilon at delta then stands for that curve. What it
rules out is a Gaussian mechanism of that epsilon, not every mechanism: a proof of (epsilon, delta) that is not of this shape,
such as randomised response, may be kept while it is exceeded. So no claim of a broken proof rests on it.

Here the number of members is fixed: half of the records, or as many of each side as the smaller has, drawn from the larger by
chance. Then the coins are fair ones given how many came up heads. An event that has probability p among fair coins has at most
p / P(so many heads) among these, so every p-value is divided by that probability, about sqrt(2 / (pi m)): exact, and nothing is
assumed. Which attack, in which direction and with how many guesses (``WAYS``) is chosen on a random half of the records and
judged on the other, so that it does not matter how many were tried.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtrc, expit, log_ndtr, ndtr, ndtri
from scipy.stats import binom

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.statistics import halves

SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)
WAYS = [(turned, both, share) for turned in (False, True) for both in (True, False) for share in SHARES]
"""How to guess: by low scores in place of high ones; members alone, or as many others as well; how many records."""
FEWEST = 20
LARGEST = 64.0
"""An epsilon above this is not looked for."""
_PRECISION = 1e-6

Bound = Callable[[int, int, int, float, float, float], float]
"""(records, guesses, right ones, significance, delta, floor) -> epsilon."""
Way = tuple[bool, bool, float]


@dataclass(frozen=True)
class Records:
    """Scores float64 [n] of an attack, finite, in either direction, and places int64 [n] among all that were audited."""

    scores: Floats
    place: np.ndarray


def p_value(records: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Probability, at most, of so many right guesses or more of fair coins under (epsilon, delta)-differential privacy.

    Args:
        records: m, coins.
        guesses: r, of them that are guessed.
        right: of the guesses.
        epsilon: of the guarantee.
        delta: of the guarantee, in [0, 1).

    Returns:
        In [0, 1].
    """
    chance = float(expit(epsilon))
    beta = float(bdtrc(right - 1, guesses, chance))
    if delta == 0 or right == 0:
        return beta
    fewer = np.arange(1, right + 1)
    alpha = float(np.max((bdtrc(right - fewer - 1, guesses, chance) - beta) / fewer, initial=0.0))
    return min(1.0, beta + alpha * delta * 2 * records)


def steinke(records: int, guesses: int, right: int, significance: float, delta: float, floor: float = 0.0) -> float:
    """The largest epsilon that so many right guesses rule out.

    Args:
        records: m, coins.
        guesses: r, of them that are guessed.
        right: of the guesses.
        significance: allowed probability of a false claim.
        delta: of the guarantee, in [0, 1).
        floor: smaller ones are of no interest.

    Returns:
        ``floor`` or more.
    """
    return _largest(lambda epsilon: p_value(records, guesses, right, epsilon, delta) <= significance, floor)


def gaussian(records: int, guesses: int, right: int, significance: float, delta: float, floor: float = 0.0) -> float:
    """The same by the trade-off curve of a Gaussian mechanism that is exactly (epsilon, delta)-private.

    Args:
        records: m, coins.
        guesses: r, of them that are guessed.
        right: of the guesses.
        significance: allowed probability of a false claim.
        delta: of the guarantee, in (0, 1).
        floor: smaller ones are of no interest.

    Returns:
        ``floor`` or more.
    """

    def ruled_out(epsilon: float) -> bool:
        return _ruled_out(records, guesses, right, significance, gaussian_mu(epsilon, delta))

    return _largest(ruled_out, floor)


def _ruled_out(records: int, guesses: int, right: int, significance: float, mu: float) -> bool:
    r, h = significance * right / records, significance * (guesses - right) / records
    for k in range(right - 1, -1, -1):
        higher = max(h, float(ndtr(ndtri(min(r, 1.0)) - mu)))
        if higher == h:  # neither changes after that
            break
        r = min(r + (k / (guesses - k)) * (higher - h), 1.0)
        h = higher
    return bool(r + h > guesses / records)


@lru_cache(maxsize=4096)
def gaussian_mu(epsilon: float, delta: float) -> float:
    """1 / sigma of the Gaussian mechanism that is (epsilon, delta)-private, and no more so (Balle & Wang 2018, theorem 8).

    Args:
        epsilon: 0 or more.
        delta: in (0, 1).

    Returns:
        mu, above 0.
    """

    def gap(mu: float) -> float:
        upper = log_ndtr(mu / 2 - epsilon / mu)
        lower = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
        return float(np.exp(upper) - np.exp(lower)) - delta

    high = 1.0
    while gap(high) < 0:
        high *= 2
    return float(brentq(gap, 1e-12, high, xtol=1e-13, rtol=1e-13))


def _largest(ruled_out: Callable[[float], bool], floor: float) -> float:
    """The largest epsilon that is ruled out, as smaller ones are too; ``floor`` where it is no larger than that."""
    if not ruled_out(floor):
        return floor
    low, high = floor, max(1.0, 2 * floor)
    while ruled_out(high):
        if high >= LARGEST:
            return high
        low, high = high, 2 * high
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if ruled_out(middle) else (low, middle)
    return low


def one_run_part(
    attacks: Mapping[str, Records], member: Bools, *, alpha: float, delta: float, seed: int, curve: bool = True
) -> dict[str, Any]:
    """The best bound that any of several attacks on one training shows.

    Args:
        attacks: by name.
        member: bool [N] of all that were audited, drawn at random with this number of members.
        alpha: 1 minus the confidence of each form.
        delta: of the guarantee, in [0, 1); the f-DP form needs one above 0.
        seed: of the halves, of the draw from the larger side, and of the order of equal scores.
        curve: whether the f-DP form is wanted too.

    Returns:
        ``delta``, ``attacks`` (their number) and ``confidence``; ``one_run`` and, with a delta, ``f_dp``: ``lower_bound``, and
        ``attack``, ``records``, ``guesses`` and ``right``, which are None where nothing is shown. As JSON.
    """
    part: dict[str, Any] = {"delta": delta, "attacks": len(attacks), "confidence": 1 - alpha}
    first = halves(member, seed)
    chosen = _chosen(attacks, member, first, alpha, seed)
    part["one_run"] = _judged(chosen, attacks, member, ~first, steinke, (alpha, delta, seed))
    if delta > 0 and curve:
        if chosen is not None:
            chosen = _way_of_gaussian(chosen[0], attacks[chosen[0]], member, first, (alpha, delta, seed))
        part["f_dp"] = _judged(chosen, attacks, member, ~first, gaussian, (alpha, delta, seed))
    return part


def _chosen(
    attacks: Mapping[str, Records], member: Bools, part: Bools, alpha: float, seed: int
) -> tuple[str, Way] | None:
    """Attack and way with the largest bound at delta 0 on a part of the records."""
    best, chosen = 0.0, None
    for name, records in attacks.items():
        inside = _in_order(records, member, part, seed)
        for way in WAYS if len(inside) >= FEWEST else ():
            guesses, right = _guessed(inside, way)
            epsilon = steinke(len(inside), guesses, right, alpha * _fair(len(inside)), 0.0, best)
            if epsilon > best:
                best, chosen = epsilon, (name, way)
    return chosen


def _way_of_gaussian(
    name: str, records: Records, member: Bools, part: Bools, how: tuple[float, float, int]
) -> tuple[str, Way]:
    """The way of one attack with the largest bound in the f-DP form, which takes too long for all of them."""
    alpha, delta, seed = how
    inside = _in_order(records, member, part, seed)
    significance = alpha * _fair(len(inside))
    best, chosen = 0.0, WAYS[0]
    for way in WAYS:
        guesses, right = _guessed(inside, way)
        if bdtrc(right - 1, guesses, 0.5) < significance:  # better than coins
            epsilon = gaussian(len(inside), guesses, right, significance, delta, best)
            best, chosen = (epsilon, way) if epsilon > best else (best, chosen)
    return name, chosen


def _judged(
    chosen: tuple[str, Way] | None,
    attacks: Mapping[str, Records],
    member: Bools,
    part: Bools,
    bound: Bound,
    how: tuple[float, float, int],
) -> dict[str, Any]:
    """What the choice shows on a part of the records that it was not made on."""
    alpha, delta, seed = how
    nothing = {"lower_bound": 0.0, "attack": None, "records": None, "guesses": None, "right": None}
    if chosen is None:
        return nothing
    inside = _in_order(attacks[chosen[0]], member, part, seed)
    if len(inside) < FEWEST:
        return nothing
    guesses, right = _guessed(inside, chosen[1])
    epsilon = bound(len(inside), guesses, right, alpha * _fair(len(inside)), delta, 0.0)
    if epsilon == 0:
        return nothing
    return {"lower_bound": epsilon, "attack": chosen[0], "records": len(inside), "guesses": guesses, "right": right}


@lru_cache(maxsize=4096)
def _fair(records: int) -> float:
    """Probability that half of so many fair coins come up heads."""
    return float(binom.pmf(records // 2, records, 0.5))


def _in_order(records: Records, member: Bools, part: Bools, seed: int) -> Bools:
    """bool [2 h], h the size of the smaller side in a part: who is a member, by descending score."""
    rng = np.random.default_rng([seed, 41])
    asked, truth = part[records.place], member[records.place]
    sides = [rng.permutation(np.flatnonzero(asked & side)) for side in (truth, ~truth)]
    half = min(map(len, sides))
    # Who stands first among equal scores must not tell who is a member.
    drawn = rng.permutation(np.concatenate([side[:half] for side in sides]))
    inside: Bools = truth[drawn][np.argsort(-records.scores[drawn], kind="stable")]
    return inside


def _guessed(inside: Bools, way: Way) -> tuple[int, int]:
    """How many are guessed, and how many of these guesses are right."""
    turned, both, share = way
    order = inside[::-1] if turned else inside
    on_each = max(1, int(len(order) * share / 2))
    right = int(order[:on_each].sum())
    return (2 * on_each, right + int((~order[-on_each:]).sum())) if both else (on_each, right)
