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
    """The probabilities of a classifier.

    Args:
        classifier: set to eval mode.
        batches: inputs, [n, ...] each.

    Returns:
        float32 [N, K].
    """
    classifier.eval()
    return torch.cat([classifier(inputs).softmax(1) for inputs in batches]).cpu().numpy()


def batches_of(examples: Examples) -> Iterable[Tensor]:
    """The inputs of all examples in order.

    Args:
        examples: any.

    Returns:
        float32 [BATCH, ...] in [0, 1]; fewer in the last.
    """
    return (examples.batch(part)[0] for part in torch.arange(len(examples)).split(BATCH))


def probabilities_of(classifier: nn.Module, dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """The probabilities of a classifier for examples of a data set.

    Args:
        classifier: set to eval mode.
        dataset: the examples.
        index: int64 [n], their places.

    Returns:
        float32 [n, K].
    """
    examples = Examples(torch.from_numpy(dataset.x[index]), torch.from_numpy(dataset.y[index]))
    return softmax_of(classifier, batches_of(examples))
