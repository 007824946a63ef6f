"""What differential privacy draws: who is in a batch, and the noise.

The proof holds against those who know everything but these draws. By default they come from the operating system's generator
and are kept nowhere, so that nobody can draw them again and subtract them. With a seed of the recipe's own they can be
repeated, each stage from a stream of its own: steps that the accountant composes must not share their noise.

Whatever else a private stage draws must be as secret. Augmentation, starts of attacks and dropout are drawn by the place that
an example has in its batch, so that one member more moves the draws of all after it: to somebody who knew the stream, it
would change the gradients of others, which clipping does not bound.
"""

import hashlib
import math
import os

import numpy as np
import torch
from torch import Tensor

_STATE = slice(24, 24 + 8 * 624)
"""Where the 624 numbers of a Mersenne twister stand among the bytes of torch's state, each of 32 bits in 64."""


def repeatable(seed: int, stage: str) -> torch.Generator:
    """A generator that no two stages share.

    Args:
        seed: of the draws.
        stage: name of the stage that draws.

    Returns:
        On the processor.
    """
    own = hashlib.sha256(f"{seed}/{stage}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(own[:4], "big"))  # torch reads no more of a seed


def secret() -> torch.Generator:
    """A generator whose whole state comes from the operating system: torch reads no more than 32 bits of a seed.

    Returns:
        On the processor.
    """
    generator = torch.Generator().manual_seed(0)  # at its beginning: the first number draws from a new state
    state = generator.get_state().numpy().copy()
    twister = state[_STATE].view(np.uint64)
    twister[:] = np.frombuffer(os.urandom(4 * len(twister)), np.uint32)
    generator.set_state(torch.from_numpy(state))
    return generator


def uniform(n: int, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1).

    Args:
        n: how many.
        generator: that they come from; None for the operating system's.

    Returns:
        float64 [n].
    """
    if generator is not None:
        return torch.rand(n, generator=generator, dtype=torch.float64)
    integers = np.frombuffer(os.urandom(8 * n), np.uint64)
    return torch.from_numpy((integers >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def normal(shape: torch.Size, std: float, generator: torch.Generator | None) -> Tensor:
    """Gaussian noise (Box & Muller 1958).

    Args:
        shape: of the noise.
        std: its standard deviation.
        generator: that it comes from; None for the operating system's.

    Returns:
        float64 of that shape.
    """
    count = math.prod(shape)
    half = -(-count // 2)
    drawn = uniform(2 * half, generator)
    first, second = drawn[:half], drawn[half:]
    radius, angle = (-2 * torch.log1p(-first)).sqrt(), 2 * math.pi * second
    return std * torch.cat([radius * angle.cos(), radius * angle.sin()])[:count].view(shape)
