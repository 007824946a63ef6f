"""Perturbations x + delta in [0, 1] with ||delta||_p <= eps that make a model err: start, gradient, step, project.

The one gradient loop: training, the epochs' validation, membership attacks on perturbed queries and the audit's evasion all use
it. x is float32 [N, ...] in [0, 1], y int64 [N] or soft labels float32 [N, K], ``logits_of`` a differentiable function of x
with logits [N, K]. Budgets are in input units: normalisation is inside the model. Random starts are drawn on the processor
wherever x is, so that every device sees the same ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgepriv.errors import UserError
from edgepriv.recipe import Adversary, eps_for
from edgepriv.training.generators import Generator, filled

Logits = Callable[[Tensor], Tensor]
Objective = Callable[[Tensor, Tensor], Tensor]
"""Of logits [N, K] and labels, what the attack raises: [N]."""


class Differentiated:
    """A function of inputs that knows a faster way to what the function ``gradient`` returns, which then asks its own."""

    gradient: Callable[[Tensor, Tensor, Objective], tuple[Tensor, Tensor]]


SETTLED = 0.1
"""An attack that keeps its best iterate leaves an example once it is wrong by more logits than this: the shipped model differs
from the differentiable one by rounding."""


@dataclass(frozen=True)
class Budget:
    """``norm``: a key of ``NORMS``; ``eps``, ``step``: > 0, in input units; ``steps``: gradient steps; ``fixed``: positions
    in the flattened example of what may not change."""

    norm: str
    eps: float
    step: float
    steps: int
    fixed: tuple[int, ...] = ()

    def free(self, x: Tensor) -> Tensor | None:
        """What may change in an example.

        Args:
            x: [N, ...].

        Returns:
            bool, the shape of an example; None for everything.
        """
        if not self.fixed:
            return None
        free = torch.ones(x.shape[1:], dtype=torch.bool, device=x.device)
        free.view(-1)[list(self.fixed)] = False
        return free


@dataclass(frozen=True)
class Norm:
    """What an attack needs to know of a norm, over each whole flattened example.

    ``start(x, eps, generator)``: a random delta, the shape of x. ``direction(gradient)``: of steepest ascent, of length one.
    ``near(x, eps)``: the function that moves perturbed inputs back into the ball around x, and into [0, 1].
    ``length(change)``: of each example's [N].
    """

    start: Callable[[Tensor, float, Generator], Tensor]
    direction: Callable[[Tensor], Tensor]
    near: Callable[[Tensor, float], Callable[[Tensor], Tensor]]
    length: Callable[[Tensor], Tensor]


def budget_of(adversary: Adversary, input_shape: tuple[int, ...]) -> Budget:
    """A recipe's budget with what it leaves open filled in.

    Args:
        adversary: the section of the recipe.
        input_shape: of one example.

    Returns:
        The budget: eps by input shape; a step of 1.25 eps for FGSM (Wong, Rice & Kolter 2020), of eps for N-FGSM (de Jorge et
        al. 2022), of 2.5 eps / steps for PGD (Madry et al. 2018).
    """
    eps = adversary.eps if adversary.eps is not None else eps_for(input_shape, adversary.norm)
    if adversary.method in ("fgsm", "nfgsm"):
        step = (1.25 if adversary.method == "fgsm" else 1.0) * eps if adversary.step is None else adversary.step
        return Budget(adversary.norm, eps, step, 1, adversary.fixed)
    return pgd_budget(adversary.norm, eps, adversary.steps, adversary.step, adversary.fixed)


def pgd_budget(norm: str, eps: float, steps: int, step: float | None = None, fixed: tuple[int, ...] = ()) -> Budget:
    """The budget of a PGD attack.

    Args:
        norm: "linf" or "l2".
        eps: radius in input units.
        steps: 1 or more.
        step: length of each; None for 2.5 eps / steps (Madry et al. 2018), or 1.25 eps for a single one.
        fixed: positions in the flattened example of what may not change.

    Returns:
        The budget.
    """
    length = step if step is not None else (1.25 if steps == 1 else 2.5 / steps) * eps
    return Budget(norm, eps, length, steps, fixed)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Loss of each example.

    Args:
        logits: [N, K].
        y: int64 [N], or soft labels [N, K].

    Returns:
        [N], in nats.
    """
    return functional.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Largest other logit less the true one (Carlini & Wagner 2017, f6).

    Its gradient cannot vanish by saturation of the softmax, and it works from two classes on.

    Args:
        logits: [N, K].
        y: int64 [N].

    Returns:
        [N]; > 0 where the label is wrong.
    """
    true = logits.gather(1, y[:, None]).squeeze(1)
    return masked_out(logits, y).amax(dim=1) - true


def masked_out(logits: Tensor, y: Tensor) -> Tensor:
    """Logits with minus infinity at the label.

    Args:
        logits: [N, K].
        y: int64 [N].

    Returns:
        [N, K].
    """
    return logits.scatter(1, y[:, None], -torch.inf)


# One ascent for training, validation and every attack by gradients: each leaves out what it has no use for.
def perturbed(
    logits_of: Logits,
    x: Tensor,
    y: Tensor,
    budget: Budget,
    generator: Generator | None,
    *,
    objective: Objective = cross_entropy,
    keep_best: bool = False,
    free: Tensor | None = None,
    settled: float = SETTLED,
) -> Tensor:
    """Projected gradient ascent (Madry et al. 2018, eq. 3); with one step it is FGSM.

    Args:
        logits_of: inputs [N, ...] -> logits [N, K].
        x: float32 [N, ...] in [0, 1].
        y: int64 [N], the true classes.
        budget: norm, radius in input units, steps and their length, and what may not change.
        generator: of the random start; None starts from x itself. FGSM with a random start is that of Wong, Rice & Kolter 2020.
        objective: what is raised.
        keep_best: return, of all iterates, the one with the largest ``margin``, and leave an example once it is wrong by more
            than ``settled``: the strongest use of as many steps, at one more pass through the model. Else the last iterate.
        free: bool, the shape of an example: what may change; None for everything that the budget leaves free.
        settled: lead of a wrong logit.

    Returns:
        Perturbed inputs, float32 [N, ...].

    Raises:
        UserError: unknown norm.
    """
    norm = norm_of(budget.norm)
    within = norm.near(x, budget.eps)
    free = budget.free(x) if free is None else free
    moved = x if generator is None else random_start(x, norm, budget.eps, generator, free)
    if keep_best:
        best, best_margin = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
        active = torch.arange(len(x), device=x.device)
    for iteration in range(budget.steps + keep_best):
        slope, logits = gradient(logits_of, moved, y, objective)
        slope = slope if free is None else slope.where(free, 0)
        if keep_best:
            reached = margin(logits, y)
            better = reached > best_margin[active]
            best[active[better]], best_margin[active[better]] = moved[better], reached[better]
            unsettled = ~(reached > settled)  # what is not a number is not settled, and has no slope
            slope = slope.where(~slope.isnan(), 0)
            if iteration == budget.steps or not unsettled.any():
                break
            if not unsettled.all():
                active, moved, y, slope = active[unsettled], moved[unsettled], y[unsettled], slope[unsettled]
                within = norm.near(x[active], budget.eps)
        moved = within(moved.add(norm.direction(slope), alpha=budget.step))
    return best if keep_best else moved


def random_start(x: Tensor, norm: Norm, eps: float, generator: Generator, free: Tensor | None = None) -> Tensor:
    """A random start.

    Args:
        x: [N, ...] in [0, 1].
        norm: of the ball.
        eps: its radius, in input units.
        generator: of the draw.
        free: bool, the shape of an example: where the start may differ from x; None for everywhere.

    Returns:
        [N, ...] in [0, 1].
    """
    delta = norm.start(x, eps, generator)
    return (x + (delta if free is None else delta * free)).clamp(0, 1)


def fgsm(logits_of: Logits, x: Tensor, y: Tensor, *, norm: str, eps: float) -> Tensor:
    """FGSM: one step of length ``eps`` from x along the loss's gradient (Goodfellow et al. 2015; in L2 along its direction).

    Args:
        logits_of: inputs [N, ...] -> logits [N, K].
        x: float32 [N, ...] in [0, 1].
        y: int64 [N].
        norm: "linf" or "l2".
        eps: radius in input units.

    Returns:
        Perturbed inputs, float32 [N, ...] in [0, 1].
    """
    return perturbed(logits_of, x, y, Budget(norm, eps, eps, 1), None)


_NOISE = 2.0
"""Radius of N-FGSM's start in eps, as in its authors' experiments."""


def noisy_fgsm(logits_of: Logits, x: Tensor, y: Tensor, budget: Budget, generator: Generator) -> Tensor:
    """N-FGSM: a step from a start in twice the ball, and not back into the ball (de Jorge et al. 2022, algorithm 1).

    For training alone: a perturbation may be up to three times eps in size.

    Args:
        logits_of: inputs [N, ...] -> logits [N, K].
        x: float32 [N, ...] in [0, 1].
        y: int64 [N], or soft labels float32 [N, K].
        budget: norm, radius and length of the step, in input units.
        generator: of the start.

    Returns:
        Perturbed inputs, float32 [N, ...] in [0, 1].
    """
    norm = norm_of(budget.norm)
    free = budget.free(x)
    start = random_start(x, norm, _NOISE * budget.eps, generator, free)
    slope, _ = gradient(logits_of, start, y, cross_entropy)
    slope = slope if free is None else slope.where(free, 0)
    return start.add(norm.direction(slope), alpha=budget.step).clamp(0, 1)


def gradient(logits_of: Logits, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Gradient of an objective with respect to each input.

    Args:
        logits_of: x -> logits [N, K].
        x: [N, ...].
        y: labels, as ``objective`` takes them.
        objective: (logits, y) -> [N].

    Returns:
        [N, ...], zeros where there is none; and the logits [N, K] there.
    """
    if isinstance(logits_of, Differentiated):
        return logits_of.gradient(x, y, objective)
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = logits_of(x)
        (slope,) = torch.autograd.grad(objective(logits, y).sum(), x, allow_unused=True, materialize_grads=True)
    return slope, logits.detach()


