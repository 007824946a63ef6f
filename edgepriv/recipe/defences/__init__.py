"""Defences by name. A new one: a file with its ``Defence``, and a line below.

Early stopping, augmentation, weight decay and the like are not among them, although they protect: they are how a model is
trained, and an attacker who knows of no defence trains his own models in the same way.
"""

from edgepriv.recipe.defences.adversarial import ADVERSARIAL
from edgepriv.recipe.defences.base import Conflict, Defence
from edgepriv.recipe.defences.dropout import DROPOUT
from edgepriv.recipe.defences.flattening import FLATTENING
from edgepriv.recipe.defences.heads import MEMGUARD, REGENERATOR
from edgepriv.recipe.defences.noise import NOISE
from edgepriv.recipe.defences.private_training import PRIVATE_TRAINING
from edgepriv.recipe.defences.quantization import QUANTIZATION
from edgepriv.recipe.defences.relaxed_loss import RELAXED_LOSS

__all__ = ["DEFENCES", "Conflict", "Defence"]

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
"""In the order of the tables in help and README."""
