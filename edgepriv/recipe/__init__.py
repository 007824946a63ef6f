"""Recipe: everything a run depends on, typed, read from TOML, with a stable hash."""

from edgepriv.recipe.bits import FULL_WIDTH, bit_rules, block_size
from edgepriv.recipe.declared import Declared, changes_of, options_of, without_none
from edgepriv.recipe.option import GROUPS, Option
from edgepriv.recipe.recipe import Recipe, parse
from edgepriv.recipe.resolve import MAX_DROP, as_toml, differences, eps_for, load
from edgepriv.recipe.rounding import rounded_stages, unrounded_stages
from edgepriv.recipe.sections import Adversary, Audit, Bench, Data, Dp, Export, Head, Model, Noise, Pipeline, Quantize
from edgepriv.recipe.stages import STAGES, Distilled, Noisy, Qat, Robust, Stage, Train
from edgepriv.recipe.starting import Start

__all__ = [
    "FULL_WIDTH",
    "GROUPS",
    "MAX_DROP",
    "STAGES",
    "Adversary",
    "Audit",
    "Bench",
    "Data",
    "Declared",
    "Distilled",
    "Dp",
    "Export",
    "Head",
    "Model",
    "Noise",
    "Noisy",
    "Option",
    "Pipeline",
    "Qat",
    "Quantize",
    "Recipe",
    "Robust",
    "Stage",
    "Start",
    "Train",
    "as_toml",
    "bit_rules",
    "block_size",
    "changes_of",
    "differences",
    "eps_for",
    "load",
    "options_of",
    "parse",
    "rounded_stages",
    "unrounded_stages",
    "without_none",
]
