"""The shortest way from a point in [0, 1] to a hyperplane, within [0, 1], as FAB needs it (Croce & Hein 2020, eq. 4-6).

In each norm the way has one free number t >= 0: feature i moves by min(t r_i, c_i) against or along its weight, where c_i is
the room that it has in [0, 1], and r_i is 1 in L-infinity and its weight's size in L2. The weighted way rises with t along a
concave line of straight pieces, so that Newton's method from t = 0 never goes too far and ends on the piece looked for.
"""

from collections.abc import Callable

import torch
from torch import Tensor

ROUNDS = 50
"""Steps of Newton's method, at most; mostly it ends after five."""

RATES: dict[str, Callable[[Tensor], Tensor]] = {
    "linf": lambda size: (size > 0).to(size.dtype),
    "l2": lambda size: size,
}
"""How fast a feature moves for the size of its weight."""


def way_to(x: Tensor, weight: Tensor, value: Tensor, norm: str) -> Tensor:
    """The shortest d in the norm with ``value + weight . d = 0`` and x + d in [0, 1]; as near as the box allows elsewhere.

    Args:
        x: float32 [N, D] in [0, 1].
        weight: [N, D], of the affine function.
        value: [N], of the affine function at x.
        norm: "linf" or "l2".

    Returns:
        [N, D]; zero where a weight is.
    """
    # The value is to become zero from above: towards -weight where it is positive.
    along = -torch.sign(weight) * torch.where(value >= 0, 1.0, -1.0)[:, None]
    room = torch.where(along > 0, 1 - x, x) * (along != 0)
    size = weight.abs()
    rate = RATES[norm](size)
    wanted = value.abs()
    slope, gained = size * rate, size * room
    t = torch.zeros_like(wanted)
    for _ in range(ROUNDS):
        moving = slope * t[:, None] < gained
        missing = wanted - torch.where(moving, slope * t[:, None], gained).sum(dim=1)
        speed = (slope * moving).sum(dim=1)
        further = torch.where(speed > 0, missing / speed.clamp(min=torch.finfo(speed.dtype).tiny), 0).clamp(min=0)
        t = t + further
        if bool((further <= 1e-6 * t).all()):
            break
    stuck = wanted - torch.where(slope * t[:, None] < gained, slope * t[:, None], gained).sum(dim=1) > 1e-4 * wanted
    reach = torch.where(stuck[:, None], room, torch.minimum(rate * t[:, None], room))
    return along * reach
