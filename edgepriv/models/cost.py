"""What one answer of a network costs."""

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

MOST, LEAST = 2_000, 500
_OPERATIONS = 1e12


def affordable(network: nn.Module, x: np.ndarray) -> int:
    """How many examples to judge a network by.

    As many as 10^12 floating-point operations allow. By operations, not by the clock, so that it is the same everywhere.

    Args:
        network: in eval mode.
        x: float32 [n, ...], a few such examples, not one: a network may refuse one alone, which is for another check to say.

    Returns:
        Between LEAST and MOST.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.from_numpy(x))
    return int(np.clip(_OPERATIONS * len(x) / max(1, counter.get_total_flops()), LEAST, MOST))
