"""The twin as attacks see it: logits of one scale, and no slope along what may not change."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

LARGEST_LEAD = 15.0
"""Of one logit over the others, beyond which all are divided by one number: float32 knows no slope of a softmax there."""


class Attacked(nn.Module):
    """A twin's logits over one number, which moves no label, so that the softmax of the clean inputs is not exactly 1.

    ``free``: bool, the shape of an example: what may change, and has a slope; None for everything.
    """

    def __init__(self, twin: nn.Module, free: Tensor | None = None) -> None:
        super().__init__()
        self.twin, self.free, self.temperature = twin, free, 1.0

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Choose the number by clean inputs.

        Args:
            batches: float32 [n, ...] each.
        """
        leads = torch.cat([_lead(self.twin(inputs)) for inputs in batches])
        leads = leads[leads.isfinite()]
        if len(leads):
            self.temperature = max(1.0, float(leads.quantile(0.9)) / LARGEST_LEAD)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K] of inputs [N, ...]; what may not change has no slope."""
        logits = self.twin(x if self.free is None else torch.where(self.free, x, x.detach()))
        scaled: Tensor = logits if self.temperature == 1 else logits / self.temperature
        return scaled


def _lead(logits: Tensor) -> Tensor:
    """Of the largest logit over the second [n]."""
    largest = logits.topk(2, dim=1).values
    return (largest[:, 0] - largest[:, 1]).float().cpu()
