"""Examples as tensors, and how answers are compared with their labels."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """``x``: uint8 or float32 [N, ...]; ``y``: int64 [N], or soft labels: float32 [N, K], rows that sum to 1.

    ``teacher``: a teacher's answers to ``x``, log-probabilities, float32 [N, K]; None without a teacher.
    """

    x: Tensor
    y: Tensor
    teacher: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    def on(self, device: torch.device) -> "Examples":
        """The same examples on another device; indices into them stay on the processor, where they are drawn.

        Args:
            device: where to.

        Returns:
            The examples there; themselves where they are there already.
        """
        if self.x.device == device:
            return self
        teacher = None if self.teacher is None else self.teacher.to(device)
        return replace(self, x=self.x.to(device), y=self.y.to(device), teacher=teacher)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Some of the examples.

        Args:
            index: int64 [n].

        Returns:
            Inputs float32 [n, ...] in [0, 1], and labels [n] or [n, K].
        """
        x = self.x[index]
        return (x.float().div_(255) if x.dtype == torch.uint8 else x), self.y[index]

    def taught(self, index: Tensor) -> Tensor | None:
        """What the teacher answers to some of the examples.

        Args:
            index: int64 [n].

        Returns:
            Log-probabilities [n, K]; None without a teacher.
        """
        return None if self.teacher is None else self.teacher[index]


def at_once(numbers: int) -> int:
    """How many examples go through a network together; their activations take much more than they do.

    Args:
        numbers: of one example's input.

    Returns:
        1 or more.
    """
    return max(1, 2**19 // numbers)


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """Which answers are right.

    Args:
        logits: [N, K].
        y: labels int64 [N], or soft ones float [N, K], of which the most probable counts.

    Returns:
        bool [N].
    """
    return logits.argmax(1) == (y.argmax(1) if y.is_floating_point() else y)
