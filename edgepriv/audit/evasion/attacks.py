"""Evasion attacks by name, and the levels of ``--robust``: which are run, in which order.

Cheap ones come first: every attack is made only against what still stands.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from edgepriv.audit.evasion import apgd as auto_pgd
from edgepriv.audit.evasion import fab, square
from edgepriv.audit.evasion.trial import Craft, Tick, Trial
from edgepriv.training.pgd import fgsm, margin, perturbed, pgd_budget

TARGETS = 9
"""Other classes that the targeted attacks aim at, at most."""
_FORWARD = 1 / 3
"""Of a pass forwards and backwards."""


def _fgsm(trial: Trial, eps: float, classes: int) -> list[Craft]:
    def make(x: Tensor, y: Tensor, tick: Tick, settled: float) -> Tensor:
        return fgsm(trial.twin, x, y, norm=trial.norm, eps=trial.radius(eps))

    return [Craft(make, 1, 1, stops=False)]


def _pgd(trial: Trial, eps: float, classes: int) -> list[Craft]:
    starts = trial.generator(f"pgd {eps}")
    climb = partial(
        perturbed, trial.twin, budget=pgd_budget(trial.norm, trial.radius(eps), trial.steps),
        generator=starts, keep_best=True, free=trial.free_on_device(),
    )  # fmt: skip
    return [_plain(climb, trial.steps)] * trial.restarts


def _pgd_margin(trial: Trial, eps: float, classes: int) -> list[Craft]:
    starts = trial.generator(f"pgd-margin {eps}")
    climb = partial(
        perturbed, trial.twin, budget=pgd_budget(trial.norm, trial.radius(eps), trial.steps),
        objective=margin, keep_best=True, free=trial.free_on_device(),
    )  # fmt: skip
    # Where gradients are good, few steps get further from the clean input; a random start guards against bad ones.
    first, others = partial(climb, generator=None), partial(climb, generator=starts)
    return [_plain(first, trial.steps), *[_plain(others, trial.steps)] * (trial.restarts - 1)]


def _plain(climb: Callable[..., Tensor], steps: int) -> Craft:
    def make(x: Tensor, y: Tensor, tick: Tick, settled: float) -> Tensor:
        return climb(x, y, settled=settled)

    return Craft(make, 1, steps + 1)


def _apgd_ce(trial: Trial, eps: float, classes: int) -> list[Craft]:
    starts, free = trial.generator("apgd-ce"), trial.free_on_device()

    def make(x: Tensor, y: Tensor, tick: Tick, settled: float) -> Tensor:
        return auto_pgd.apgd(
            trial.twin,
            x,
            y,
            norm=trial.norm,
            eps=trial.radius(eps),
            generator=starts,
            steps=auto_pgd.STEPS,
            free=free,
            settled=settled,
            tick=tick,
        )

    return [Craft(make, auto_pgd.STEPS, auto_pgd.STEPS + 1)]


def _apgd_t(trial: Trial, eps: float, classes: int) -> list[Craft]:
    starts, free = trial.generator("apgd-t"), trial.free_on_device()

    def make(x: Tensor, y: Tensor, tick: Tick, settled: float, rank: int) -> Tensor:
        return auto_pgd.apgd_targeted(
            trial.twin,
            x,
            y,
            rank=rank,
            norm=trial.norm,
            eps=trial.radius(eps),
            generator=starts,
            steps=auto_pgd.STEPS,
            free=free,
            settled=settled,
            tick=tick,
        )

    return [
        Craft(partial(make, rank=rank), auto_pgd.STEPS, auto_pgd.STEPS + 1) for rank in range(min(TARGETS, classes - 1))
    ]


def _fab_t(trial: Trial, eps: float, classes: int) -> list[Craft]:
    def make(x: Tensor, y: Tensor, tick: Tick, settled: float, rank: int) -> Tensor:
        return fab.fab_targeted(
            trial.twin,
            x,
            y,
            rank=rank,
            norm=trial.norm,
            eps=trial.radius(eps),
            steps=fab.STEPS,
            settled=settled,
            tick=tick,
        )

    passes = fab.STEPS * (1 + _FORWARD)
    return [Craft(partial(make, rank=rank), fab.STEPS, passes) for rank in range(min(TARGETS, classes - 1))]


def _square(trial: Trial, eps: float, classes: int) -> list[Craft]:
    rng = trial.rng("square")

    def make(x: Tensor, y: Tensor, tick: Tick, settled: float) -> Tensor:
        moved = square.square(
            trial.scores, x.cpu().numpy(), y.cpu().numpy(),
            norm=trial.norm, eps=trial.radius(eps), rng=rng, queries=square.QUERIES, free=trial.free, tick=tick,
        )  # fmt: skip
        return torch.from_numpy(moved)

    return [Craft(make, square.QUERIES, square.QUERIES * _FORWARD, stops=False)]


FGSM, SQUARE = "fgsm", "square"
EVASIONS: dict[str, Callable[[Trial, float, int], list[Craft]]] = {
    FGSM: _fgsm,
    "pgd": _pgd,
    "pgd-margin": _pgd_margin,
    "apgd-ce": _apgd_ce,
    "apgd-t": _apgd_t,
    "fab-t": _fab_t,
    SQUARE: _square,
}
"""An attack of radius eps on a model of so many classes, as a list of tries."""

_QUICK = (FGSM, "pgd", "pgd-margin", "apgd-ce")
LEVELS: dict[str, tuple[str, ...]] = {"quick": _QUICK, "autoattack": (*_QUICK, "apgd-t", "fab-t", SQUARE)}
"""AutoAttack is its standard version (Croce & Hein 2020), behind the cheap attacks, which leave it less to do."""
