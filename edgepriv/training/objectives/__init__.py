"""Training objectives by name: what each defence does while a stage trains.

A module of this package with a function ``objective`` is one of them, under the module's name; a new one is its file. A
defence of the recipe finds its own by its name (``Defence.objective``).
"""

from dataclasses import replace

from edgepriv.recipe.defences import DEFENCES
from edgepriv.recipe.registry import modules_in
from edgepriv.training.objectives.base import Answers, Asked, Batch, Ground, Make, Objective, Retraining

__all__ = ["OBJECTIVES", "Answers", "Asked", "Batch", "Ground", "Make", "Objective", "Retraining", "objectives_of"]

OBJECTIVES: dict[str, Make] = {
    name: module.objective for name, module in modules_in(__name__, __path__) if hasattr(module, "objective")
}


def objectives_of(asked: Asked) -> tuple[Objective, ...]:
    """What the defences that act in a stage do there.

    Args:
        asked: which stage of which recipe.

    Returns:
        Objectives, in the order of the table of defences.
    """
    acting = [defence for defence in DEFENCES.values() if defence.acts_in(asked.recipe, asked.stage)]
    return tuple(replace(OBJECTIVES[each.objective(asked.recipe)](asked), name=each.name) for each in acting)
