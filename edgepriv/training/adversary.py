"""Perturbations inside training: x + delta in [0, 1] with ||delta||_p <= eps, raising the cross-entropy.

Every attack is ``attack(logits_of, x, y, budget, generator) -> perturbed x``, with x float32 [N, ...] in [0, 1], y int64
[N] or soft labels float32 [N, K], and ``logits_of`` a differentiable function of x. Budgets are in input units:
normalisation is inside the model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgepriv.errors import UserError
from edgepriv.recipe import Adversary, eps_for
from edgepriv.training.draws import Generator, filled

Logits = Callable[[Tensor], Tensor]
_Within = Callable[[Tensor], Tensor]
"""Moves perturbed inputs back into the budget around their originals, and into [0, 1]."""


@dataclass(frozen=True)
class Budget:
    """``norm``: "linf" or "l2"; ``eps``, ``step``: in input units; ``steps``: gradient steps."""

    norm: str
    eps: float
    step: float
    steps: int


def budget_of(adversary: Adversary, input_shape: tuple[int, ...]) -> Budget:
    """The recipe's budget with what it leaves open filled in: eps by input shape; a step of 1.25 eps for FGSM (Wong, Rice
    & Kolter 2020), of 2.5 eps / steps for PGD (Madry et al. 2018)."""
    eps = adversary.eps if adversary.eps is not None else eps_for(input_shape, adversary.norm)
    steps = 1 if adversary.method == "fgsm" else adversary.steps
    step = adversary.step if adversary.step is not None else (1.25 * eps if steps == 1 else 2.5 * eps / steps)
    return Budget(adversary.norm, eps, step, steps)


def perturbed(logits_of: Logits, x: Tensor, y: Tensor, budget: Budget, generator: Generator) -> Tensor:
    """Projected gradient ascent from a random start (Madry et al. 2018, eq. 3); with one step it is FGSM with a random
    start (Wong, Rice & Kolter 2020)."""
    start, ascent, near = _NORMS[_known_norm(budget.norm)]
    within = near(x, budget.eps)
    adversarial = (x + start(x, budget.eps, generator)).clamp(0, 1)
    for _ in range(budget.steps):
        adversarial.requires_grad_(True)
        with torch.enable_grad():
            loss = functional.cross_entropy(logits_of(adversarial), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, adversarial)
        with torch.no_grad():
            adversarial = within(adversarial.add(ascent(gradient), alpha=budget.step))
    return adversarial.detach()


def _known_norm(norm: str) -> str:
    if norm not in _NORMS:
        raise UserError(f"unknown norm {norm!r}: known are {', '.join(_NORMS)}")
    return norm


def _uniform_in_box(x: Tensor, eps: float, generator: Generator) -> Tensor:
    return filled(torch.empty_like(x), lambda rows, own: rows.uniform_(-eps, eps, generator=own), generator)


def _uniform_in_ball(x: Tensor, eps: float, generator: Generator) -> Tensor:
    direction = _unit(filled(torch.empty_like(x), lambda rows, own: rows.normal_(generator=own), generator))
    share = filled(torch.empty(len(x), device=x.device), lambda rows, own: rows.uniform_(generator=own), generator)
    return eps * direction * _per_example(share ** (1 / x[0].numel()), x)


def _unit(gradient: Tensor) -> Tensor:
    norms = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
    return gradient / _per_example(norms, gradient)


def _box(x: Tensor, eps: float) -> _Within:
    low, high = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    return lambda moved: moved.clamp(low, high)


def _ball(x: Tensor, eps: float) -> _Within:
    def within(moved: Tensor) -> Tensor:
        delta = moved - x
        norms = delta.flatten(1).norm(dim=1).clamp(min=1e-12)
        return (x + delta * _per_example((eps / norms).clamp(max=1), delta)).clamp(0, 1)

    return within


def _per_example(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (like.ndim - 1))


_NORMS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], Tensor], Callable[[Tensor, float], _Within]]] = {
    "linf": (_uniform_in_box, torch.sign, _box),
    "l2": (_uniform_in_ball, _unit, _ball),
}
