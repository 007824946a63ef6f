"""Random numbers for one model, or for several that are trained at once and each draw what they would draw alone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Generators:
    """One torch.Generator for each of R models."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.each = tuple(torch.Generator().manual_seed(seed) for seed in seeds)

    def get_state(self) -> Tensor:
        """uint8 [R, bytes]."""
        return torch.stack([generator.get_state() for generator in self.each])

    def set_state(self, state: Tensor) -> None:
        """Go on from what ``get_state`` returned.

        Args:
            state: uint8, a row for each generator.
        """
        for generator, own in zip(self.each, state, strict=True):
            generator.set_state(own.clone())  # torch reads from where the storage starts


Generator = torch.Generator | Generators


def generator_of(seed: int | Sequence[int]) -> Generator:
    """One generator, or one for each seed.

    Args:
        seed: one or several.

    Returns:
        On the processor.
    """
    return torch.Generator().manual_seed(seed) if isinstance(seed, int) else Generators(seed)


def permutation(n: int, generator: Generator) -> Tensor:
    """A random order.

    Args:
        n: numbers, from 0.
        generator: one, or one for each of R models.

    Returns:
        int64 [n], or [R, n].
    """
    if isinstance(generator, torch.Generator):
        return torch.randperm(n, generator=generator)
    return torch.stack([torch.randperm(n, generator=own) for own in generator.each])


def filled(values: Tensor, fill: Callable[[Tensor, torch.Generator], object], generator: Generator) -> Tensor:
    """A tensor, filled in place with what is drawn.

    Drawn on the processor wherever ``values`` are: a GPU's generator would draw other numbers.

    Args:
        values: [N, ...].
        fill: called with rows and their generator: all rows, or each model's equal part of them.
        generator: one, or one for each model.

    Returns:
        ``values``.
    """
    drawn = values if values.device.type == "cpu" else torch.empty_like(values, device="cpu")
    if isinstance(generator, torch.Generator):
        fill(drawn, generator)
    else:
        for part, own in zip(drawn.chunk(len(generator.each)), generator.each, strict=True):
            fill(part, own)
    return values if drawn is values else values.copy_(drawn)
