"""Recipe: everything a run depends on, typed, read from TOML, with a stable hash."""

from edgepriv.recipe.bits import FULL_WIDTH, bit_rules, block_size
from edgepriv.recipe.recipe import Recipe, parse
from edgepriv.recipe.resolve import differences, eps_for, load
from edgepriv.recipe.sections import Adversary, Audit, Bench, Data, Dp, Export, Head, Model, Noise, Quantize
from edgepriv.recipe.stages import STAGES, Noisy, Qat, Robust, Stage, Train

__all__ = [
    "FULL_WIDTH",
    "STAGES",
    "Adversary",
    "Audit",
    "Bench",
    "Data",
    "Dp",
    "Export",
    "Head",
    "Model",
    "Noise",
    "Noisy",
    "Qat",
    "Quantize",
    "Recipe",
    "Robust",
    "Stage",
    "Train",
    "bit_rules",
    "block_size",
    "differences",
    "eps_for",
    "load",
    "parse",
]
