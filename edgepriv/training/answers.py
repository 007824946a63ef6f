"""Answers of a torch classifier to many examples: the softmax of its logits, a batch at a time."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv.data import Dataset
from edgepriv.training.examples import Examples

BATCH = 512


@torch.no_grad()
def softmax_of(classifier: nn.Module, batches: Iterable[Tensor]) -> np.ndarray:
    """float32 [n, K]: the probabilities of a classifier, which is set to eval mode, for inputs that come in batches."""
    classifier.eval()
    return torch.cat([classifier(inputs).softmax(1) for inputs in batches]).cpu().numpy()


def batches_of(examples: Examples) -> Iterable[Tensor]:
    """Inputs float32 [BATCH, ...] in [0, 1] of all examples in order; fewer in the last."""
    return (examples.batch(part)[0] for part in torch.arange(len(examples)).split(BATCH))


def probabilities_of(classifier: nn.Module, dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """float32 [len(index), K]: the same for the examples of a data set at ``index``."""
    examples = Examples(torch.from_numpy(dataset.x[index]), torch.from_numpy(dataset.y[index]))
    return softmax_of(classifier, batches_of(examples))
