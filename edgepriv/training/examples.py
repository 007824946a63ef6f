"""Examples as tensors, and how answers are compared with their labels."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """``x``: uint8 or float32 [N, ...]; ``y``: int64 [N], or soft labels: float32 [N, K], rows that sum to 1."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """float32 inputs in [0, 1] and labels at ``index``."""
        x = self.x[index]
        return (x.float().div_(255) if x.dtype == torch.uint8 else x), self.y[index]


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """bool [N]: whether the largest of ``logits`` [N, K] is the label, or the most probable of soft labels."""
    return logits.argmax(1) == (y.argmax(1) if y.is_floating_point() else y)
