"""Which stages of a run train with rounded weights, and which come before."""

from collections.abc import Sequence
from itertools import takewhile

from edgepriv.recipe.recipe import Recipe


def rounded_stages(recipe: Recipe, stages: Sequence[str]) -> tuple[str, ...]:
    """The stages that train with rounded weights.

    Args:
        recipe: of the run.
        stages: that are run.

    Returns:
        Those of them; none where nothing is quantized.
    """
    return tuple(stage for stage in stages if recipe.quantize.active and getattr(recipe, stage).quantized)


def unrounded_stages(recipe: Recipe, stages: Sequence[str]) -> tuple[str, ...]:
    """The stages before the first one that trains with rounded weights.

    Args:
        recipe: of the run.
        stages: that are run, in order.

    Returns:
        The first of them; all where none rounds.
    """
    rounded = rounded_stages(recipe, stages)
    return tuple(takewhile(lambda stage: stage not in rounded, stages))
