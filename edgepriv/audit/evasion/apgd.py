"""Auto-PGD (Croce & Hein 2020, algorithm 1): gradient ascent with momentum, whose step halves where it makes no progress."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from edgepriv.audit.evasion.losses import TargetedLoss, loss_for, nearest_others
from edgepriv.training.generators import Generator
from edgepriv.training.pgd import (
    SETTLED,
    Logits,
    Norm,
    Objective,
    cross_entropy,
    gradient,
    margin,
    norm_of,
    per_example,
    random_start,
)

STEPS = 100
MOMENTUM = 0.25
PROGRESS = 0.75
"""Share of the steps between two checkpoints that must raise the loss, or the step is halved."""
_FIRST, _SHORTER, _SHORTEST = 0.22, 0.03, 0.06  # shares of the steps: to the first checkpoint, less each time, at least


# The budget by its parts, as the algorithm is written down, and what an ensemble of attacks tells each of them.
def apgd(
    logits_of: Logits,
    x: Tensor,
    y: Tensor,
    *,
    norm: str,
    eps: float,
    generator: Generator,
    target: Tensor | None = None,
    steps: int = STEPS,
    free: Tensor | None = None,
    settled: float = SETTLED,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """Auto-PGD from a random start.

    Args:
        logits_of: differentiable function of x with logits [N, K].
        x: float32 [N, ...] in [0, 1].
        y: int64 [N], the labels.
        norm: "linf" or "l2".
        eps: radius in input units.
        generator: of the random start.
        target: int64 [N], a class for each example that is to overtake its label by the targeted DLR (the margin, where there
            are fewer than four classes); None raises the cross-entropy.
        steps: gradient steps.
        free: as of ``perturbed``.
        settled: an example is left once it is wrong by more than this lead of a logit.
        tick: called after each step.

    Returns:
        Perturbed inputs, float32 [N, ...]: of all iterates the one with the largest margin over the label.
    """
    kind = norm_of(norm)
    adversarial, reached = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
    begin = random_start(x, kind, eps, generator, free)
    slope, logits, loss = _risen(logits_of, begin, y, _objective(target))
    run = _begun(x, y, y if target is None else target, begin, slope, loss, 2 * eps)
    run = _kept(run, logits, adversarial, reached, settled)
    window = checked = max(int(_FIRST * steps), 1)
    for iteration in range(steps):
        if not len(run.index):
            break
        ahead = _ahead(run, kind, eps, 1.0 if iteration == 0 else 1 - MOMENTUM)
        objective = _objective(None if target is None else run.target)
        slope, logits, loss = _risen(logits_of, ahead, run.y, objective)
        run = _moved(run, ahead, slope, loss)
        # Before the checkpoint, which goes back to the best point: the logits are those of the point ahead.
        run = _kept(run, logits, adversarial, reached, settled)
        checked -= 1
        if checked == 0:
            run = _checked(run, window)
            window = checked = max(window - max(int(_SHORTER * steps), 1), int(_SHORTEST * steps), 1)
        tick()
    return adversarial


# As ``apgd``.
def apgd_targeted(
    logits_of: Logits,
    x: Tensor,
    y: Tensor,
    *,
    rank: int,
    norm: str,
    eps: float,
    generator: Generator,
    steps: int = STEPS,
    free: Tensor | None = None,
    settled: float = SETTLED,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """``apgd`` towards one of the other classes.

    Args:
        logits_of: differentiable function of x with logits [N, K].
        x: float32 [N, ...] in [0, 1].
        y: int64 [N], the labels.
        rank: of the target among the other classes by their logits on the clean input, 0 for the largest, up to K - 2.
        norm: "linf" or "l2".
        eps: radius in input units.
        generator: of the random start.
        steps: gradient steps.
        free: as of ``perturbed``.
        settled: an example is left once it is wrong by more than this lead of a logit.
        tick: called after each step.

    Returns:
        Perturbed inputs, float32 [N, ...].
    """
    with torch.no_grad():
        target = nearest_others(logits_of(x), y)[:, rank]
    return apgd(
        logits_of, x, y, norm=norm, eps=eps, generator=generator, target=target, steps=steps, free=free, settled=settled,
        tick=tick,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Run:
    """Where the examples stand that are still attacked. ``halved``: whether the step was halved at the last checkpoint;
    ``rises``: steps since then that raised the loss; ``loss_at_check``: the best loss then."""

    index: Tensor
    x: Tensor
    y: Tensor
    target: Tensor
    moved: Tensor
    before: Tensor
    slope: Tensor
    loss: Tensor
    step: Tensor
    best: Tensor
    best_slope: Tensor
    best_loss: Tensor
    loss_at_check: Tensor
    halved: Tensor
    rises: Tensor

    def only(self, rows: Tensor) -> "_Run":
        return _Run(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def _begun(x: Tensor, y: Tensor, target: Tensor, begin: Tensor, slope: Tensor, loss: Tensor, step: float) -> _Run:
    """All examples at their random start, ``begin``."""
    return _Run(
        index=torch.arange(len(x), device=x.device),
        x=x,
        y=y,
        target=target,
        moved=begin,
        before=begin,
        slope=slope,
        loss=loss,
        step=torch.full_like(loss, step),
        best=begin,
        best_slope=slope,
        best_loss=loss,
        loss_at_check=loss,
        halved=torch.ones(len(x), dtype=torch.bool, device=x.device),
        rises=torch.zeros_like(loss),
    )


def _ahead(run: _Run, kind: Norm, eps: float, share: float) -> Tensor:
    """The next point: ``share`` of a step along the slope, the rest of the last move again."""
    within = kind.near(run.x, eps)
    ahead = within(run.moved + per_example(run.step, run.x) * kind.direction(run.slope))
    return within(run.moved + share * (ahead - run.moved) + (1 - share) * (run.moved - run.before))


def _moved(run: _Run, ahead: Tensor, slope: Tensor, loss: Tensor) -> _Run:
    """The run at the point ``ahead``, with the slope and the loss there."""
    better = loss > run.best_loss
    return replace(
        run,
        before=run.moved,
        moved=ahead,
        slope=slope,
        rises=run.rises + (loss > run.loss),
        loss=loss,
        best=_chosen(better, ahead, run.best),
        best_slope=_chosen(better, slope, run.best_slope),
        best_loss=torch.where(better, loss, run.best_loss),
    )


def _objective(target: Tensor | None) -> Objective:
    if target is None:
        return cross_entropy
    chosen = target

    def towards(logits: Tensor, y: Tensor) -> Tensor:
        loss: TargetedLoss = loss_for(logits.shape[1])
        return loss(logits, y, chosen)

    return towards


def _risen(logits_of: Logits, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, logits and loss at x; where they are not numbers, no slope and the worst loss, so that a point can follow."""
    slope, logits = gradient(logits_of, x, y, objective)
    loss = objective(logits, y)
    return slope.where(~slope.isnan(), 0), logits, loss.where(~loss.isnan(), -torch.inf)


def _kept(run: _Run, logits: Tensor, adversarial: Tensor, reached: Tensor, settled: float) -> _Run:
    """Write down iterates that lead by more than any before; the run without the examples that are settled."""
    lead = margin(logits, run.y)
    further = lead > reached[run.index]
    adversarial[run.index[further]] = run.moved[further]
    reached[run.index] = torch.where(further, lead, reached[run.index])
    done = lead > settled
    return run.only(~done) if done.any() else run


def _checked(run: _Run, window: int) -> _Run:
    """At a checkpoint: where too few steps were progress, half the step, from the best point on."""
    stuck = ~run.halved & (run.loss_at_check >= run.best_loss)
    halve = (run.rises <= PROGRESS * window) | stuck
    return replace(
        run,
        step=torch.where(halve, run.step / 2, run.step),
        moved=_chosen(halve, run.best, run.moved),
        slope=_chosen(halve, run.best_slope, run.slope),
        halved=halve,
        loss_at_check=run.best_loss,
        rises=torch.zeros_like(run.rises),
    )


def _chosen(where: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(per_example(where, first), first, second)
