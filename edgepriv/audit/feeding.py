"""What a third-party file is fed of the user's numbers, and how these are measured in [0, 1] for perturbations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.recipe import Recipe


@dataclass(frozen=True)
class Told:
    """What the user states about a third-party file, None where nothing is stated. ``input_range``, ``mean``, ``std``: it
    is fed ``(low + u * (high - low) - mean) / std`` of inputs ``u`` in [0, 1]. ``output_name``: of the output that holds the
    scores.
    ``batch_dependent``: that its answers depend on the batch, and it is deployed with one input at a time. ``accept``: that
    an audit goes on though the model is hardly ever right. ``input_shape``: sizes of one example."""

    input_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    output_name: str | None = None
    batch_dependent: bool = False
    accept: bool = False
    input_shape: tuple[int, ...] | None = None

    @property
    def of_inputs(self) -> bool:
        """Whether anything is said of how the file is fed."""
        return not (self.input_range is None and self.mean is None and self.std is None)


def told_of(recipe: Recipe, accept: bool, input_shape: tuple[int, ...] | None = None) -> Told:
    """What a recipe says of how a file is fed and read.

    Args:
        recipe: settings of the audit.
        accept: go on though the model is hardly ever right.
        input_shape: of one example; None where nothing is said of it.

    Returns:
        What is stated.
    """
    asked = recipe.audit
    return Told(asked.input_range, asked.mean, asked.std, asked.output_name, asked.batch_dependent, accept, input_shape)


@dataclass(frozen=True)
class Feeding:
    """``scale * u + shift`` of an input ``u`` in [0, 1], each broadcast over one example; float64. ``double``: for a file
    that takes float64, in which large numbers keep digits that a float32 has no room for."""

    scale: np.ndarray
    shift: np.ndarray
    double: bool = False

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """float32 [n, ...], or float64 if ``double``; computed in float64, so that what was measured in [0, 1] comes back as
        it was."""
        dtype = np.float64 if self.double else np.float32
        if self.idle:
            return np.ascontiguousarray(u, dtype)
        fed: np.ndarray = (u.astype(np.float64) * self.scale + self.shift).astype(dtype)
        return fed

    @property
    def idle(self) -> bool:
        """Whether inputs are fed as they are."""
        return bool((self.scale == 1).all() and (self.shift == 0).all())


class Fed(nn.Module):
    """The same in torch, with gradients."""

    def __init__(self, feeding: Feeding) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.from_numpy(np.array(feeding.scale, np.float32)))
        self.register_buffer("shift", torch.from_numpy(np.array(feeding.shift, np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """What the file is fed.

        Args:
            x: float32 [n, ...] in [0, 1].

        Returns:
            float32 [n, ...].
        """
        return x * self.scale + self.shift


def feeding_of(
    low: np.ndarray | float,
    high: np.ndarray | float,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    input_shape: tuple[int, ...],
) -> Feeding:
    """How a file is fed.

    Args:
        low: what 0 stands for; a number, or one for each feature.
        high: what 1 stands for.
        mean: subtracted; one number, or one for each channel (or feature). None for 0.
        std: divided by; the same. None for 1.
        input_shape: of one example.

    Returns:
        The feeding.

    Raises:
        UserError: for another number of them, and for a std that is not positive.
    """
    middle, spread = (_spread_out(name, values, input_shape) for name, values in (("mean", mean), ("std", std)))
    spread = np.ones(()) if std is None else spread
    if (spread <= 0).any():
        raise UserError(f"--std must be positive (got {float(spread.min()):g})")
    return Feeding((np.asarray(high, np.float64) - low) / spread, (np.asarray(low, np.float64) - middle) / spread)


def _spread_out(name: str, values: Sequence[float] | None, input_shape: tuple[int, ...]) -> np.ndarray:
    if values is None:
        return np.zeros(())
    if len(values) not in (1, input_shape[0]):
        what = "channel" if len(input_shape) == 3 else "feature"
        raise UserError(f"--{name} needs one number, or {input_shape[0]}, one for each {what} (got {len(values)})")
    return np.asarray(values, np.float64).reshape(-1, *[1] * (len(input_shape) - 1))
