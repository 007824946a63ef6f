"""Answers of one network that another one is trained on."""

import torch
from torch import Tensor

from edgepriv.models import Classifier
from edgepriv.training.examples import Examples, at_once


@torch.no_grad()
def probabilities_to(classifier: Classifier, x: Tensor) -> Tensor:
    """What a classifier answers.

    Args:
        classifier: on the processor; it is left in the mode that it is in.
        x: uint8 or float32 [n, ...].

    Returns:
        Probabilities float64 [n, K].
    """
    training = classifier.training
    classifier.eval()
    some = 1 if classifier.alone else at_once(x[0].numel())
    asked = Examples(x, torch.zeros(len(x), dtype=torch.int64))
    parts = [classifier(asked.batch(index)[0]).double().softmax(1) for index in torch.arange(len(x)).split(some)]
    classifier.train(training)
    return torch.cat(parts)


def entropies(probabilities: Tensor) -> Tensor:
    """Entropy of each answer.

    Args:
        probabilities: [n, K].

    Returns:
        Nats, [n].
    """
    each: Tensor = torch.special.entr(probabilities)
    return each.sum(1)
