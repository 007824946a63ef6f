"""Defences by name. A new one: a file with its ``Defence``, and a line below.

Early stopping, augmentation, weight decay and the like are not among them, although they protect: they are how a model is
trained, and an attacker who knows of no defence trains his own models in the same way.
"""

from typing import TYPE_CHECKING

from edgepriv.recipe.defences.adversarial import ADVERSARIAL
from edgepriv.recipe.defences.base import Conflict, Defence
from edgepriv.recipe.defences.dropout import DROPOUT
from edgepriv.recipe.defences.flattening import FLATTENING
from edgepriv.recipe.defences.heads import MEMGUARD, REGENERATOR
from edgepriv.recipe.defences.noise import NOISE
from edgepriv.recipe.defences.private_training import PRIVATE_TRAINING
from edgepriv.recipe.defences.quantization import QUANTIZATION
from edgepriv.recipe.defences.relaxed_loss import RELAXED_LOSS

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe

__all__ = ["DEFENCES", "Conflict", "Defence", "acting", "defences_of"]

DEFENCES: dict[str, Defence] = {
    defence.name: defence
    for defence in (
        QUANTIZATION,
        ADVERSARIAL,
        FLATTENING,
        RELAXED_LOSS,
        PRIVATE_TRAINING,
        NOISE,
        REGENERATOR,
        MEMGUARD,
        DROPOUT,
    )
}
"""In the order of the tables that list them."""


def acting(recipe: "Recipe") -> list[Defence]:
    """The defences that act in ``recipe``."""
    return [defence for defence in DEFENCES.values() if defence.active(recipe)]


def defences_of(recipe: "Recipe", *, deployed: bool = True) -> list[str]:
    """What defends a model by ``recipe``, each with the stages of training that it acts in: "RelaxLoss (train, qat)".
    ``deployed``: as the model ships; otherwise what acts after training alone is left out."""
    stages = {defence.title: ", ".join(defence.stages_in(recipe)) for defence in acting(recipe)}
    return [f"{title} ({where})" if where else title for title, where in stages.items() if where or deployed]
