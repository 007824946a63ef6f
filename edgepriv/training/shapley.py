"""Shapley values of a classifier's inputs: how much each feature speaks for the class that is predicted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from edgepriv.models import Classifier
from edgepriv.training.examples import Examples, at_once

ESTIMATOR = "captum GradientShap of the predicted class's log-probability"
SAMPLES = 20
BASELINES = 100


def shapley_values(
    classifier: Classifier, members: Examples, *, seed: int, after: Callable[[int], object] = lambda count: None
) -> Tensor:
    """How much each feature of a member adds to the log-probability of the class that a classifier predicts.

    Estimated by expected gradients (captum's GradientShap; Erion et al. 2021): ``SAMPLES`` gradients for each member, at
    random points between it and a random baseline, one of ``BASELINES`` members. It costs as much for 6,000 features as for 6,
    where sampling permutations needs a prediction for each feature, and it needs no list of layers that it knows, as
    DeepLiftShap does. It estimates the Aumann-Shapley values, which equal the Shapley values (Kassa, Adi & Bouhaddi, eq. 3)
    where features add up and approximate them where they interact. The logarithm, because the probability of a member is so
    close to 1 that nearly all of its gradients vanish; and a logit alone is no function of the prediction.

    Args:
        classifier: in eval mode.
        members: the N examples.
        seed: of the baselines and points.
        after: called with the number of members that are done.

    Returns:
        float32 [N, ...], the shape of the inputs, in nats.
    """
    from captum.attr import GradientShap  # takes a second to import

    def log_probabilities(x: Tensor) -> Tensor:
        log_p: Tensor = classifier(x).log_softmax(1)
        return log_p

    drawn = torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))[:BASELINES]
    baselines, _ = members.batch(drawn)
    estimator, parts = GradientShap(log_probabilities), []
    with _seeded(seed):
        for index in torch.arange(len(members)).split(at_once(baselines[0].numel() * SAMPLES)):
            x, _ = members.batch(index)
            with torch.no_grad():
                predicted = classifier(x).argmax(1)
            parts.append(estimator.attribute(x, baselines, n_samples=SAMPLES, target=predicted).detach())
            after(len(index))
    return torch.cat(parts)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """captum draws from the global generators of NumPy and torch."""
    kept = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(kept)  # noqa: NPY002