def norm_of(name: str) -> Norm:
    """The norm of a name.

    Args:
        name: a key of ``NORMS``.

    Returns:
        The norm.

    Raises:
        UserError: where there is none.
    """
    if name not in NORMS:
        raise UserError(f"unknown norm {name!r}: known are {', '.join(NORMS)}")
    return NORMS[name]


def _uniform_in_box(x: Tensor, eps: float, generator: Generator) -> Tensor:
    return filled(torch.empty_like(x), lambda rows, own: rows.uniform_(-eps, eps, generator=own), generator)


def _uniform_direction_and_length(x: Tensor, eps: float, generator: Generator) -> Tensor:
    """Uniform in the ball would be on its surface, nearly always, from where few steps lead back to good directions."""
    direction = filled(torch.empty_like(x), lambda rows, own: rows.normal_(generator=own), generator)
    length = filled(
        torch.empty(len(x), device=x.device), lambda rows, own: rows.uniform_(0, eps, generator=own), generator
    )
    return direction * per_example(length / lengths(direction).clamp(min=1e-12), x)


def _sign(slope: Tensor) -> Tensor:
    return torch.nan_to_num(slope).sign()


def _unit(slope: Tensor) -> Tensor:
    """Zero where the gradient is, or is not a number. Squares of float32 numbers below 1e-19 underflow: the largest entry is
    made 1 first."""
    slope = torch.nan_to_num(slope)
    tiny = torch.finfo(slope.dtype).tiny
    slope = slope / per_example(slope.flatten(1).abs().amax(dim=1).clamp(min=tiny), slope)
    return slope / per_example(lengths(slope).clamp(min=0.5), slope)


