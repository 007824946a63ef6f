"""How much noise the steps of a stage get for the epsilon that is asked for, and what they spend: accounted by Opacus."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from edgepriv.errors import UserError
from edgepriv.recipe import Dp, Recipe, Stage
from edgepriv.training.dp_draws import uniform

_TIGHT = (0.5, 20.0)
"""Epsilons that are accounted for by numerical composition of privacy loss random variables (Gopi, Lee & Wutschitz 2021), of
which Opacus gives the upper end of the error interval: 2.66 against 3.00 by Renyi accounting (Mironov 2017) for noise 2.085,
sample rate 0.2, 50 steps, delta 1.855e-4. Smaller ones are near its numerical error, and larger ones take it minutes: they have
the Renyi bound, which has no such error. So has a delta that floating-point numbers cannot resolve."""
_ORDERS = [
    *(1 + tenth / 10 for tenth in range(1, 100)),
    *range(12, 64),
    64,
    80,
    96,
    128,
    192,
    256,
    384,
    512,
    768,
    1024,
    2048,
]
"""Of Renyi divergence: Opacus' own, and larger ones. With an order a no epsilon below ln(1 / delta) / (a - 1) can be shown:
0.18 at delta 1e-5 and Opacus' largest, 63."""
_MOST_NOISE, _LEAST_NOISE = 1e4, 1e-2
"""Multipliers between which the noise of later stages is looked for."""


@dataclass(frozen=True)
class Steps:
    """Of one stage, as an accountant counts them."""

    noise_multiplier: float
    sample_rate: float
    steps: int


@dataclass(frozen=True)
class Plan:
    """How the steps of a stage are made private. ``noise_multiplier``: standard deviation of the noise over ``clip``;
    ``sample_rate``: chance of each member to be in a batch; ``members``: how many there are; ``claimed``: whether the noise
    was chosen for an epsilon; ``before``: steps of earlier stages on the same members; ``copies``: augmented ones of each
    example, whose mean gradient is clipped."""

    noise_multiplier: float
    clip: float
    sample_rate: float
    delta: float
    members: int
    steps_per_epoch: int
    claimed: bool = True
    before: tuple[Steps, ...] = ()
    copies: int = 1

    @property
    def expected(self) -> float:
        """Examples in a batch, on average."""
        return self.sample_rate * self.members

    def batches(self, generator: torch.Generator | None) -> Iterator[Tensor]:
        """The batches of an epoch, drawn example by example (Poisson).

        Args:
            generator: of the draws; None for the operating system's.

        Returns:
            int64 indices of each batch, any of which may be empty.
        """
        for _ in range(self.steps_per_epoch):
            chosen = uniform(self.members, generator) < self.sample_rate
            yield chosen.nonzero().flatten()

    def spent(self, epochs: int) -> dict[str, Any]:
        """What a number of epochs costs.

        Args:
            epochs: that have run, or that were planned, where an early stop decides how many run.

        Returns:
            As JSON; ``epsilon`` is what was spent; None without noise.
        """
        history = (*self.before, Steps(self.noise_multiplier, self.sample_rate, epochs * self.steps_per_epoch))
        augmented = {"augmentations": self.copies} if self.copies > 1 else {}
        stages = {"stages": [vars(own) for own in history]} if self.before else {}
        epsilon, accountant = _spent(history, self.delta)
        return {
            "epsilon": epsilon if math.isfinite(epsilon) else None,
            "claimed": self.claimed,
            "delta": self.delta,
            "noise_multiplier": self.noise_multiplier,
            "clip": self.clip,
            "sample_rate": self.sample_rate,
            "steps": sum(own.steps for own in history),
            "accountant": accountant,
            "sampling": "poisson",
            **augmented,
            **stages,
        }


def of_a_person(facts: Mapping[str, Any], records: int) -> dict[str, Any]:
    """What a proof of one record is worth to a person with several: k epsilon at delta (e^(k epsilon) - 1) /
    (e^epsilon - 1) (Vadhan 2017, lemma 2.2).

    Args:
        facts: with ``epsilon`` (None: nothing is proven) and ``delta``.
        records: the most that one person has among the members.

    Returns:
        ``facts``, with ``records_of_a_person``, ``epsilon_of_a_person`` and ``delta_of_a_person`` where somebody has several.
    """
    if records < 2 or facts["epsilon"] is None:
        return dict(facts)
    epsilon = float(facts["epsilon"])
    ratio = (
        float(records) if epsilon == 0 else math.expm1(min(records * epsilon, 700.0)) / math.expm1(min(epsilon, 700.0))
    )
    return {
        **facts,
        "records_of_a_person": records,
        "epsilon_of_a_person": records * epsilon,
        "delta_of_a_person": min(1.0, float(facts["delta"]) * ratio),
    }


