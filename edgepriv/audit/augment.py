"""Fixed small changes of an input that leave its meaning alone (Choquette-Choo et al. 2021, section 4.2).

The same changes are made to every example, so their order means nothing.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Inputs = npt.NDArray[np.float32]

SHIFT = 2
FLIPPED = (0.01, 0.02, 0.05, 0.1)
"""Shares of a table's features of 0 and 1 that are flipped."""
JITTER = (0.02, 0.05, 0.1, 0.2)
"""Standard deviations of the noise on a table of other numbers, in input units."""
COPIES = 6
MOST_COPIES = max(2 * (2 * SHIFT * (SHIFT + 1) + 1), 1 + COPIES * len(JITTER))


def copies_of(input_shape: tuple[int, ...]) -> int:
    """How many variants ``copies`` yields of each example.

    Args:
        input_shape: of one example; (C, H, W) of images.

    Returns:
        Their number, the example itself among them.
    """
    shifts = 2 * SHIFT * (SHIFT + 1) + 1
    if len(input_shape) == 3:
        return shifts if input_shape[0] == 1 else 2 * shifts
    return 1 + COPIES * len(JITTER)


def copies(x: Inputs, *, binary: bool, seed: int = 0) -> Iterator[Inputs]:
    """Variants of every example, for attacks that see only labels.

    Images are shifted by up to two pixels in all (Manhattan distance), the border repeated; colour images are also mirrored,
    which signs and digits, the usual content of grey images, do not survive. Features of tables are flipped where all are 0
    or 1, else they get Gaussian noise.

    Args:
        x: float32 [n, ...] in [0, 1].
        binary: whether a table holds only 0 and 1.
        seed: of flips and noise.

    Yields:
        float32 [n, ...] in [0, 1]; the first is ``x`` itself.
    """
    if x.ndim == 4:
        for image in (x, x[..., ::-1]) if x.shape[1] > 1 else (x,):
            yield from _shifted(image)
        return
    yield x
    rng = np.random.default_rng(seed)
    for strength in FLIPPED if binary else JITTER:
        for _ in range(COPIES):
            if binary:
                yield np.abs(x - (rng.random(x.shape[1:]) < strength).astype(np.float32))
            else:
                yield np.clip(x + np.float32(strength) * rng.standard_normal(x.shape[1:], dtype=np.float32), 0, 1)


def _shifted(x: Inputs) -> Iterator[Inputs]:
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="edge")
    offsets = [(down, right) for down in range(-SHIFT, SHIFT + 1) for right in range(-SHIFT, SHIFT + 1)]
    for down, right in sorted(offsets, key=lambda offset: abs(offset[0]) + abs(offset[1])):
        if abs(down) + abs(right) <= SHIFT:
            top, left = SHIFT + down, SHIFT + right
            yield padded[:, :, top : top + height, left : left + width]
