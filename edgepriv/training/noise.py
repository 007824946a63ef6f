"""Noise on the members that hides them in the trained model's answers (Kassa, Adi & Bouhaddi, section 4).

The trained classifier f is the teacher. Each member x gets the smallest ||eta||_2 with

    H(f(x + eta)) >= tau                                              (eq. 5, entropy in nats)
    argmax f(x + eta) = argmax f(x)                                   (eq. 6)
    |eta_i| <= eps * (1 - beta * max(phi_i, 0) / max_j phi_j)         (eq. 7, phi: Shapley values)
    ||eta||_2 <= f_gap(x) / ||grad f(x)||_2                           (eq. 8)

and x + eta in [0, 1]. Where all cannot hold at once, every one but the entropy is kept, and the entropy comes as near to tau
as was found.

Two readings of the paper are ours. Eq. 7 as printed gives a feature that speaks against the class (phi_i < 0) more than eps;
here it gets eps, which stays the budget of a feature. Eq. 8 does not say what the scores are, nor which of their gradients is
meant: here f_gap is the difference of the two largest logits and the gradient is that of this very difference, so that the
bound is the distance to where the two would tie, to first order; of probabilities, a confident teacher's gradient vanishes
and the bound would be no bound.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from edgepriv import progress
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Noise
from edgepriv.training.examples import Examples, at_once
from edgepriv.training.pgd import per_example
from edgepriv.training.shapley import ESTIMATOR, shapley_values

STEPS = 30
_HALVINGS = 18
_SETTLED = 1e-4  # of the noise's norm: a member whose noise moves less is done
_ABOVE = 5e-3  # in nats of log H: an iterate that lands just below tau would not count
_ROUNDING = 1e-6  # of inputs in [0, 1], stored as float32


def refuse_unreachable(noise: Noise, num_classes: int) -> None:
    """Refuse an entropy that no answer can have, whatever the noise.

    Args:
        noise: the section of the recipe.
        num_classes: K.

    Raises:
        UserError: where ``noise.tau`` is not below log K nats.
    """
    most = math.log(num_classes)
    if noise.method == "shapley" and noise.tau >= most:
        raise UserError(
            f"tau {noise.tau:g}: the entropy of an answer over {num_classes} classes is below {most:.3g} nats; "
            "choose a smaller --noise-tau"
        )


def noisy_members(
    teacher: Classifier,
    members: Examples,
    noise: Noise,
    *,
    seed: int,
    quiet: bool = False,
    fixed: Sequence[int] = (),
) -> tuple[Examples, dict[str, Any]]:
    """Members with their noise. Deterministic for equal arguments on one machine with equal thread count.

    Args:
        teacher: in whose answers the noise is measured; set to eval mode.
        members: the examples.
        noise: the section of the recipe.
        seed: of every draw.
        quiet: show no progress.
        fixed: positions in the flattened example that get none, such as those that stand for a category.

    Returns:
        The members with noise, float32, and the teacher's answers to them; and what was measured, as JSON.
    """
    teacher.eval()
    shapley = noise.method == "shapley"
    passes = len(members) * (2 if shapley else 1)
    with progress.shown(f"{noise.method} noise", unit="member", total=passes, quiet=quiet) as bar:
        started = time.perf_counter()
        phi = shapley_values(teacher, members, seed=seed, after=bar.update) if shapley else None
        explained = time.perf_counter()
        x, facts = _noised(teacher, members, phi, noise, seed, bar.update, list(fixed))
    seconds = {"shapley_seconds": round(explained - started, 3)} if shapley else {}
    seconds["noise_seconds"] = round(time.perf_counter() - explained, 3)
    estimator = {"estimator": ESTIMATOR} if shapley else {}
    facts = {"method": noise.method} | estimator | {"members": len(members)} | facts | seconds
    return Examples(x, members.y, _log_probabilities(teacher, x)), facts


def _noised(
    teacher: Classifier,
    members: Examples,
    phi: Tensor | None,
    noise: Noise,
    seed: int,
    after: Callable[[int], object],
    fixed: list[int],
) -> tuple[Tensor, dict[str, Any]]:
    generator = torch.Generator().manual_seed(seed)
    batches: list[Tensor] = []
    rows: list[Tensor] = []
    for index in torch.arange(len(members)).split(at_once(members.x[0].numel())):
        x, _ = members.batch(index)
        if phi is None:
            eta = torch.empty_like(x).uniform_(-noise.eps, noise.eps, generator=generator)
            eta.view(len(x), -1)[:, fixed] = 0
            batches.append((x + eta).clamp(0, 1))
            rows.append(measured(teacher, x, batches[-1], noise.tau))
        else:
            bounds, radius = feature_bounds(phi[index], noise.eps, noise.beta), norm_bound(teacher, x)
            bounds.view(len(x), -1)[:, fixed] = 0
            batches.append((x + least_noise(teacher, x, bounds, radius, noise.tau)).clamp(0, 1))
            rows.append(measured(teacher, x, batches[-1], noise.tau, bounds, radius))
        after(len(index))
    means = torch.cat(rows).mean(0).tolist()
    names = ["mean_norm", "mean_entropy_before", "mean_entropy_after", "share_entropy", "share_label_kept"]
    names += ["share_feature_bounds", "share_norm_bound", "share_all"] if phi is not None else []
    return torch.cat(batches), {name: round(mean, 6) for name, mean in zip(names, means, strict=True)}


def feature_bounds(phi: Tensor, eps: float, beta: float) -> Tensor:
    """Eq. 7: the largest |eta_i|.

    Args:
        phi: Shapley values [N, ...].
        eps: bound for a feature that does not speak for the class, in input units.
        beta: share that is taken off for the one that speaks for it most.

    Returns:
        Shape of ``phi``, in input units; eps everywhere for a member without any feature that speaks for its class.
    """
    support = phi.clamp(min=0)
    largest = support.flatten(1).amax(1)
    share = support / per_example(torch.where(largest > 0, largest, 1), phi)
    return eps * (1 - beta * share)


def norm_bound(teacher: Classifier, x: Tensor) -> Tensor:
    """Eq. 8: the largest ||eta||_2.

    Args:
        teacher: in eval mode.
        x: float32 [N, ...] in [0, 1].

    Returns:
        [N], in input units.
    """
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        top = teacher(x).topk(2, dim=1).values
        gap = top[:, 0] - top[:, 1]
        (gradient,) = torch.autograd.grad(gap.sum(), x)
    bound: Tensor = gap.detach() / gradient.flatten(1).norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    return bound


def least_noise(teacher: Classifier, x: Tensor, bounds: Tensor, radius: Tensor, tau: float) -> Tensor:
    """The smallest noise that was found under every constraint, else the one of highest entropy under all the others.

    Sequential programming. At each step log H is replaced by its tangent (log H, because H itself is flat where the teacher
    is certain, and log H is there minus the gap between logits, nearly linear), and the smallest eta that brings the tangent
    to log tau within the bounds is known: a clamped multiple of the gradient. All constraints but label and entropy are
    convex and hold on the way there; a step that changes the label is taken back and the next one halved.

    Args:
        teacher: in eval mode.
        x: float32 [N, ...] in [0, 1].
        bounds: of each feature, shape of ``x``.
        radius: of the whole, [N].
        tau: entropy that is asked for, in nats.

    Returns:
        eta, shape of ``x``.
    """
    aim = torch.log(torch.tensor(max(tau, 1e-12), dtype=torch.float64)) + _ABOVE
    best = torch.zeros_like(x)
    label, best_entropy, log_entropy, gradient = _slope(teacher, x)
    best_norm = torch.where(best_entropy >= tau, 0.0, torch.inf)
    at = best_norm.nonzero()[:, 0]  # the members that still change; every tensor below has a row for each of these
    x, radius, label, log_entropy, gradient = (each[at] for each in (x, radius, label, log_entropy, gradient))
    low, high = torch.maximum(-bounds[at], -x), torch.minimum(bounds[at], 1 - x)
    eta, share = torch.zeros_like(x), torch.ones(len(x))
    for _ in range(STEPS):
        if not len(at):
            break
        wanted = aim - log_entropy + (gradient * eta).flatten(1).sum(1)
        step = per_example(share, x) * (_within(gradient, wanted.float(), radius, low, high) - eta)
        proposal = eta + step
        proposed, reached, *slope = _slope(teacher, (x + proposal).clamp(0, 1))
        label_kept, norm = proposed == label, proposal.flatten(1).norm(dim=1)
        enough, so_far = reached >= tau, best_norm[at]
        better = label_kept & torch.where(enough, norm < so_far, so_far.isinf() & (reached > best_entropy[at]))
        improved = at[better]
        best[improved], best_entropy[improved] = proposal[better], reached[better]
        best_norm[improved] = torch.where(enough[better], norm[better], torch.inf)
        eta = torch.where(per_example(label_kept, x), proposal, eta)
        log_entropy = torch.where(label_kept, slope[0], log_entropy)
        gradient = torch.where(per_example(label_kept, x), slope[1], gradient)
        share = torch.where(label_kept, (2 * share).clamp(max=1), share / 2)
        moving = step.flatten(1).norm(dim=1) > _SETTLED * norm
        at, x, radius, label, low, high = (each[moving] for each in (at, x, radius, label, low, high))
        eta, share, log_entropy, gradient = (each[moving] for each in (eta, share, log_entropy, gradient))
    return best


def entropy(logits: Tensor) -> Tensor:
    """Entropy of answers (eq. 2).

    Args:
        logits: [N, K].

    Returns:
        float64 [N], in nats.
    """
    log_probabilities = logits.double().log_softmax(1)
    return -(log_probabilities.exp() * log_probabilities).sum(1)


def _slope(teacher: Classifier, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The label int64 [N], H and log H, float64 [N], and the gradient of log H, shape of ``x``."""
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = teacher(x)
        value = entropy(logits)
        logarithm = value.clamp(min=1e-300).log()
        (gradient,) = torch.autograd.grad(logarithm.sum(), x)
    return logits.argmax(1), value.detach(), logarithm.detach(), gradient


