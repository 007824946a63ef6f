"""Quantization-aware training: the update sees the weights as they are rounded."""

from edgepriv.recipe import Quantize
from edgepriv.training.objectives.base import Asked, Objective


def objective(asked: Asked) -> Objective:
    """By the recipe's rule.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return rounded(asked.recipe.quantize)


def rounded(rule: Quantize) -> Objective:
    """Train with rounded weights.

    Args:
        rule: by which they are rounded.

    Returns:
        The objective.
    """
    narrow = isinstance(rule.bits, int) and rule.bits < 8
    return Objective(quantize=rule, title=f"{rule.bits} bits", remedy="more --bits" if narrow else "")
