"""Defences by name. A new one is a file of this package with its ``Defence``, which is found there.

Early stopping, augmentation, weight decay and the like are not among them, although they protect: they are how a model is
trained, and an attacker who knows of no defence trains his own models in the same way.
"""

from typing import TYPE_CHECKING

from edgepriv.recipe.defences.base import Conflict, Defence
from edgepriv.recipe.registry import modules_in

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe

__all__ = ["DEFENCES", "Conflict", "Defence", "acting", "defences_of"]

_DECLARED = [
    value
    for _, module in modules_in(__name__, __path__)
    for value in vars(module).values()
    if isinstance(value, Defence)
]
DEFENCES: dict[str, Defence] = {each.name: each for each in sorted(_DECLARED, key=lambda each: (each.place, each.name))}
"""In the order of the tables that list them."""


def acting(recipe: "Recipe") -> list[Defence]:
    """The defences that act in a recipe.

    Args:
        recipe: settings of a run.

    Returns:
        Those of ``DEFENCES``, in its order.
    """
    return [defence for defence in DEFENCES.values() if defence.active(recipe)]


def defences_of(recipe: "Recipe", *, deployed: bool = True) -> list[str]:
    """What defends a model by ``recipe``, each with the stages of training that it acts in: "RelaxLoss (train, qat)".

    Args:
        recipe: what the model was made by.
        deployed: whether it is judged as it ships; otherwise what acts after training alone is left out.

    Returns:
        Titles, in the order of ``DEFENCES``.
    """
    stages = {defence.title: ", ".join(defence.stages_in(recipe)) for defence in acting(recipe)}
    return [f"{title} ({where})" if where else title for title, where in stages.items() if where or deployed]
