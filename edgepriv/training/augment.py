"""Random crops and mirror images."""

import torch
from torch import Tensor
from torch.nn import functional

from edgepriv.training.generators import Generator, filled


def augmented(x: Tensor, how: str, generator: Generator) -> Tensor:
    """Random crops of the zero-padded image (by an eighth of its size), and mirror images; tables are left alone.

    Args:
        x: [N, ...].
        how: "none", "crop" or "crop_flip".
        generator: of the draws.

    Returns:
        Shape of ``x``.
    """
    if how == "none" or x.ndim != 4:
        return x
    count, _, height, width = x.shape
    pad = max(1, height // 8)

    def offsets() -> Tensor:
        drawn = torch.empty(count, 1, dtype=torch.int64)
        return filled(drawn, lambda part, own: part.random_(0, 2 * pad + 1, generator=own), generator)

    rows, columns = offsets() + torch.arange(height), offsets() + torch.arange(width)
    if how == "crop_flip":
        mirrored = filled(torch.empty(count), lambda part, own: part.uniform_(generator=own), generator) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = functional.pad(x, (pad, pad, pad, pad))
    examples = torch.arange(count)[:, None, None]
    return padded[examples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
