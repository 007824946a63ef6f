"""The moving average of a network's weights while it trains (Polyak & Juditsky 1992), which is kept in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from edgepriv.models import Classifier

Average = dict[str, Tensor]
"""By name, what ``Classifier.state_dict`` has: parameters and buffers; averaged where they are floating point."""


def averaged(average: Average | None, classifier: Classifier, decay: float, steps: int) -> Average:
    """The average after one more step of the optimizer.

    Args:
        average: so far, changed in place; None before the first step.
        classifier: with the weights after the step.
        decay: share of the average that stays, in [0, 1).
        steps: taken so far, this one included.

    Returns:
        m <- d m + (1 - d) w with d = min(decay, (1 + steps) / (10 + steps)), so that the first weights, which are random, do
        not weigh for long (as in TensorFlow's ``ExponentialMovingAverage``). Running statistics of batch normalization are
        averaged alike; counters are copied.
    """
    now = {name: value.detach() for name, value in classifier.state_dict().items()}
    if average is None:
        return {name: value.clone() for name, value in now.items()}
    share = min(decay, (1 + steps) / (10 + steps))
    moving = [name for name, value in now.items() if value.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([average[name] for name in moving], [now[name] for name in moving], 1 - share)
        for name in now.keys() - set(moving):
            average[name].copy_(now[name])
    return average


@contextmanager
def in_place(average: Average | None, classifier: Classifier) -> Iterator[None]:
    """While this lasts a classifier has the average's weights; nothing happens without one.

    Args:
        average: weights by name, or None.
        classifier: changed in place, and back.

    Returns:
        A context manager.
    """
    if average is None:
        yield
        return
    own = {name: value.clone() for name, value in classifier.state_dict().items()}
    classifier.load_state_dict(average)
    try:
        yield
    finally:
        classifier.load_state_dict(own)
