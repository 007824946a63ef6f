"""Defences by name. A new one is a file of this package with its ``Defence``, which is found there.

Early stopping, augmentation, weight decay and the like are not among them, although they protect: they are how a model is
trained, and an attacker who knows of no defence trains his own models in the same way.
"""

from typing import TYPE_CHECKING

from edgepriv.recipe.defences.base import Conflict, Defence
from edgepriv.recipe.registry import modules_in

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe

__all__ = ["DEFENCES", "Conflict", "Defence", "acting", "anew", "cost_notes", "defences_of"]

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


def cost_notes(recipe: "Recipe", models: int) -> list[str]:
    """What reference models cost that repeat a defence with sub-models of its own, to be said before they are trained.

    Args:
        recipe: of the reference models.
        models: that are to be trained.

    Returns:
        A sentence for each such defence; none where no model is to be trained.
    """
    each = {defence.title: defence.sub_models(recipe) for defence in acting(recipe)}
    return [
        f"each reference model repeats {title}: {count} sub-models before the model itself, {models * count:,} more trainings "
        f"for {models:,} models. Fewer --references take less; finished models are kept if you stop"
        for title, count in each.items()
        if count and models
    ]


def anew(recipe: "Recipe") -> list[str]:
    """The stages after ``train`` that start from new weights.

    Args:
        recipe: settings of a run.

    Returns:
        Names of stages that have epochs, in order.
    """
    starting = {defence.stage for defence in DEFENCES.values() if defence.anew}
    return [name for name in recipe.stages() if name in starting]


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