def _within(gradient: Tensor, wanted: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The smallest eta in the box [low, high] with gradient . eta >= wanted, or as near to it as box and radius let it come.

    It is clamp(m * gradient, low, high); gain and norm both grow with m, which is bisected on a logarithmic scale, from
    where neither could be too large without the box.
    """
    g, low, high = gradient.flatten(1), low.flatten(1), high.flatten(1)
    squared = g.square().sum(1).clamp(min=1e-30)
    bottom = torch.minimum(wanted.clamp(min=0) / squared, radius / squared.sqrt()).clamp(max=1e30)

    def at(power: Tensor) -> Tensor:
        return ((bottom * power.exp2()).unsqueeze(1) * g).clamp(low, high)

    least, most = torch.zeros(len(g)), torch.full((len(g),), 24.0)
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        eta = at(middle)
        fits = ((eta * g).sum(1) <= wanted) & (eta.norm(dim=1) <= radius)
        least, most = torch.where(fits, middle, least), torch.where(fits, most, middle)
    return at(least).view_as(gradient)


@torch.no_grad()
def measured(
    teacher: Classifier,
    x: Tensor,
    noisy: Tensor,
    tau: float,
    bounds: Tensor | None = None,
    radius: Tensor | None = None,
) -> Tensor:
    """What noise does to answers, and which constraints it holds.

    Args:
        teacher: in eval mode.
        x: float32 [N, ...] in [0, 1].
        noisy: the same with noise.
        tau: entropy that was asked for, in nats.
        bounds: of each feature, shape of ``x``.
        radius: of the whole, [N].

    Returns:
        float64 [N, 5] or, with ``bounds`` and ``radius``, [N, 8]: ||eta||_2, entropy before and after, then 0 or 1 for entropy
        reached, label kept, every feature within its bound, norm within its bound, all of these.
    """
    before, after = teacher(x), teacher(noisy)
    eta = noisy - x
    norm = eta.flatten(1).norm(dim=1)
    old, new = entropy(before), entropy(after)
    holds = [new >= tau, before.argmax(1) == after.argmax(1)]
    if bounds is not None and radius is not None:
        holds.append((eta.abs() <= bounds + _ROUNDING).flatten(1).all(1))
        holds.append(norm <= radius + _ROUNDING)
        holds.append(torch.stack(holds).all(0))
    return torch.stack([norm.double(), old, new, *(held.double() for held in holds)], dim=1)


@torch.no_grad()
def _log_probabilities(teacher: Classifier, x: Tensor) -> Tensor:
    parts = [teacher(part).log_softmax(1) for part in x.split(at_once(x[0].numel()))]
    return torch.cat(parts)
