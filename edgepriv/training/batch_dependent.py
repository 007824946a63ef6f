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
    """Logits of inputs, each as if it were asked by itself, in one pass.

    Args:
        classifier: whose network is asked.
        weights: in place of the network's own, by parameter name.
        inputs: normalised, [N, ...].

    Returns:
        [N, K].
    """
    network = classifier.network
    state = dict(network.named_parameters()) | dict(network.named_buffers()) | dict(weights)

    def logits_of(row: Tensor) -> Tensor:
        logits: Tensor = functional_call(network, state, (row[None],))
        return logits[0]

    return torch.vmap(logits_of)(inputs)


def why_not_in_one_pass(classifier: Classifier, x: Tensor) -> str:
    """Whether ``each_alone`` is right for a network.

    Args:
        classifier: in eval mode.
        x: float32 [N, ...] in [0, 1], of which a few are tried.

    Returns:
        Why not; empty where it gives the logits and the gradients that asking one by one gives, up to rounding.
    """
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
    """How much slower a step of an attack is one by one than in one pass, measured.

    Args:
        classifier: in eval mode; its ``alone`` is True afterwards.
        x: float32 [N, ...] in [0, 1], of which some are asked.
        batch_size: of training.

    Returns:
        The ratio of the two times.
    """
    x = x[: min(batch_size, _TIMED)]
    y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    seconds = {}
    for alone in (False, True):
        classifier.alone = alone
        started = time.perf_counter()
        gradient(classifier, x, y, cross_entropy)
        seconds[alone] = time.perf_counter() - started
    return seconds[True] / max(seconds[False], 1e-9)
