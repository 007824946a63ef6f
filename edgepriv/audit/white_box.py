"""Gradient attacks on a differentiable twin, counted on the artifact: FGSM, PGD on the cross-entropy and on the margin."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgepriv.audit.answers import Bools
from edgepriv.training.pgd import fgsm, margin, perturbed, pgd_budget

Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]
Craft = Callable[[Tensor, Tensor], Tensor]

LARGEST_LEAD = 15.0
"""Of one logit over the others, beyond which all are divided by one number: float32 knows no slope of a softmax there."""


class Tempered(nn.Module):
    """A twin's logits over one number, which moves no label, so that the softmax of the clean inputs is not exactly 1."""

    def __init__(self, twin: nn.Module) -> None:
        super().__init__()
        self.twin, self.temperature = twin, 1.0

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        leads = torch.cat([_lead(self.twin(inputs)) for inputs in batches])
        leads = leads[leads.isfinite()]
        if len(leads):
            self.temperature = max(1.0, float(leads.quantile(0.9)) / LARGEST_LEAD)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.twin(x)
        scaled: Tensor = logits if self.temperature == 1 else logits / self.temperature
        return scaled


def _lead(logits: Tensor) -> Tensor:
    """Of the largest logit over the second [n]."""
    largest = logits.topk(2, dim=1).values
    return (largest[:, 0] - largest[:, 1]).float().cpu()


class Counter:
    """Adds up examples for ``progress``."""

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def add(self, examples: int) -> None:
        self.done += examples
        self.progress(self.done, self.total)


@dataclass(frozen=True, eq=False)
class Trial:
    """What is attacked, and how strongly.

    ``twin``: the logits with gradients; ``predict``: the artifact, which decides what is fooled; ``x`` float32 [n, ...] in
    [0, 1] and ``y`` int64 [n]; ``rounding``: operators of the twin that round; ``seed``: of the random starts.
    """

    twin: nn.Module
    predict: Predict
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    norm: str
    steps: int
    restarts: int
    batch: int
    device: torch.device
    counter: Counter
    rounding: tuple[str, ...] = ()
    seed: int = 0

    @cached_property
    def generator(self) -> torch.Generator:
        """Of the random starts, each attack's after the other's."""
        return torch.Generator().manual_seed(self.seed)

    def batches(self, index: npt.NDArray[np.intp]) -> Iterable[tuple[npt.NDArray[np.intp], Tensor, Tensor]]:
        """The examples at ``index`` in pieces: (their indices, inputs, labels), tensors on the twin's device."""
        for start in range(0, len(index), self.batch):
            part = index[start : start + self.batch]
            inputs, labels = (torch.from_numpy(array[part]).to(self.device) for array in (self.x, self.y))
            yield part, inputs, labels

    def attacks(self, eps: float) -> dict[str, list[Craft]]:
        """Attacks by name, each a list of tries."""
        budget = pgd_budget(self.norm, eps, self.steps)
        climb = partial(perturbed, self.twin, budget=budget, generator=self.generator, keep_best=True)
        aside = partial(climb, objective=margin)
        return {
            "fgsm": [partial(fgsm, self.twin, norm=self.norm, eps=eps)],
            "pgd": [climb] * self.restarts,
            # Where gradients are good, few steps get further from the clean input; a random start guards against bad ones.
            "pgd-margin": [partial(aside, generator=None), *[aside] * (self.restarts - 1)],
        }

    def withstands(self, tries: Sequence[Craft], candidates: Bools) -> Bools:
        """Which candidates (mask [n]) the artifact still labels rightly after every try."""
        held = candidates.copy()
        for craft in tries:
            index = np.flatnonzero(held)
            self.counter.add(len(held) - len(index))
            for part, inputs, labels in self.batches(index):
                adversarial = craft(inputs, labels).cpu().numpy()
                held[part] = self.predict(adversarial).argmax(axis=1) == self.y[part]
                self.counter.add(len(part))
        return held
