"""An attack that needs no gradients: what is left where those of a model show nothing.

It finds the boundary by labels alone (``boundary``) and goes in that direction as far as the budget allows. It is weaker than
an attack along good gradients, so that the accuracy it leaves is an upper bound: what it fools is not robust, what it does not
fool may be fooled by another.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgepriv.audit.answers import Bools
from edgepriv.audit.boundary import Inputs, Labels, boundary_points

NAME = "boundary"
MOST = 250
"""Examples that are attacked, drawn at random; each costs about 150 questions. Whoever is not attacked counts as held."""
STRETCHES = (1.0, 2.0, 4.0, 16.0, np.inf)
"""In L-inf: times the way to the boundary, cut to the box; infinitely often leads to its corner."""


# What is asked, on what, within which radius, and what of it can be fed: one argument each.
def withstands(
    labels_of: Labels,
    x: Inputs,
    y: npt.NDArray[np.int64],
    held: Bools,
    *,
    norm: str,
    eps: float,
    seed: int = 0,
    free: Bools | None = None,
    fed: Callable[[Inputs, Inputs], Inputs] = lambda x, moved: moved,
) -> tuple[Bools, Bools]:
    """Attack examples by their labels alone.

    Args:
        labels_of: float32 [n, ...] -> labels [n], of the file itself.
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the labels.
        held: bool [n], whom to attack.
        norm: "linf" or "l2".
        eps: radius in input units.
        seed: of the search.
        free: bool, the shape of an example: what may change; None for everything.
        fed: of inputs and their perturbations, what the file can be fed.

    Returns:
        Which of ``held`` keep the right label, bool [n]; and which of them were attacked, at most ``MOST``.
    """
    left, attacked = held.copy(), np.zeros_like(held)
    chosen = np.random.default_rng([seed, 8]).permutation(np.flatnonzero(held))[:MOST]
    if len(chosen) < 1:
        return left, attacked
    # Wrong answers among all examples are places to start from, too.
    others = np.flatnonzero(~held)[:MOST]
    asked = np.concatenate([chosen, others])
    known, point = boundary_points(labels_of, x[asked], y[asked], seed=seed)
    inputs = x[asked[known]]
    way = point.reshape(inputs.shape) - inputs
    if free is not None:
        way = np.where(free, way, np.float32(0))
    for moved in _tries(inputs, way, norm, eps):
        left[asked[known]] &= labels_of(fed(inputs, moved)) == y[asked[known]]
    attacked[asked[known]] = True
    return left, attacked & held


def _tries(x: Inputs, way: Inputs, norm: str, eps: float) -> list[Inputs]:
    if norm == "l2":
        length = np.linalg.norm(way.reshape(len(way), -1), axis=1).reshape(-1, *[1] * (way.ndim - 1))
        return [np.clip(x + way * np.minimum(1, eps / np.maximum(length, 1e-12)), 0, 1).astype(np.float32)]
    changes = [np.sign(way) * eps if stretch == np.inf else np.clip(stretch * way, -eps, eps) for stretch in STRETCHES]
    return [np.clip(x + step, 0, 1).astype(np.float32) for step in changes]
