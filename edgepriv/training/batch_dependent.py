"""A network whose answers depend on the batch, attacked as it is deployed: each example asked by itself.

One by one that takes as many passes through the network as a batch has examples. ``torch.vmap`` computes the same in one
pass, in which every operation treats each example as a batch of its own. Not every network can be computed so; whether one
can is tried.
"""

import time
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from edgepriv.models import Classifier
from edgepriv.models.behaviour import cause_of
from edgepriv.training.pgd import cross_entropy, gradient

TRIED = 4
"""Examples on which the one pass is compared with as many."""
_TOLERANCE = 1e-4
_TIMED = 32


def each_alone(classifier: Classifier, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Logits [N, K] of normalised ``inputs`` [N, ...], each as if it were asked by itself, in one pass. ``weights``: in place
    of the network's own, by parameter name."""
    network = classifier.network
    state = dict(network.named_parameters()) | dict(network.named_buffers()) | dict(weights)

    def logits_of(row: Tensor) -> Tensor:
        logits: Tensor = functional_call(network, state, (row[None],))
        return logits[0]

    return torch.vmap(logits_of)(inputs)


def why_not_in_one_pass(classifier: Classifier, x: Tensor) -> str:
    """Why ``each_alone`` is not right for this network, which is in eval mode; empty where it gives, for a few of ``x`` float32
    [N, ...], the logits and the gradients that asking one by one gives, up to rounding."""
    x = x[:TRIED]
    y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    expected = gradient(classifier, x, y, cross_entropy)
    try:
        mapped = gradient(lambda moved: each_alone(classifier, {}, classifier.normalised(moved)), x, y, cross_entropy)
    except (
        Exception
    ) as error:  # an operation that torch cannot map, or the network's own code, which may fail in any way
        return cause_of(error)
    if all(_equal(*pair) for pair in zip(mapped, expected, strict=True)):
        return ""
    return "in one pass it answers otherwise"


def _equal(mapped: Tensor, expected: Tensor) -> bool:
    """Up to rounding, on the scale of the largest number."""
    return bool((mapped - expected).abs().max() <= _TOLERANCE * expected.abs().max().clamp(min=1e-12))


def slowness(classifier: Classifier, x: Tensor, batch_size: int) -> float:
    """How many times as long a step of an attack on a batch takes one by one as in one pass; measured on some of ``x``."""
    x = x[: min(batch_size, _TIMED)]
    y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    seconds = {}
    for alone in (False, True):
        classifier.alone = alone
        started = time.perf_counter()
        gradient(classifier, x, y, cross_entropy)
        seconds[alone] = time.perf_counter() - started
    return seconds[True] / max(seconds[False], 1e-9)
