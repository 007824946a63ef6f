"""FAB (Croce & Hein 2020, "Minimally distorted adversarial examples"), targeted: the nearest point across the boundary."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from edgepriv.audit.evasion.hyperplane import way_to
from edgepriv.audit.evasion.losses import nearest_others, targeted_margin
from edgepriv.training.pgd import SETTLED, Logits, gradient, margin, norm_of, per_example

STEPS = 100
LARGEST_PULL = 0.1
"""Weight of the way from the clean input, at most, beside that from where the attack stands."""
OVERSHOOT = 1.05
BACK = 0.9
"""What is kept of a perturbation that fools the model, to look for a smaller one from there."""
OUT_OF_REACH = {10: 2.0, 20: 1.5}
"""After so many steps an example is left whose nearest point across the boundary is more than so many radii away. Measured on
LeNet-5, hardened in both norms, plain in L-infinity: what comes within the radius at all is within 1.2 of it after 10 steps."""


# The budget by its parts, as the algorithm is written down, and what an ensemble of attacks tells each of them.
def fab_targeted(
    logits_of: Logits,
    x: Tensor,
    y: Tensor,
    *,
    rank: int,
    norm: str,
    eps: float,
    steps: int = STEPS,
    settled: float = SETTLED,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """The nearest point found across the boundary to one other class.

    Each step linearises the difference of two logits, the label's and that of the other class, goes to where it is zero, and
    is drawn back to x. An example ends early where the point is far inside the budget, or ``OUT_OF_REACH``.

    Args:
        logits_of: differentiable function of x with logits [N, K].
        x: float32 [N, ...] in [0, 1].
        y: int64 [N], the labels.
        rank: of the target among the other classes by their logits on the clean input, 0 for the largest, up to K - 2.
        norm: "linf" or "l2".
        eps: radius in input units.
        steps: linearisations.
        settled: an example is left once it is wrong by more than this lead of a logit inside the budget.
        tick: called after each step.

    Returns:
        Perturbed inputs, float32 [N, ...]: within ``eps`` where a point was found there that fools the model, else x.
    """
    kind = norm_of(norm)
    adversarial, reached = x.clone(), torch.zeros(len(x), device=x.device)
    with torch.no_grad():
        target = nearest_others(logits_of(x), y)[:, rank]
    index = torch.arange(len(x), device=x.device)
    moved, nearest = x, torch.full((len(x),), torch.inf, device=x.device)
    for step in range(1, steps + 1):
        if not len(index):
            break
        home, label = x[index], y[index]
        slope, logits = gradient(logits_of, moved, label, partial(targeted_margin, target=target[index]))
        moved = _stepped(home, moved, targeted_margin(logits, label, target[index]), slope, norm)
        with torch.no_grad():
            lead = margin(logits_of(moved), label)
        fooled = lead > 0
        length = kind.length(moved - home)
        inside = fooled & (length <= eps * (1 + 1e-5)) & (lead > reached[index])
        adversarial[index[inside]] = kind.near(home[inside], eps)(moved[inside])
        reached[index[inside]] = lead[inside]
        nearest = torch.where(fooled, torch.minimum(nearest, length), nearest)
        moved = torch.where(per_example(fooled, moved), home + BACK * (moved - home), moved)
        within_reach = ~(nearest.isfinite() & (nearest > OUT_OF_REACH.get(step, torch.inf) * eps))
        left = ~(inside & (lead > settled)) & within_reach
        index, moved, nearest = index[left], moved[left], nearest[left]
        tick()
    return adversarial


def _stepped(home: Tensor, moved: Tensor, value: Tensor, slope: Tensor, norm: str) -> Tensor:
    """Onto the linearised boundary from where the attack stands, and from the clean input, mixed by the two distances."""
    start, at, weight = home.flatten(1), moved.flatten(1), torch.nan_to_num(slope.flatten(1))
    length = norm_of(norm).length
    at_home = value + (weight * (start - at)).sum(dim=1)
    own = way_to(at, weight, value, norm)
    clean = way_to(start, weight, at_home, norm)
    far, near = (length(way).clamp(min=1e-8) for way in (own, clean))
    pull = (far / (far + near)).clamp(max=LARGEST_PULL)[:, None]
    mixed = (at + OVERSHOOT * own) * (1 - pull) + (start + OVERSHOOT * clean) * pull
    return mixed.clamp(0, 1).view_as(moved)
