"""Perturbations that make a differentiable model err: start, gradient, step, project (Madry et al. 2018).

x is float32 [n, ...] in [0, 1], y int64 [n], ``model`` maps x to logits [n, K]. Perturbed inputs stay in [0, 1] and
within ``eps`` of x, in input units: each entry (``norm`` "linf") or the whole flattened example ("l2").
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Objective = Callable[[Tensor, Tensor], Tensor]

# The shipped model differs from its twin by rounding: PGD leaves an example once it is wrong by more logits than that.
SETTLED = 0.1


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Loss [n] of each example."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Largest other logit less the true one [n], > 0 where the label is wrong (Carlini & Wagner 2017, f6).

    Its gradient cannot vanish by saturation of the softmax, and it works from two classes on.
    """
    true = logits.gather(1, y[:, None]).squeeze(1)
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.amax(dim=1) - true


def fgsm(model: nn.Module, x: Tensor, y: Tensor, *, norm: str, eps: float) -> Tensor:
    """One step of length ``eps`` from x along the loss's gradient (Goodfellow et al. 2015; in L2 its direction)."""
    direction = _direction(gradient(model, x, y, cross_entropy)[0], norm)
    return _project(x + eps * direction, x, norm, eps)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: str,
    eps: float,
    steps: int,
    step: float | None = None,
    objective: Objective = cross_entropy,
    random_start: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Projected gradient ascent on ``objective`` from a random point of the ball, or from x itself.

    ``step`` defaults to 2.5 eps / steps. Returned is the iterate with the largest ``margin``; an example that is wrong
    by more than ``SETTLED`` is not pushed further.
    """
    step = 2.5 * eps / steps if step is None else step
    best, best_margin = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
    active = torch.arange(len(x), device=x.device)
    moved = _random_start(x, norm, eps, generator) if random_start else x
    for iteration in range(steps + 1):
        slope, logits = gradient(model, moved, y[active], objective)
        reached = margin(logits, y[active])
        better = reached > best_margin[active]
        best[active[better]], best_margin[active[better]] = moved[better], reached[better]
        unsettled = reached <= SETTLED
        if iteration == steps or not unsettled.any():
            break
        active = active[unsettled]
        moved = _project(moved[unsettled] + step * _direction(slope[unsettled], norm), x[active], norm, eps)
    return best


def gradient(model: nn.Module, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Gradient of the objective with respect to each input [n, ...], and the logits [n, K] there."""
    x = x.detach().requires_grad_(True)
    logits = model(x)
    (slope,) = torch.autograd.grad(objective(logits, y).sum(), x, allow_unused=True, materialize_grads=True)
    return slope, logits.detach()


def _each(values: Tensor, like: Tensor) -> Tensor:
    """One value [n] for each example, shaped to multiply ``like`` [n, ...]."""
    return values.view(-1, *[1] * (like.dim() - 1))


def _length(change: Tensor) -> Tensor:
    """Euclidean length [n, 1, ...] of each example's change."""
    return _each(change.flatten(1).norm(dim=1), change)


def _direction(slope: Tensor, norm: str) -> Tensor:
    """Steepest ascent for a step of length one in the norm; zero where the gradient is, or is not a number."""
    slope = torch.nan_to_num(slope)
    if norm == "linf":
        return slope.sign()
    # Squares of float32 numbers below 1e-19 underflow: scale by the largest entry first.
    slope = slope / _each(slope.flatten(1).abs().amax(dim=1).clamp_min(torch.finfo(slope.dtype).tiny), slope)
    return slope / _length(slope).clamp_min(0.5)


def _project(moved: Tensor, x: Tensor, norm: str, eps: float) -> Tensor:
    """Nearest point of the ball around x, then clipped to [0, 1], which cannot leave the ball as x is in [0, 1]."""
    change = moved - x
    change = change.clamp(-eps, eps) if norm == "linf" else change * (eps / _length(change).clamp_min(eps))
    return (x + change).clamp(0, 1)


def _random_start(x: Tensor, norm: str, eps: float, generator: torch.Generator | None) -> Tensor:
    """A point of the ball around each x, clipped to [0, 1]: L-inf uniform; L2 of uniform direction and length.

    In L2 uniform would mean on the surface, nearly always, from where few steps lead back to good directions.
    """
    if norm == "linf":
        change = (2 * torch.rand(x.shape, generator=generator, device=x.device) - 1) * eps
    else:
        change = torch.randn(x.shape, generator=generator, device=x.device)
        length = eps * torch.rand(len(x), generator=generator, device=x.device)
        change = change / _length(change) * _each(length, x)
    return _project(x + change, x, norm, eps)
