"""Quantization-aware training: the update sees the weights as they are rounded, and activations where that is asked for."""

from edgepriv.recipe import Quantize
from edgepriv.training.objectives.base import Asked, Objective


def objective(asked: Asked) -> Objective:
    """By the recipe's rule.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return rounded(asked.recipe.quantize, asked.recipe.qat.activations if asked.stage == "qat" else None)


def rounded(rule: Quantize, activations: int | None = None) -> Objective:
    """Train with rounded weights, and activations.

    Args:
        rule: by which weights are rounded.
        activations: bits of the activations; None for floats.

    Returns:
        The objective.
    """
    narrow = isinstance(rule.bits, int) and rule.bits < 8
    title = f"{rule.bits} bits" if activations is None else f"{rule.bits} bits, activations of {activations}"
    return Objective(quantize=rule, activations=activations, title=title, remedy="more --bits" if narrow else "")