def _box(x: Tensor, eps: float) -> Callable[[Tensor], Tensor]:
    low, high = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    return lambda moved: moved.clamp(low, high)


def _ball(x: Tensor, eps: float) -> Callable[[Tensor], Tensor]:
    def within(moved: Tensor) -> Tensor:
        """Clipping to [0, 1] cannot leave the ball, as x is in [0, 1]."""
        delta = moved - x
        return (x + delta * per_example(eps / lengths(delta).clamp(min=eps), delta)).clamp(0, 1)

    return within


def lengths(change: Tensor) -> Tensor:
    """Euclidean length of each flattened example.

    Args:
        change: [N, ...].

    Returns:
        [N].
    """
    norms: Tensor = change.flatten(1).norm(dim=1)
    return norms


def _largest(change: Tensor) -> Tensor:
    return change.flatten(1).abs().amax(dim=1)


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """One value for each example, shaped to multiply.

    Args:
        values: [N].
        like: [N, ...].

    Returns:
        [N, 1, ...].
    """
    return values.view(-1, *(1,) * (like.ndim - 1))


NORMS: dict[str, Norm] = {
    "linf": Norm(_uniform_in_box, _sign, _box, _largest),
    "l2": Norm(_uniform_direction_and_length, _unit, _ball, lengths),
}
