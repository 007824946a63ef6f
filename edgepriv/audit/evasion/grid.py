"""Perturbations of a file that takes bytes: moved to whole bytes before they are counted, without leaving the budget."""

import numpy as np
import numpy.typing as npt

from edgepriv.errors import UserError

Inputs = npt.NDArray[np.float32]

LEVELS = 255
_ROUNDING = 1e-4  # of a level
_SHARES = (*np.linspace(1.0, 0.8, 21), *np.linspace(0.7, 0.1, 7))  # of a perturbation's length


def below_a_level(eps: float) -> bool:
    """Whether a radius is less than one level of a byte.

    Args:
        eps: radius in [0, 1].

    Returns:
        True where nothing of a file of bytes may move.
    """
    return bool(eps * LEVELS + _ROUNDING < 1)


def refuse_below_a_level(eps: float) -> None:
    """Refuse a radius in which no byte can change.

    Args:
        eps: radius of inputs in [0, 1].

    Raises:
        UserError: for one below a level.
    """
    if below_a_level(eps):
        raise UserError(
            f"the file takes bytes, and eps {eps:g} (of inputs in [0, 1]) is less than one level, 1/255: no input can change"
        )


def radius_on_bytes(norm: str, eps: float) -> float:
    """The largest radius that whole bytes can use up.

    Args:
        norm: "linf" or "l2".
        eps: radius of inputs in [0, 1].

    Returns:
        In L-infinity a whole number of levels, else ``eps``.

    Raises:
        UserError: for a radius below a level.
    """
    refuse_below_a_level(eps)
    return float(np.floor(eps * LEVELS + _ROUNDING) / LEVELS) if norm == "linf" else eps


def on_bytes(x: Inputs, moved: Inputs, norm: str, eps: float) -> Inputs:
    """Perturbed inputs at whole bytes.

    Where rounding leads out of an L2 ball, a perturbation is made shorter before it is rounded.

    Args:
        x: float32 [n, ...], at whole bytes.
        moved: float32 [n, ...] in [0, 1].
        norm: "linf" or "l2".
        eps: radius in input units.

    Returns:
        float32 [n, ...]: the nearest levels whose distance from x is at most ``eps``.
    """
    home, there = x * np.float32(LEVELS), moved * np.float32(LEVELS)
    if norm == "linf":
        low, high = np.ceil(home - eps * LEVELS - _ROUNDING), np.floor(home + eps * LEVELS + _ROUNDING)
        return _shares(np.clip(np.rint(there), low, high))
    axes = tuple(range(1, x.ndim))
    rounded = np.rint(home)
    waiting = np.ones(len(x), np.bool_)
    for share in _SHARES:
        tried = np.rint(home + np.float32(share) * (there - home))
        inside = np.sqrt(((tried - home) ** 2).sum(axis=axes)) <= eps * LEVELS * (1 + 1e-5)
        rounded[waiting & inside] = tried[waiting & inside]
        waiting &= ~inside
    return _shares(rounded)


def _shares(levels: Inputs) -> Inputs:
    return np.asarray(levels.clip(0, LEVELS) / np.float32(LEVELS), np.float32)
