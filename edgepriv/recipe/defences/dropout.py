"""Dropout, with which heads are compared."""

from typing import TYPE_CHECKING

from edgepriv.recipe.defences.base import Defence, Met
from edgepriv.recipe.stages import STAGES

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


def _nobody_takes_the_models(recipe: "Recipe") -> bool:
    return all(stage.dropout is not None for stage in recipe.stages().values())


def _says_nothing_new(name: str) -> Met:
    """Whether the stage's own share is the one that it would have without."""
    return lambda recipe: (
        getattr(recipe, name).dropout == (0.0 if _nobody_takes_the_models(recipe) else recipe.model.dropout)
    )


DROPOUT = Defence(
    name="dropout",
    place=90,
    title="dropout",
    option="--baseline dropout",
    source="Salem et al. 2019",
    what="what heads are compared with: half of the inputs of every Linear but the first layer are zeroed while training",
    fields=("model.dropout", "*.dropout"),
    acts_in=lambda recipe, stage: recipe.dropout_in(stage) > 0,
    unused={
        "model.dropout": _nobody_takes_the_models,
        **{f"{name}.dropout": _says_nothing_new(name) for name in STAGES},
    },
    idle="--baseline dropout acts while training, and no stage trains here: use edgepriv train --baseline dropout",
    stacked=False,  # draws for one model
)