def plan_of(dp: Dp, stage: Stage, members: int) -> Plan:
    """The noise with which all epochs of a stage spend the privacy budget, or that the recipe gives.

    The sample rate is 1 over the steps of an epoch, as in Opacus, so that a batch has ``stage.batch_size`` examples on
    average, or a few less.

    Args:
        dp: epsilon, delta and the norm that gradients are clipped to.
        stage: epochs and batch size.
        members: examples that are trained on.

    Returns:
        The plan.

    Raises:
        UserError: when no noise is enough, or when delta is too large to guarantee anything.
    """
    steps = max(1, math.ceil(members / stage.batch_size))
    delta = dp.delta if dp.delta is not None else 1 / (10 * members)
    if delta >= 1 / members:
        raise UserError(
            f"delta {delta:.2g} is not below 1 / members ({1 / members:.2g}): with such a delta, publishing a random "
            "member would count as private; choose a smaller one, or leave it out for 1 / (10 members)"
        )
    if dp.noise is not None:
        return Plan(dp.noise, dp.clip, 1 / steps, delta, members, steps, claimed=False, copies=dp.augmentations)
    assert dp.epsilon is not None
    try:
        noise = _noise_multiplier(dp.epsilon, delta, 1 / steps, steps * stage.epochs)
    except (ValueError, OverflowError):
        raise UserError(
            f"no amount of noise shows an epsilon of {dp.epsilon:g} at delta {delta:.2g} in {stage.epochs} epochs: "
            "ask for a larger epsilon or delta, or fewer epochs"
        ) from None
    return Plan(noise, dp.clip, 1 / steps, delta, members, steps, copies=dp.augmentations)


def later_plan(recipe: Recipe, name: str, members: int) -> Plan:
    """The noise with which the stages after ``train`` spend what it has left of the whole budget, the same for all of them.

    Args:
        recipe: with ``dp.total``.
        name: of the stage.
        members: examples that are trained on, in every stage.

    Returns:
        The plan, with the steps of all stages before it: all epochs that they were to have.

    Raises:
        UserError: when no noise is enough.
    """
    dp = recipe.dp
    assert dp.total is not None
    first = plan_of(dp, recipe.train, members)
    trained = Steps(first.noise_multiplier, first.sample_rate, first.steps_per_epoch * recipe.train.epochs)
    own = {
        stage: (max(1, math.ceil(members / settings.batch_size)), settings.epochs)
        for stage, settings in recipe.stages().items()
        if stage != "train"
    }
    noise = _noise_left(
        trained, tuple((1 / steps, steps * epochs) for steps, epochs in own.values()), dp.total, first.delta
    )
    if noise is None:
        raise UserError(
            f"training has spent epsilon {first.spent(recipe.train.epochs)['epsilon'] or math.inf:.3g} of the "
            f"{dp.total:g} that all stages may spend, and no amount of noise keeps the rest: ask for a larger "
            "--dp-total-epsilon"
        )
    earlier = list(own)[: list(own).index(name)]
    before = (trained, *(Steps(noise, 1 / own[stage][0], own[stage][0] * own[stage][1]) for stage in earlier))
    steps = own[name][0]
    return Plan(noise, dp.clip, 1 / steps, first.delta, members, steps, copies=dp.augmentations, before=before)


@cache
def _noise_left(trained: Steps, later: tuple[tuple[float, int], ...], total: float, delta: float) -> float | None:
    """The noise multiplier of ``later`` (sample rate, steps) that brings epsilon to ``total``."""

    def epsilon(noise: float) -> float:
        return _spent((trained, *(Steps(noise, rate, steps) for rate, steps in later)), delta)[0]

    low, high = _LEAST_NOISE, _MOST_NOISE
    if epsilon(high) > total:
        return None
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if epsilon(middle) <= total else (middle, high)
    return high


@cache
def _noise_multiplier(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier  # here, because Opacus takes seconds to import

    def noise_by(accountant: str) -> float:
        with _without_advice():
            multiplier: float = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant=accountant,
                epsilon_tolerance=min(0.01, epsilon / 100),
                **_orders_of(accountant),
            )
            return multiplier

    if not _TIGHT[0] <= epsilon <= _TIGHT[1]:
        return noise_by("rdp")
    try:
        return noise_by("prv")
    except ValueError:  # of a delta that it cannot resolve
        return noise_by("rdp")


def _orders_of(mechanism: str) -> dict[str, Any]:
    return {"alphas": _ORDERS} if mechanism == "rdp" else {}


def _spent(history: tuple[Steps, ...], delta: float) -> tuple[float, str]:
    """The lower of two bounds on epsilon, and whose it is: either holds by itself. Without noise it is infinite."""
    if any(own.noise_multiplier == 0 and own.steps > 0 for own in history):
        return math.inf, "none"
    epsilon = _epsilon("rdp", history, delta)
    if not _TIGHT[0] <= epsilon <= 2 * _TIGHT[1]:
        return epsilon, "rdp"
    try:
        return min((epsilon, "rdp"), (_epsilon("prv", history, delta), "prv"))
    except ValueError:  # of a delta that it cannot resolve
        return epsilon, "rdp"


@cache
def _epsilon(mechanism: str, history: tuple[Steps, ...], delta: float) -> float:
    from opacus.accountants import create_accountant

    accountant = create_accountant(mechanism=mechanism)
    accountant.history = [(own.noise_multiplier, own.sample_rate, own.steps) for own in history]
    with _without_advice():
        return float(accountant.get_epsilon(delta=delta, **_orders_of(mechanism)))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Opacus warns wherever more orders could make the bound tighter; it holds as it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
        warnings.filterwarnings("ignore", module="opacus.accountants")
        yield
